package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// profiledDispatcher is the argument that makes this program a dispatcher which
// writes a CPU profile of itself.
const profiledDispatcher = "profiled-dispatcher"

// profileCase says where the dispatcher's CPU time goes: it bears the same load
// once more, in a process that watches itself.
func profileCase(ctx context.Context, b *bench, c staticCase, worker string) string {
	said, err := func() (string, error) {
		addr, err := freeAddr()
		if err != nil {
			return "", err
		}
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		profile := filepath.Join(b.dir, "dispatcher.pprof")
		s, err := startServer(ctx, "the profiled dispatcher", addr, worker+".localhost", child.Options{
			Path: self, Args: []string{profiledDispatcher, profile}, Env: b.system.environment("SLIPWAY_DISPATCHER_ADDR=" + addr),
		})
		if err != nil {
			return "", err
		}
		body, err := sameAnswer(ctx, c, s)
		if err == nil {
			_, err = s.bear(ctx, c, body, b.requests)
		}
		s.stop() // writes the profile
		if err != nil {
			return "", err
		}
		top, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-cum", "-nodecount=40", self, profile).Output()
		return string(top), err
	}()
	if err != nil {
		return fmt.Sprintf("  no profile: %v", err)
	}
	return "  the dispatcher's CPU time under this load, by function and what it calls; look for what is not read, write or epoll:\n  " +
		strings.ReplaceAll(strings.TrimSpace(said), "\n", "\n  ")
}

// serveProfiled is the dispatcher's role, wired as `slipway dispatcher` is, with
// a profile from its start to its end.
func serveProfiled(args []string) (err error) {
	if len(args) != 1 {
		return fmt.Errorf("usage: %s <file for the profile>", profiledDispatcher)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := config.Load()
	if err != nil {
		return err
	}
	store, err := models.OpenStore(models.StoreOptions{URL: c.Postgres.URL, DirectURL: c.Postgres.DirectURL, MaxConns: c.Postgres.MaxConns})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	blobs, err := blobfs.New(blobfs.Options{Root: filepath.Join(c.DataDir, "blobs")})
	if err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	d, err := dispatcher.New(dispatcher.Options{
		Domain: c.Dispatch.Domain, OwnHosts: c.Dispatch.OwnHosts, Reserved: c.Dispatch.ReservedNames(),
		Routes: store, Invalidations: store, Blobs: blobs, Log: log, Limits: dispatcher.Limits{CacheBytes: c.Dispatch.CacheBytes},
	})
	if err != nil {
		return err
	}
	profile, err := os.Create(args[0])
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(profile); err != nil {
		return errors.Join(err, profile.Close())
	}
	defer func() {
		pprof.StopCPUProfile()
		err = errors.Join(err, profile.Close())
	}()
	server := d.Server()
	listener, err := net.Listen("tcp", c.Dispatch.Addr)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}
