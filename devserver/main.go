// Command slipway-devserver is a whole Temporal server in one process, with its
// Web UI, for `slipway dev` and for tests. It takes the flags of the Temporal
// CLI's `temporal server start-dev`, so that the Go SDK's
// testsuite.StartDevServer can run it as well, and adds --postgres-url.
//
// Once the server can really run workflows it writes one line of JSON to
// stdout (see readyLine). Logs go to stderr. SIGINT and SIGTERM end it in order.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
)

// readyLine is what stdout carries when workflows can be started.
type readyLine struct {
	// Address is the gRPC frontend's host:port.
	Address string `json:"address"`
	// UI is the Web UI's URL; empty with --headless.
	UI string `json:"ui,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "slipway-devserver:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or, with --exit-with-parent, the parent is gone.
func run(ctx context.Context, args []string) error {
	opts, err := parseFlags(args)
	if err != nil {
		return err
	}
	if opts.exitWithParent {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go watchParent(ctx, cancel)
	}
	if err := opts.choosePorts(); err != nil {
		return err
	}
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: opts.logLevel, Format: opts.logFormat}))
	cfg, hosts, err := serverConfig(opts)
	if err != nil {
		return err
	}
	if err := prepareStore(ctx, cfg, opts); err != nil {
		return err
	}
	gate := newGate()
	server, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithDynamicConfigClient(opts.dynamicConfig),
		temporal.WithChainedFrontendGrpcInterceptors(gate.intercept),
	)
	if err != nil {
		return fmt.Errorf("set up the server: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer func() { _ = server.Stop() }()
	if err := proveReady(ctx, opts); err != nil {
		return err
	}
	gate.open()
	line := readyLine{Address: opts.address()}
	if !opts.headless {
		ui, err := startUI(ctx, opts)
		if err != nil {
			return err
		}
		defer ui.Stop()
		line.UI = "http://" + opts.uiAddress()
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		return fmt.Errorf("say that the server is ready: %w", err)
	}
	<-ctx.Done()
	return nil
}

// watchParent ends the server when whoever started it is gone: the last resort
// for starters that set no parent-death signal.
func watchParent(ctx context.Context, cancel context.CancelFunc) {
	parent := os.Getppid()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if os.Getppid() != parent {
				cancel()
				return
			}
		}
	}
}
