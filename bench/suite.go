package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// section is a group of rows that are measured together.
type section struct {
	name string
	// rows are the keys of those that must be in the result.
	rows []string
	run  func(context.Context, *bench) ([]row, error)
}

// sections are all there is, in the order of the table.
func sections() []section {
	return []section{
		{"deploys", keys(peerBuild, rowCold, rowWarm, rowUnchanged), deployRows},
		{"workflow", keys(peerWorkflow, rowWorkflow), workflowRows},
		{"queries", keys(peerQuery, rowOneClient, rowManyClients), queryRows},
		{"static", append(keys(peerNginx, staticRowNames()...), keys(peerCaddy, staticRowNames()...)...), staticRows},
		{"proxy", proxyKeys(), proxyRows},
		{"worker", workerKeys(), workerRows},
		{"workers", append(keys(peerWorkerd, rowWorkerMemory, rowColdMedian, rowColdLongest), keys(peerHostAlone, rowHostMemory)...), manyRows},
		{"neighbours", neighbourKeys(), neighbourRows},
		{"routes", routeRowKeys(), routeRows},
		{"tls", keys(peerTLS, rowHandshake, rowTLSMemory), tlsRows},
	}
}

// keys are those of rows with the same peer.
func keys(peer string, names ...string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = row{name: name, peer: peer}.key()
	}
	return keys
}

func sectionNames() []string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

// bench is one run.
type bench struct {
	settings
	counts
	// root is the top of the checkout; dir is ours, and goes with us.
	root, dir string
	system    *system
}

// counts are how often things are measured.
type counts struct {
	// deployPairs, workflowPairs, queryPairs and staticPairs are turns.
	deployPairs, workflowPairs, queryPairs, staticPairs int
	// queries and requests are made in one turn.
	queries, requests int
	// handshakes are made in each of tlsPairs turns, with names out of so many
	// certificates.
	tlsPairs, handshakes, certificates int
	// deployedWorkers have rows, activeWorkers of them run. coldWorkers are
	// started in each of coldRounds.
	deployedWorkers, activeWorkers, coldWorkers, coldRounds int
	// neighbourPhase is how long victims are watched before, during and after, in
	// each of neighbourTurns.
	neighbourPhase time.Duration
	neighbourTurns int
	// routeTurns are turns for each number of routes.
	routeTurns int
}

func (s settings) counts() counts {
	if s.quick {
		return counts{deployPairs: 1, workflowPairs: 2, queryPairs: 1, staticPairs: 1, queries: 20, requests: 200,
			tlsPairs: 1, handshakes: 100, certificates: 300,
			deployedWorkers: 20, activeWorkers: 3, coldWorkers: 2, coldRounds: 1, neighbourPhase: 4 * time.Second, neighbourTurns: 1, routeTurns: 1}
	}
	return counts{deployPairs: 5, workflowPairs: 40, queryPairs: 5, staticPairs: 7, queries: 1500, requests: 40_000,
		tlsPairs: 5, handshakes: 2000, certificates: 10_000,
		deployedWorkers: 1000, activeWorkers: 100, coldWorkers: 25, coldRounds: 2, neighbourPhase: 7 * time.Second, neighbourTurns: 3, routeTurns: 5}
}

// measure runs the sections and prints the table.
func measure(ctx context.Context, s settings) (err error) {
	for _, name := range s.only {
		if !slices.Contains(sectionNames(), name) {
			return fmt.Errorf("there is no section %q; there are %s", name, strings.Join(sectionNames(), ", "))
		}
	}
	describeMachine(os.Stdout)
	b, err := newBench(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()

	var rows []row
	var missing []string
	for _, part := range sections() {
		if len(s.only) > 0 && !slices.Contains(s.only, part.name) {
			continue
		}
		say("%s …", part.name)
		got, err := part.run(ctx, b)
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", part.name, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rows = append(rows, got...)
		for _, key := range part.rows {
			if !slices.ContainsFunc(got, func(r row) bool { return r.key() == key && r.complete() }) {
				missing = append(missing, "no figure for: "+key)
			}
		}
	}
	printTable(os.Stdout, rows)
	for _, what := range missing {
		fmt.Fprintln(os.Stderr, "MISSING", what)
	}
	if len(missing) > 0 {
		return errIncomplete
	}
	return nil
}

// newBench builds what is measured and starts it.
func newBench(ctx context.Context, s settings) (*bench, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	dir, err := newFolder()
	if err != nil {
		return nil, err
	}
	b := &bench{settings: s, counts: s.counts(), root: root, dir: dir}
	say("building …")
	bin, err := b.programs(ctx)
	if err == nil {
		say("starting slipway dev …")
		b.system, err = startSystem(ctx, bin, filepath.Join(dir, "data"))
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) close() error {
	var err error
	if b.system != nil {
		err = b.system.stop()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// newFolder makes a temporary folder that unprivileged servers and sandboxes
// can look into.
func newFolder() (string, error) {
	dir, err := os.MkdirTemp("", "slipway-bench-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// say tells who waits what is going on; the table alone goes to stdout.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
