package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/toolchain"
)

// What a request to a warm worker may take, in the time of bare workerd: 1 ÷ 0.6
// of its requests a second with many clients, and the time of one with one.
const (
	aimWorkerMany = 1 / 0.6
	aimWorkerOne  = 1.4
)

const (
	peerWorkerd   = "bare workerd serve"
	peerMiniflare = "miniflare"

	rowWorkerMany = "worker, warm: time ÷ requests, 16 clients"
	rowWorkerOne  = "worker, warm: p50, one client"
)

// workerScript answers about what a small API does.
const workerScript = `export default {
	async fetch(request) {
		const url = new URL(request.url);
		return Response.json({ method: request.method, path: url.pathname, items: Array.from({ length: 20 }, (_, id) => ({ id, name: "item " + id })) });
	},
};
`

const workerSettings = `{ "name": "bench-worker", "main": "index.js", "compatibility_date": "2026-11-01" }
`

// workerKeys are the keys of the rows, which every peer has.
func workerKeys() []string {
	return append(keys(peerWorkerd, rowWorkerMany, rowWorkerOne), keys(peerMiniflare, rowWorkerMany, rowWorkerOne)...)
}

// workerRows deploys a worker and asks it through the dispatcher, in turns with
// the same script under workerd alone and under miniflare, which is the server of
// `wrangler dev`.
func workerRows(ctx context.Context, b *bench) ([]row, error) {
	p, err := b.system.newProject(ctx, b.system.account, "bench-worker")
	if err != nil {
		return nil, err
	}
	if _, err := p.deploy(ctx, []initFile{{"wrangler.jsonc", workerSettings}, {"index.js", workerScript}}); err != nil {
		return nil, err
	}
	address, err := url.Parse(b.system.DispatcherURL)
	if err != nil {
		return nil, err
	}
	ours := &server{name: "the dispatcher", addr: net.JoinHostPort("127.0.0.1", address.Port()), host: p.worker + ".localhost"}
	bare, err := startWorkerd(ctx, b)
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	miniflare, err := startMiniflare(ctx, b)
	if err != nil {
		return nil, err
	}
	defer miniflare.stop()
	c := staticCase{name: "worker", path: "/items", encoding: "identity", part: 1}
	body, err := sameAnswer(ctx, c, ours, bare, miniflare)
	if err != nil {
		return nil, err
	}
	rows := []row{
		{name: rowWorkerMany, peer: peerWorkerd, unit: micros, aim: aimWorkerMany},
		{name: rowWorkerOne, peer: peerWorkerd, unit: micros, aim: aimWorkerOne},
		{name: rowWorkerMany, peer: peerMiniflare, unit: micros},
		{name: rowWorkerOne, peer: peerMiniflare, unit: micros},
	}
	for turn := range b.staticPairs + 1 {
		var many, one [3]float64
		for i, s := range []*server{ours, bare, miniflare} {
			if many[i], err = s.timePerRequest(ctx, c, body, b.requests/4); err != nil {
				return nil, err
			}
			if one[i], err = s.medianTime(ctx, c, b.requests/16); err != nil {
				return nil, err
			}
		}
		if turn == 0 && !b.quick {
			continue // all are warm
		}
		for peer := range 2 {
			rows[2*peer].pairs = append(rows[2*peer].pairs, pair{many[0], many[1+peer]})
			rows[2*peer+1].pairs = append(rows[2*peer+1].pairs, pair{one[0], one[1+peer]})
		}
	}
	for i := range rows {
		if rows[i].missed() {
			rows[i].look = "  the proxy rows say what the dispatcher itself spends; the rest is the sandbox and the scheduler's"
		}
	}
	return rows, nil
}

// timePerRequest is the time that many clients take together, in microseconds,
// divided by their requests.
func (s *server) timePerRequest(ctx context.Context, c staticCase, body int64, requests int) (float64, error) {
	made, took, err := newLoad(s.addr, s.host, c.path, c.encoding, staticClients, requests).run(ctx, body)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	return took.Seconds() * 1e6 / float64(made), nil
}

// medianTime is the median time that one client waits for an answer, in
// microseconds.
func (s *server) medianTime(ctx context.Context, c staticCase, requests int) (float64, error) {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Now()) })()
	reader := bufio.NewReader(connection)
	request := newLoad(s.addr, s.host, c.path, c.encoding, 1, requests).request
	times := make([]float64, 0, requests)
	for range requests {
		began := time.Now()
		if _, err := connection.Write(request); err != nil {
			return 0, err
		}
		if _, err := readAnswer(reader); err != nil {
			return 0, fmt.Errorf("%s: %w", s.name, err)
		}
		times = append(times, time.Since(began).Seconds()*1e6)
	}
	return median(times), nil
}

const workerdBenchConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main) ],
  sockets = [ (name = "http", address = "%s", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "worker", esModule = embed "worker.js") ],
  compatibilityDate = "2026-11-01",
);
`

// startWorkerd runs the script under workerd alone: no sandbox, no dispatcher.
func startWorkerd(ctx context.Context, b *bench) (*server, error) {
	dir, err := toolchain.DefaultDir()
	if err != nil {
		return nil, err
	}
	tools, err := toolchain.Install(ctx, dir, os.Stderr)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(b.dir, "workerd")
	config, err := writeConfig(home, "config.capnp", fmt.Sprintf(workerdBenchConfig, addr))
	if err != nil {
		return nil, err
	}
	if _, err := writeConfig(home, "worker.js", workerScript); err != nil {
		return nil, err
	}
	return startServer(ctx, "workerd", addr, addr, child.Options{Path: tools.Tool("workerd"), Args: []string{"serve", config}})
}
