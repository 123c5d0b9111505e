// Bench measures Slipway against what a person would otherwise use, on this
// machine and in this run, and prints one table:
//
//	go run ./bench            every row; some minutes
//	go run ./bench -quick     every row once: does it work?
//	go run ./bench -startup   from ./task dev to the first page
//
// A figure of another day or machine says nothing, so every row has its peer
// beside it, measured in turns with ours (ours, theirs, ours, theirs, …). A row
// or a peer that is missing makes the program fail. A missed aim does not: it is
// marked MISSED and comes with what to look at.
//
// The files, in reading order: suite.go has the rows and runs them, pairs.go and
// table.go are figures and how they are shown; deploys.go, workflow.go,
// queries.go, static.go, proxy.go, worker.go, miniflare.go, manyworkers.go, neighbours.go and
// tls.go measure; system.go, bare.go, servers.go and load.go are what is measured
// and what it is measured with; history.go and profile.go say where the time
// went. startup.go is a table of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// settings are the flags.
type settings struct {
	quick, startup, cold bool
	// only are the sections to run; empty means all.
	only []string
	// bin has programs built before; empty builds them.
	bin string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == profiledDispatcher {
		exit(serveProfiled(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == plainUpstream {
		exit(servePlain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == proxyingDispatcher {
		exit(serveProxying(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == manyRoutesDispatcher {
		exit(serveManyRoutes(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == connectionSink {
		exit(serveSink(os.Args[2:]))
	}
	var s settings
	var only string
	flag.BoolVar(&s.quick, "quick", false, "run every row with tiny counts, to see that it works")
	flag.BoolVar(&s.startup, "startup", false, "measure the time from ./task dev to the first page instead")
	flag.BoolVar(&s.cold, "cold", false, "with -startup: also from a fresh clone with empty caches")
	flag.StringVar(&only, "only", "", "comma-separated `sections` to run: "+strings.Join(sectionNames(), ", "))
	flag.StringVar(&s.bin, "bin", "", "`folder` with slipway and slipway-devserver already built")
	flag.Parse()
	if only != "" {
		s.only = strings.Split(only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := measure
	if s.startup {
		run = measureStartup
	}
	exit(run(ctx, s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// errIncomplete ends a run whose table lacks rows; what is missing was printed.
var errIncomplete = errors.New("the table is not complete")
