package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
			while (true) { const socket = connect(env.SINK); await socket.opened; all.push(socket); }`, says(models.LogSystem, "are being refused")},
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

// The victims are asked all the time while the culprits do what they do.
const (
	victimWorker = "a worker"
	victimSite   = "a static site"
)

func victimNames() []string { return []string{victimWorker, victimSite} }

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
func neighbourRows(ctx context.Context, b *bench) ([]row, error) {
	sink, err := startSink(ctx)
	if err != nil {
		return nil, err
	}
	defer sink.stop()
	n, err := newNeighbourhood(ctx, b, sink.addr)
	if err != nil {
		return nil, err
	}
	defer n.edge.stop()
	var turns []neighbourTurn
	for i := range b.neighbourTurns {
		turn, err := n.turn(ctx, i, b.neighbourPhase)
		if err != nil {
			return nil, err
		}
		turns = append(turns, turn)
	}
	return neighbourTable(turns, b.neighbourPhase), nil
}

// neighbourhood is a dispatcher with tenants of both kinds.
type neighbourhood struct {
	system *system
	edge   *server
	// culprits are by name, one for each turn: who ended badly waits longer the
	// next time, and would be a better neighbour.
	culprits map[string][]*project
	victims  map[string]load
}

func newNeighbourhood(ctx context.Context, b *bench, sink string) (*neighbourhood, error) {
	n := &neighbourhood{system: b.system, culprits: map[string][]*project{}}
	noisy, err := b.system.newAccount(ctx, "bench-noisy")
	if err != nil {
		return nil, err
	}
	for _, c := range culprits() {
		template, err := b.system.deployCode(ctx, noisy, "bench-"+c.name, c.source(sink))
		if err != nil {
			return nil, err
		}
		if n.culprits[c.name], err = b.system.copyProject(ctx, template, b.neighbourTurns); err != nil {
			return nil, err
		}
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
	n.edge, err = startEdge(ctx, b.system, filepath.Join(b.dir, "edge-neighbours"), "EDGE_ALLOW_PRIVATE=127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	n.victims = map[string]load{
		victimWorker: newLoad(n.edge.addr, worker.worker+".localhost", "/", "identity", 1, 1),
		victimSite:   newLoad(n.edge.addr, site.worker+".localhost", "/small.js", "identity", 1, 1),
	}
	if _, err := worker.firstByte(ctx, n.edge); err != nil {
		n.edge.stop()
		return nil, err
	}
	return n, nil
}

// neighbourTurn has the times of each victim's answers before, during and after,
// in microseconds, and after how many seconds each culprit was named.
type neighbourTurn struct {
	watched [3]map[string][]float64
	named   map[string]float64
}

func (n *neighbourhood) turn(ctx context.Context, i int, phase time.Duration) (t neighbourTurn, err error) {
	// The culprits run already: what counts is what they do, not that they start.
	for _, c := range culprits() {
		if _, err := n.culprits[c.name][i].firstByte(ctx, n.edge); err != nil {
			return t, err
		}
	}
	for at := range t.watched {
		t.watched[at], err = watch(ctx, n.victims, phase, func(ctx context.Context) error {
			if at != 1 {
				return nil
			}
			named, err := n.misbehave(ctx, i)
			t.named = named
			return err
		})
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

func neighbourTable(turns []neighbourTurn, phase time.Duration) (rows []row) {
	for _, victim := range victimNames() {
		during := row{name: neighbourRow(victim, "during"), peer: peerBefore, unit: micros, aim: aimNeighbours}
		after := row{name: neighbourRow(victim, "after"), peer: peerBefore, unit: micros}
		for i, t := range turns {
			var p99 [3]float64
			for at, times := range t.watched {
				p99[at] = percentile(times[victim], 0.99)
			}
			during.pairs, after.pairs = append(during.pairs, pair{p99[1], p99[0]}), append(after.pairs, pair{p99[2], p99[0]})
			during.look += fmt.Sprintf("  turn %d: %d answers meanwhile, p50 %.0f µs before and %.0f µs during, the slowest %.0f µs\n",
				i+1, len(t.watched[1][victim]), median(t.watched[0][victim]), median(t.watched[1][victim]), slices.Max(t.watched[1][victim]))
		}
		rows = append(rows, during, after)
	}
	for _, c := range culprits() {
		r := row{name: namedRow(c.name), peer: peerNothing, unit: seconds, aim: aimNamed, absolute: true}
		r.look = "  most of it is the watchdog's patience (EDGE_CPU_TIMEOUT) and the log's way to its reader"
		for i, t := range turns {
			at, ok := t.named[c.name]
			if !ok {
				at = phase.Seconds()
				r.look += fmt.Sprintf("\n  turn %d: not named at all", i+1)
			}
			r.pairs = append(r.pairs, pair{at, phase.Seconds()})
		}
		rows = append(rows, r)
	}
	return rows
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

// misbehave has all culprits of a turn do what they do, again and again, until
// ctx ends, and gives after how many seconds each was named.
func (n *neighbourhood) misbehave(ctx context.Context, turn int) (named map[string]float64, err error) {
	var mu sync.Mutex
	named = map[string]float64{}
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range culprits() {
		p := n.culprits[c.name][turn]
		group.Go(func() error {
			provoke(ctx, n.edge, p.worker)
			return nil
		})
		group.Go(func() error {
			began := time.Now()
			err := p.awaitLine(ctx, began, c.named)
			if ctx.Err() != nil {
				return nil // not named in time, which the table says
			}
			mu.Lock()
			named[c.name] = time.Since(began).Seconds()
			mu.Unlock()
			return err
		})
	}
	err = group.Wait()
	return named, err
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
func (p *project) awaitLine(ctx context.Context, began time.Time, is func(models.WorkerLogLine) bool) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.system.APIURL+"/projects/"+p.id+"/logs/stream?tail=0", nil)
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
