package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/slipwayhq/slipway/dev/child"
)

// connectionSink is the argument that makes this program a server that keeps the
// connections it is given.
const connectionSink = "connection-sink"

// startSink starts one: this program again, as what the connections cost must not
// be felt by who measures.
func startSink(ctx context.Context) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "the sink", addr, "", child.Options{Path: self, Args: []string{connectionSink, addr}})
}

// serveSink takes connections and keeps them until their other ends are closed.
func serveSink(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: %s <address>", connectionSink)
	}
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		connection, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(io.Discard, connection)
			_ = connection.Close()
		}()
	}
}
