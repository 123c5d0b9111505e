package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// relaxedGC is the most the heap of a dispatcher may grow between collections,
	// in percent of what lives, and garbageBytes in bytes: with a million routes in
	// memory four times that would be a gigabyte.
	relaxedGC    = 400
	leastGC      = 25
	garbageBytes = 256 << 20
	gcLookEvery  = 5 * time.Second
)

// relaxGC trades memory for processor time until ctx ends: what a dispatcher
// keeps lives long (routes, manifests, files), what a request allocates dies at
// once, so collecting at twice the live heap mostly looks at the same files
// again. GOGC overrides it.
func relaxGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(gcLookEvery)
	defer tick.Stop()
	set := 0
	for {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		// Setting it stops everything for a moment, so only when it matters.
		if percent := gcPercent(live[0].Value.Uint64()); set == 0 || percent*10 < set*9 || percent*9 > set*10 {
			debug.SetGCPercent(percent)
			set = percent
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func gcPercent(live uint64) int {
	if live < garbageBytes*100/relaxedGC {
		return relaxedGC
	}
	return max(leastGC, int(garbageBytes*100/live))
}
