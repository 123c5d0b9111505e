package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// manyRoutesDispatcher is the argument that makes this program a dispatcher with
// many routes in memory, besides those in PostgreSQL.
const manyRoutesDispatcher = "many-routes"

// collectedHost answers once memory was given back.
const collectedHost = "collected.invalid"

const manyRoutesPage = "<!doctype html><title>One of many</title>\n"

func serveManyRoutes(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: %s <address> <routes> <folder> <PostgreSQL URL>", manyRoutesDispatcher)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	blobs, err := blobfs.New(blobfs.Options{Root: args[2]})
	if err != nil {
		return err
	}
	store, err := models.OpenStore(models.StoreOptions{URL: args[3], MaxConns: 4})
	if err != nil {
		return err
	}
	defer store.Close()
	routes := &manyRoutes{Store: store, count: count, organization: models.NewID(models.PrefixOrganization), heard: make(chan struct{}), collected: make(chan struct{}, 1)}
	if routes.manifest, err = pageRelease(ctx, blobs, routes.organization); err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	d, err := dispatcher.New(dispatcher.Options{Domain: "localhost", Routes: routes, Invalidations: routes, Blobs: blobs, Log: log})
	if err != nil {
		return err
	}
	debug.SetGCPercent(100) // as cmd/slipway does with so much in memory
	go func() { _ = d.Run(ctx) }()
	select {
	case <-routes.heard:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := askForAll(d, count); err != nil {
		return err
	}
	collect := make(chan os.Signal, 1)
	signal.Notify(collect, syscall.SIGUSR1)
	go func() {
		for range collect {
			debug.FreeOSMemory()
			routes.collected <- struct{}{}
		}
	}()
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	server := d.Server()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// askForAll asks for every route once, so that it is in memory.
func askForAll(d *dispatcher.Dispatcher, count int) error {
	const askers = 4
	group := new(errgroup.Group)
	for first := range askers {
		group.Go(func() error {
			for i := first; i < count; i += askers {
				request := httptest.NewRequest(http.MethodGet, "/", nil)
				request.Host = fmt.Sprintf("app-%d.localhost", i)
				answer := httptest.NewRecorder()
				if d.ServeHTTP(answer, request); answer.Code != http.StatusOK {
					return fmt.Errorf("%s answers %d", request.Host, answer.Code)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// manyRoutes are count routes that are made up, app-0 and so on, and those of
// PostgreSQL. All answer with one page.
type manyRoutes struct {
	*models.Store
	count                  int
	organization, manifest string
	// heard is closed once changes are heard of; collected has one for each collection.
	heard, collected chan struct{}
	connected        atomic.Bool
}

// Route makes a route up or reads it.
func (m *manyRoutes) Route(ctx context.Context, key string) (models.Route, error) {
	name := strings.TrimPrefix(key, models.WorkerRouteKey(""))
	number, made := strings.CutPrefix(name, "app-")
	if i, err := strconv.Atoi(number); made && err == nil && i < m.count {
		return models.Route{
			Key: key, ProjectID: models.NewID(models.PrefixProject), OrganizationID: m.organization, WorkerName: name,
			ReleaseID: models.NewID(models.PrefixRelease), ManifestDigest: m.manifest, Generation: 1,
		}, nil
	}
	if key == models.HostRouteKey(collectedHost) {
		<-m.collected
		return models.Route{Key: key, OrganizationID: m.organization, WorkerName: name, ManifestDigest: m.manifest}, nil
	}
	route, err := m.Store.Route(ctx, key)
	route.OrganizationID, route.ManifestDigest = m.organization, m.manifest
	return route, err
}

// RouteKeys names them all.
func (m *manyRoutes) RouteKeys(ctx context.Context, each func(string)) error {
	for i := range m.count {
		each(models.WorkerRouteKey("app-" + strconv.Itoa(i)))
	}
	each(models.HostRouteKey(collectedHost))
	return m.Store.RouteKeys(ctx, each)
}

// Listen hears of changes in PostgreSQL.
func (m *manyRoutes) Listen(ctx context.Context, channel string, connected func(), notify func(string)) error {
	return m.Store.Listen(ctx, channel, func() {
		connected()
		if !m.connected.Swap(true) {
			close(m.heard)
		}
	}, notify)
}

// pageRelease stores a release of one page and gives its manifest's digest.
func pageRelease(ctx context.Context, blobs blob.Store, scope string) (string, error) {
	page, err := blob.PutBytes(ctx, blobs, scope, []byte(manyRoutesPage))
	if err != nil {
		return "", err
	}
	builder, err := assets.NewBuilder(assets.Config{})
	if err != nil {
		return "", err
	}
	err = builder.Add("/index.html", assets.File{Digest: page.Digest, Size: int64(len(manyRoutesPage)), ContentType: "text/html; charset=utf-8"})
	if err != nil {
		return "", err
	}
	manifest, err := builder.Build()
	if err != nil {
		return "", err
	}
	data, err := manifest.Encode()
	if err != nil {
		return "", err
	}
	stored, err := blob.PutBytes(ctx, blobs, scope, data)
	return stored.Digest, err
}
