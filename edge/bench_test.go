package edge

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkOpen is what a request to a running worker pays for the host.
func BenchmarkOpen(b *testing.B) {
	h := &Host{limits: testLimits()}
	h.limits.WorkerRequests = 1 << 30
	r := Release{ID: "rel_0123456789abcdef0123456789abcdef"}
	h.running.Store(r.ID, &worker{host: h, drained: make(chan struct{})})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		lease, err := h.Open(ctx, r)
		if err != nil {
			b.Fatal(err)
		}
		lease.Close()
	}
}

// BenchmarkColdStart is the first answer of a release that does not run.
func BenchmarkColdStart(b *testing.B) {
	w := newWorld(b)
	r := w.deploy("r1", hello)
	w.expect(r, "/", "hello 1")
	var longest time.Duration
	for b.Loop() {
		b.StopTimer()
		running, _ := w.running.Load(r.ID)
		require.True(b, w.retireIdle(running.(*worker), endedIdle))
		<-running.(*worker).done
		w.eventually(func() bool { return len(w.Status().Workers) == 0 }, func() string { return "it still runs" })
		b.StartTimer()
		began := time.Now()
		w.expect(r, "/", "hello 1")
		longest = max(longest, time.Since(began))
	}
	b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
}
