package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/models"
)

// The aims: a part of a request's CPU time, the time until a new route is
// served, and MiB for a million routes.
const (
	aimLookup      = 0.02
	aimAddRoute    = 0.1
	aimRouteMemory = 300
)

const (
	peerRequest  = "the whole request"
	peerNginxMap = "nginx, a map line each"
	peerCaddyAPI = "Caddy, by its admin API"
)

const lookAddRoute = "  the announcement's way through PostgreSQL, and the first read of the route"

// routeSizes are how many routes there are in each round; quick runs have fewer
// under the same names.
func (b *bench) routeSizes() []routeSize {
	sizes := []routeSize{{"10k routes", 10_000}, {"1M routes", 1_000_000}}
	if b.quick {
		sizes[1].count = 50_000
	}
	return sizes
}

type routeSize struct {
	name  string
	count int
}

func (s routeSize) lookup() string { return s.name + ": lookup" }
func (s routeSize) add() string    { return s.name + ": add one" }
func (s routeSize) memory() string { return s.name + ": memory" }

func routeRowKeys() (all []string) {
	for _, s := range new(bench).routeSizes() {
		all = append(all, keys(peerRequest, s.lookup())...)
		all = append(all, keys(peerNginxMap, s.add(), s.memory())...)
	}
	return append(all, keys(peerCaddyAPI, new(bench).routeSizes()[0].add())...)
}

// routeRows fills a dispatcher's memory and nginx's map with routes. A new one
// is a row in PostgreSQL that is announced, for us, and a line and a reload for
// nginx.
func routeRows(ctx context.Context, b *bench) ([]row, error) {
	if _, err := b.system.deploySite(ctx); err != nil {
		return nil, err
	}
	var rows []row
	for _, size := range b.routeSizes() {
		say("  %s …", size.name)
		got, err := measureRoutes(ctx, b, size)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", size.name, err)
		}
		rows = append(rows, got...)
	}
	// A million routes are more than Caddy takes in one configuration.
	beside, err := addBesideCaddy(ctx, b, b.routeSizes()[0])
	return append(rows, beside), err
}

func measureRoutes(ctx context.Context, b *bench, size routeSize) ([]row, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("routes-%d", size.count))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ours, err := startManyRoutes(ctx, b, dir, size.count)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	nginx, err := startMapNginx(ctx, dir, size.count)
	if err != nil {
		return nil, err
	}
	defer nginx.stop()

	lookup := row{name: size.lookup(), peer: peerRequest, unit: micros, aim: aimLookup,
		look: "  go test ./dispatcher -run '^$' -bench RouteTable"}
	add := row{name: size.add(), peer: peerNginxMap, unit: seconds, aim: aimAddRoute, absolute: true,
		look: lookAddRoute}
	memory := row{name: size.memory(), peer: peerNginxMap, unit: mebibytes, aim: aimRouteMemory, absolute: true,
		look: "  proportional set size after a collection, names of all routes included"}
	ns, err := lookupTime(ctx, b, size.count)
	if err != nil {
		return nil, err
	}
	request := staticCase{name: size.name, path: "/", encoding: "identity", part: 1}
	for range b.routeTurns {
		whole, err := ours.bear(ctx, request, int64(len(manyRoutesPage)), b.requests)
		if err != nil {
			return nil, err
		}
		lookup.pairs = append(lookup.pairs, pair{ns / 1000, whole.cost})
	}
	connection, err := pgx.Connect(ctx, b.system.postgresURL)
	if err != nil {
		return nil, err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for turn := range b.routeTurns {
		host := fmt.Sprintf("added-%d-%d.localhost", size.count, turn)
		mine, err := timed(func() error { return addRoute(ctx, connection, host, ours) })
		if err != nil {
			return nil, err
		}
		theirs, err := timed(func() error { return addMapLine(ctx, dir, host, nginx) })
		if err != nil {
			return nil, err
		}
		add.pairs = append(add.pairs, pair{mine.Seconds(), theirs.Seconds()})
	}
	if err := ours.collect(ctx); err != nil {
		return nil, err
	}
	var sizes [2]float64
	for i, s := range []*server{ours, nginx} {
		if sizes[i], err = memoryOf(s.process.Pid()); err != nil {
			return nil, err
		}
	}
	memory.pairs = append(memory.pairs, pair{sizes[0], sizes[1]})
	return []row{lookup, add, memory}, nil
}

func timed(do func() error) (time.Duration, error) {
	began := time.Now()
	err := do()
	return time.Since(began), err
}

// startManyRoutes starts a dispatcher that has been asked for every route once.
func startManyRoutes(ctx context.Context, b *bench, dir string, count int) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "a dispatcher with many routes", addr, "app-0.localhost", child.Options{
		Path: program, Args: []string{manyRoutesDispatcher, addr, strconv.Itoa(count), filepath.Join(dir, "blobs"), b.system.postgresURL},
	})
}

// addRoute puts a route into PostgreSQL and announces it, as going live does, and
// waits until it is served. The connection is open, as the platform's are.
func addRoute(ctx context.Context, connection *pgx.Conn, host string, by *server) error {
	name, _, _ := strings.Cut(host, ".")
	_, err := connection.Exec(ctx, `
		WITH added AS (
			INSERT INTO routes (key, project_id, organization_id, worker_name, release_id, manifest_digest, generation)
			SELECT $1, project_id, organization_id, $2, release_id, manifest_digest, nextval('route_generations') FROM routes LIMIT 1
			RETURNING key, generation)
		SELECT pg_notify($3, key || ' ' || generation) FROM added`, models.WorkerRouteKey(name), name, models.RoutesChannel)
	if err != nil {
		return err
	}
	return by.awaitHost(ctx, host)
}

// awaitHost asks on new connections until a host is served.
func (s *server) awaitHost(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/", nil)
		if err != nil {
			return err
		}
		request.Host = host
		// nginx may refuse a connection between two workers.
		if answer, err := client.Do(request); err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode == http.StatusOK {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s to serve %s: %w", s.name, host, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// collect has a dispatcher of ours give back memory that nothing uses.
func (s *server) collect(ctx context.Context) error {
	if err := syscall.Kill(s.process.Pid(), syscall.SIGUSR1); err != nil {
		return err
	}
	return s.awaitHost(ctx, collectedHost)
}

// lookupTime is what finding a route in use takes, in nanoseconds, by the
// dispatcher's own benchmark: from outside it is lost in the request. It is the
// least of three, since the clock counts what else the machine does.
func lookupTime(ctx context.Context, b *bench, count int) (float64, error) {
	name := fmt.Sprintf("RouteTable/%d_routes/hot", benchmarked(count))
	run := exec.CommandContext(ctx, "go", "test", "./dispatcher", "-run", "^$", "-bench", name, "-benchtime", "1000000x", "-count", "3")
	run.Dir = b.root
	said, err := run.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run the dispatcher's benchmark: %w\n%s", err, said)
	}
	least := math.Inf(1)
	for _, found := range regexp.MustCompile(`([0-9.]+) ns/op`).FindAllSubmatch(said, -1) {
		ns, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return 0, err
		}
		least = min(least, ns)
	}
	return least, nil
}

// benchmarked is the size the benchmark has.
func benchmarked(count int) int {
	if count <= 10_000 {
		return 10_000
	}
	return 1_000_000
}
