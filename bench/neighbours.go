package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/models"
)

// What neighbours may do to a tenant's slowest answers, and how soon the one who
// is at fault must be stopped and named in its own log.
const (
	aimNeighbours = 1.5
	aimNamed      = 2
)

const (
	peerBefore  = "before they began"
	peerNothing = "the whole time"
)

// culprit is a worker that does what it should not when it is asked for /do.
type culprit struct {
	name, code string
	// named says whether a line of its log names what it did.
	named func(models.WorkerLogLine) bool
}

func culprits() []culprit {
	says := func(kind, words string) func(models.WorkerLogLine) bool {
		return func(l models.WorkerLogLine) bool { return l.Kind == kind && strings.Contains(l.Message, words) }
	}
	return []culprit{
		{"spins", `while (true) {}`, says(models.LogSystem, "it computed for")},
		{"eats", `const all = []; while (true) all.push(new Array(100000).fill(Math.random()));`, says(models.LogSystem, "it used more than")},
		{"leaks", `const all = globalThis.all = [];
			while (true) { const socket = connect(env.SINK); await socket.opened; all.push(socket); }`, says(models.LogException, "")},
		{"floods", `for (let i = 0; ; i++) { console.log("again and again " + i); if (i % 100 === 99) await scheduler.wait(1); }`, says(models.LogSystem, "lines dropped")},
	}
}

// source is the module of a culprit; the sink takes its connections.
func (c culprit) source(sink string) string {
	return fmt.Sprintf(`import { connect } from "cloudflare:sockets";
const env = { SINK: %q };
export default { async fetch(request) {
	if (new URL(request.url).pathname !== "/do") return new Response("hello\n");
	%s
	return new Response("done\n");
} };
`, sink, c.code)
}

// victims are asked all the time while the culprits do what they do.
func victimNames() []string { return []string{"a worker", "a static site"} }

func neighbourRow(victim, phase string) string {
	return fmt.Sprintf("neighbours: p99 of %s, %s", victim, phase)
}

func namedRow(culprit string) string {
	return "neighbours: until the one that " + culprit + " is named"
}

func neighbourKeys() []string {
	var list []string
	for _, victim := range victimNames() {
		list = append(list, keys(peerBefore, neighbourRow(victim, "during"), neighbourRow(victim, "after"))...)
	}
	for _, c := range culprits() {
		list = append(list, keys(peerNothing, namedRow(c.name))...)
	}
	return list
}

