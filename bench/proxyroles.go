package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/upstream"
)

// The arguments that make this program a server behind a proxy, and a dispatcher
// that proxies to it.
const (
	plainUpstream      = "plain-upstream"
	proxyingDispatcher = "proxying-dispatcher"
)

// proxiedWorker is the name of the one worker there is.
const proxiedWorker = "proxied"

// servePlain answers every request on a unix socket with as many bytes as its
// path says. It is written by hand, so that it is not what limits the proxies.
func servePlain(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: %s <socket>", plainUpstream)
	}
	return serveConnections("unix", args[0], answerPlain)
}

// serveConnections hands each connection to an address to a goroutine of its own,
// until the program is told to end.
func serveConnections(network, address string, serve func(net.Conn)) error {
	listener, err := net.Listen(network, address)
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
		go serve(connection)
	}
}

func answerPlain(connection net.Conn) {
	defer connection.Close()
	in := bufio.NewReader(connection)
	answers := make(map[string][]byte)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		_, rest, _ := bytes.Cut(line, []byte(" /"))
		path, _, _ := bytes.Cut(rest, []byte(" "))
		answer := answers[string(path)]
		if answer == nil {
			size, _ := strconv.Atoi(string(path))
			answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n", size)
			answer = append(answer, bytes.Repeat([]byte("x"), size)...)
			answers[string(path)] = answer
		}
		for len(line) > 2 {
			if line, err = in.ReadSlice('\n'); err != nil {
				return
			}
		}
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}

// serveProxying is a dispatcher whose one worker is a server on a unix socket.
func serveProxying(args []string) (err error) {
	if len(args) != 4 {
		return fmt.Errorf("usage: %s <address> <socket> <folder> <file for a profile>", proxyingDispatcher)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client := upstream.New(upstream.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", args[1])
	}})
	defer client.Close()
	blobs, err := blobfs.New(blobfs.Options{Root: args[2]})
	if err != nil {
		return err
	}
	route, err := workerRoute(ctx, blobs)
	if err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	d, err := dispatcher.New(dispatcher.Options{
		Domain: "localhost", Routes: route, Invalidations: route, Blobs: blobs, Log: log, Workers: oneWorker{client},
	})
	if err != nil {
		return err
	}
	if args[3] != "" {
		profile, err := os.Create(args[3])
		if err != nil {
			return err
		}
		defer profile.Close()
		if err := pprof.StartCPUProfile(profile); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	debug.SetGCPercent(400) // as cmd/slipway does
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	server := d.Server()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = d.Run(ctx) }()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// oneRoute is the routes of a dispatcher with one worker.
type oneRoute models.Route

// Route gives the route to those who ask for it.
func (r oneRoute) Route(_ context.Context, key string) (models.Route, error) {
	if key != r.Key {
		return models.Route{}, models.Errorf(models.CodeNotFound, "There is one worker, %s.", r.WorkerName)
	}
	return models.Route(r), nil
}

// Listen hears of no changes.
func (r oneRoute) Listen(ctx context.Context, _ string, connected func(), _ func(string)) error {
	connected()
	<-ctx.Done()
	return ctx.Err()
}

// workerRoute stores a release that is a worker without files.
func workerRoute(ctx context.Context, blobs blob.Store) (oneRoute, error) {
	builder, err := assets.NewBuilder(assets.Config{})
	if err != nil {
		return oneRoute{}, err
	}
	manifest, err := builder.Build()
	if err != nil {
		return oneRoute{}, err
	}
	files, err := manifest.Encode()
	if err != nil {
		return oneRoute{}, err
	}
	worker, err := models.WorkerBundle{Modules: []models.WorkerModule{{Name: "worker.js", Type: models.ModuleES}}}.Encode()
	if err != nil {
		return oneRoute{}, err
	}
	route := oneRoute{Key: models.WorkerRouteKey(proxiedWorker), OrganizationID: "bench", WorkerName: proxiedWorker, ReleaseID: "release", Generation: 1}
	for _, part := range []struct {
		digest *string
		data   []byte
	}{{&route.ManifestDigest, files}, {&route.WorkerDigest, worker}} {
		key, err := blob.PutBytes(ctx, blobs, route.OrganizationID, part.data)
		if err != nil {
			return oneRoute{}, err
		}
		*part.digest = key.Digest
	}
	return route, nil
}

// oneWorker leases one server to everybody.
type oneWorker struct{ client *upstream.Client }

// Open gives the server.
func (w oneWorker) Open(context.Context, edge.Release) (*edge.Lease, error) {
	return &edge.Lease{Upstream: w.client}, nil
}

// Prepare does nothing: the server runs.
func (w oneWorker) Prepare(edge.Release, bool) {}
