package edge

import (
	"context"
	"fmt"
	"time"
)

const (
	// watchEvery is how often workers in use are looked at; idle ones are on every
	// idleEvery-th round.
	watchEvery = 150 * time.Millisecond
	idleEvery  = 6
	// recentUse is how long after its last request a worker is watched closely.
	recentUse = 5 * time.Second
	// suspectCPU is the part of a processor from which a worker must show that its
	// event loop turns.
	suspectCPU = 0.2
	// suspectTime is how much a worker may compute until it must show so again,
	// however small its part: on a machine full of workers that spin, each of them
	// has a small one.
	suspectTime = 200 * time.Millisecond
	// suspectAfter is how long a worker's event loop may stand still before the
	// worker has to give way to others.
	suspectAfter = 50 * time.Millisecond
	// silentFor ends a worker whose event loop does not turn although it hardly
	// computes.
	silentFor = 15 * time.Second
)

// watch is what the watchdog knows of a worker. Used by Run's goroutine alone,
// but for probing.
type watch struct {
	seen    time.Time
	cpu     time.Duration
	probing chan struct{}
	// busy says that it computed when last looked at.
	busy bool
	// shown is what it had computed when it was last asked for a sign.
	shown time.Duration
}

func (h *Host) watchWorkers(ctx context.Context, all bool) {
	now := h.now()
	for _, w := range h.workers() {
		if all || w.leases.Load() != 0 || now.Sub(w.idleSince()) < recentUse {
			h.watchWorker(ctx, w, now)
		}
	}
}

// workers lists those whose processes exist.
func (h *Host) workers() []*worker {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*worker, 0, len(h.live))
	for w := range h.live {
		list = append(list, w)
	}
	return list
}

func (h *Host) watchWorker(ctx context.Context, w *worker, now time.Time) {
	usage, err := w.service.Usage()
	if err != nil || w.fate.Load() != nil {
		return
	}
	w.memory.Store(usage.MemoryBytes + w.code.maps.held())
	elapsed, used := now.Sub(w.watch.seen), usage.CPU-w.watch.cpu
	first := w.watch.seen.IsZero()
	w.watch.seen, w.watch.cpu = now, usage.CPU
	w.watch.busy = !first && used.Seconds() >= suspectCPU*elapsed.Seconds()
	// StartTimeout bounds what it computes before it is ready.
	if !w.watch.busy && usage.CPU-w.watch.shown < suspectTime || !w.ready() {
		return
	}
	if w.watch.probing != nil {
		select {
		case <-w.watch.probing:
		default:
			return
		}
	}
	probing := make(chan struct{})
	w.watch.probing, w.watch.shown = probing, usage.CPU
	h.tasks.Go(func() {
		defer close(probing)
		h.probe(ctx, w)
	})
}

// yield has a worker give way to others, or no longer.
func (h *Host) yield(w *worker, yield bool) {
	if w.yields.Swap(yield) == yield {
		return
	}
	if err := w.service.Yield(yield); err != nil {
		h.log.WithError(err).WithField("release", w.release.ID).Warn("A worker's share of the processors was not set")
	}
}

// probe asks a worker for a sign that its event loop turns, and ends the worker
// when none comes: after CPUTimeout when it has computed for a good part of that,
// later when others kept the processors from it.
func (h *Host) probe(ctx context.Context, w *worker) {
	began := h.now()
	before, err := w.service.Usage()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, silentFor)
	defer cancel()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		h.askHealth(ctx, w)
	}()
	timer := time.NewTimer(h.limits.CPUTimeout)
	defer timer.Stop()
	suspect := time.NewTimer(suspectAfter)
	defer suspect.Stop()
	for {
		select {
		case <-answered:
			h.yield(w, false)
			return
		case <-w.done:
			return
		case <-suspect.C:
			// Whatever it computes, others need not wait for it.
			h.yield(w, true)
			continue
		case <-timer.C:
		}
		silent := h.now().Sub(began)
		now, err := w.service.Usage()
		switch {
		case err != nil:
			return
		case now.CPU-before.CPU >= h.limits.CPUTimeout/3:
			h.counts.spun.Add(1)
			h.kill(w, ending{outcome: outcomeCPU, message: fmt.Sprintf("it computed for %.1f s without answering", silent.Seconds())})
			return
		case silent >= silentFor-time.Second:
			h.kill(w, ending{outcome: outcomeUnknown, message: fmt.Sprintf("it did not answer anything for %.0f s", silent.Seconds())})
			return
		}
		timer.Reset(watchEvery)
	}
}

// askHealth returns when the worker's event loop has turned, or the context or
// the process has ended.
func (h *Host) askHealth(ctx context.Context, w *worker) {
	conn, err := h.sockets.dial(ctx, w.name+"-health")
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write([]byte("HEAD / HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n")); err != nil {
		return
	}
	_, _ = conn.Read(make([]byte, 1))
}