// neighbourRows is the noisy-neighbour gate: workers that spin, eat memory, leak
// sockets and log without end, on a machine where two others are being served.
func neighbourRows(ctx context.Context, b *bench) (rows []row, err error) {
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer sink.Close()
	go hold(sink)
	projects, err := deployCulprits(ctx, b.system, sink.Addr().String())
	if err != nil {
		return nil, err
	}
	quiet, err := b.system.newAccount(ctx, "bench-quiet")
	if err != nil {
		return nil, err
	}
	worker, err := b.system.deployCode(ctx, quiet, "bench-quiet-worker", tinyWorker)
	if err != nil {
		return nil, err
	}
	site, err := b.system.newProject(ctx, quiet, "bench-quiet-site")
	if err != nil {
		return nil, err
	}
	if _, err := site.deploy(ctx, siteFiles()); err != nil {
		return nil, err
	}
	edge, err := startEdge(ctx, b.system, filepath.Join(b.dir, "edge-neighbours"), "EDGE_ALLOW_PRIVATE=127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	defer edge.stop()
	// All run already: what counts is what they do, not that they start.
	for _, p := range append(slices.Collect(maps.Values(projects)), worker, site) {
		if _, err := firstByte(ctx, edge.addr, p.worker+".localhost"); err != nil {
			return nil, fmt.Errorf("%s: %w", p.worker, err)
		}
	}
	asked := map[string]load{
		"a worker":      newLoad(edge.addr, worker.worker+".localhost", "/", "identity", 1, 1),
		"a static site": newLoad(edge.addr, site.worker+".localhost", "/small.js", "identity", 1, 1),
	}

	watched := map[string][3][]float64{}
	var named map[string]float64
	for phase := range 3 {
		if phase == 1 {
			named = map[string]float64{}
		}
		seen, err := watch(ctx, asked, b.neighbourPhase, func(ctx context.Context) error {
			if phase != 1 {
				return nil
			}
			return misbehave(ctx, b.system, edge, projects, named)
		})
		if err != nil {
			return nil, err
		}
		for victim, times := range seen {
			all := watched[victim]
			all[phase] = times
			watched[victim] = all
		}
	}
	for _, victim := range victimNames() {
		times := watched[victim]
		before := percentile(times[0], 0.99)
		during := row{name: neighbourRow(victim, "during"), peer: peerBefore, unit: micros, aim: aimNeighbours,
			pairs: []pair{{percentile(times[1], 0.99), before}}}
		during.look = fmt.Sprintf("  %d answers, p50 %.0f µs before and %.0f µs during, the slowest %.0f µs; the processors are shared by the kernel's weights of control groups",
			len(times[1]), median(times[0]), median(times[1]), slices.Max(times[1]))
		rows = append(rows, during, row{name: neighbourRow(victim, "after"), peer: peerBefore, unit: micros,
			pairs: []pair{{percentile(times[2], 0.99), before}}})
	}
	for _, c := range culprits() {
		r := row{name: namedRow(c.name), peer: peerNothing, unit: seconds, aim: aimNamed, absolute: true}
		r.pairs = []pair{{b.neighbourPhase.Seconds(), b.neighbourPhase.Seconds()}}
		r.look = "  it was not named at all; GET /projects/{id}/logs/stream of its project has what was said"
		if at, ok := named[c.name]; ok {
			r.pairs[0].ours = at
			r.look = "  most of it is the watchdog's patience (EDGE_CPU_TIMEOUT) and the log's way to its reader"
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func deployCulprits(ctx context.Context, s *system, sink string) (map[string]*project, error) {
	owner, err := s.newAccount(ctx, "bench-noisy")
	if err != nil {
		return nil, err
	}
	projects := map[string]*project{}
	for _, c := range culprits() {
		if projects[c.name], err = s.deployCode(ctx, owner, "bench-"+c.name, c.source(sink)); err != nil {
			return nil, err
		}
	}
	return projects, nil
}

// hold takes connections and keeps them until its listener and their other ends
// are closed.
func hold(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
	}
}

// victimPause is between a victim's requests: a hundred a second leave the
// processors to those who want them.
const victimPause = 10 * time.Millisecond

// watch asks each victim for so long, and gives the times of its answers in
// microseconds. meanwhile runs beside it until the time is over.
func watch(ctx context.Context, victims map[string]load, span time.Duration, meanwhile func(context.Context) error) (map[string][]float64, error) {
	ctx, end := context.WithTimeout(ctx, span)
	defer end()
	var mu sync.Mutex
	times := map[string][]float64{}
	group, all := errgroup.WithContext(ctx)
	for victim, l := range victims {
		group.Go(func() error {
			took, err := l.latencies(all)
			mu.Lock()
			times[victim] = took
			mu.Unlock()
			if err != nil {
				err = fmt.Errorf("%s: %w", victim, err)
			}
			return err
		})
	}
	group.Go(func() error { return meanwhile(all) })
	err := group.Wait()
	for victim, took := range times {
		if err == nil && len(took) < 10 {
			err = fmt.Errorf("%s answered %d times in %s", victim, len(took), span)
		}
	}
	return times, err
}

// latencies asks over one connection until ctx ends.
func (l load) latencies(ctx context.Context) (times []float64, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 64<<10)
	tick := time.NewTicker(victimPause)
	defer tick.Stop()
	for {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		began := time.Now()
		if _, err := conn.Write(l.request); err != nil {
			return times, err
		}
		if _, err := readAnswer(reader); err != nil {
			return times, err
		}
		times = append(times, float64(time.Since(began).Microseconds()))
		select {
		case <-ctx.Done():
			return times, nil
		case <-tick.C:
		}
	}
}

// misbehave has all culprits do what they do, again and again, until ctx ends,
// and notes after how many seconds each was named.
func misbehave(ctx context.Context, s *system, edge *server, projects map[string]*project, named map[string]float64) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range culprits() {
		p := projects[c.name]
		group.Go(func() error {
			provoke(ctx, edge, p.worker)
			return nil
		})
		group.Go(func() error {
			began := time.Now()
			err := s.awaitLine(ctx, p, began, c.named)
			if ctx.Err() != nil {
				return nil // not named in time, which the table says
			}
			mu.Lock()
			named[c.name] = time.Since(began).Seconds()
			mu.Unlock()
			return err
		})
	}
	return group.Wait()
}

// provoke asks for /do as soon as the last answer came, until ctx ends.
func provoke(ctx context.Context, edge *server, worker string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+edge.addr+"/do", nil)
		if err != nil {
			return
		}
		request.Host = worker + ".localhost"
		if response, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitLine reads a project's log as its owner would until a line of after began
// is the one.
func (s *system) awaitLine(ctx context.Context, p *project, began time.Time, is func(models.WorkerLogLine) bool) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.APIURL+"/projects/"+p.id+"/logs/stream?tail=0", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+p.owner.Token)
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the log of %s: %s", p.worker, answer.Status)
	}
	for lines := bufio.NewReader(answer.Body); ; {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		data, isData := bytes.CutPrefix(text, []byte("data: "))
		var line models.WorkerLogLine
		if isData && json.Unmarshal(data, &line) == nil && !line.Time.Before(began) && is(line) {
			return nil
		}
	}
}
