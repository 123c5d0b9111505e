package edge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
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
}

// Run stops idle workers, keeps within the limits and watches for workers that
// do not let go of the processor, until the context ends. It returns nil.
func (h *Host) Run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for round := 0; ; round++ {
		h.clock.Store(h.now().UnixNano())
		h.watchWorkers(ctx, round%idleEvery == 0)
		if round%idleEvery == 0 {
			h.retireWorkers()
		}
		if round%(idleEvery*600) == idleEvery*600-1 {
			h.forget()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
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
	w.memory.Store(usage.MemoryBytes)
	elapsed, used := now.Sub(w.watch.seen), usage.CPU-w.watch.cpu
	first := w.watch.seen.IsZero()
	w.watch.seen, w.watch.cpu = now, usage.CPU
	// StartTimeout bounds what it computes before it is ready.
	if first || !w.ready() || used.Seconds() < suspectCPU*elapsed.Seconds() {
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
	w.watch.probing = probing
	h.tasks.Go(func() {
		defer close(probing)
		h.probe(ctx, w)
	})
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
	for {
		select {
		case <-answered:
			return
		case <-w.done:
			return
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

// retireWorkers stops what is idle for too long, and what memory is short for.
func (h *Host) retireWorkers() {
	now := h.now()
	h.running.Range(func(_, value any) bool {
		w := value.(*worker)
		limit := h.limits.IdleTimeout
		if w.superseded.Load() {
			limit = min(limit, h.limits.DrainTimeout)
		}
		if w.leases.Load() == 0 && now.Sub(w.idleSince()) >= limit && h.retireIdle(w, endedIdle) {
			h.counts.idled.Add(1)
		}
		return true
	})
	h.mu.Lock()
	for {
		_, bytes := h.occupied()
		victim := h.leastRecentlyUsed()
		if bytes <= h.limits.MemoryBytes || victim == nil {
			break
		}
		if h.retireIdle(victim, endedForRoom) {
			h.counts.evicted.Add(1)
		}
	}
	journals := slices.Collect(maps.Values(h.journals))
	h.mu.Unlock()
	for _, j := range journals {
		j.tellDropped()
	}
}

// forget drops what is remembered of releases that nobody asked for lately.
func (h *Host) forget() {
	now := h.now()
	h.mu.Lock()
	folders := map[string]bool{}
	ids := map[string]bool{}
	for w := range h.live {
		folders[w.code.folder], ids[w.release.ID] = true, true
	}
	for id := range h.starting {
		ids[id] = true
	}
	for id, f := range h.faults {
		if now.Sub(f.until) > faultKept {
			delete(h.faults, id)
		}
	}
	for id, k := range h.known {
		if !ids[id] && now.Sub(k.used) > codeKept {
			delete(h.known, id)
		}
	}
	for id, j := range h.journals {
		if !ids[id] && now.Sub(j.lastLine()) > journalKept {
			delete(h.journals, id)
		}
	}
	starting := len(h.starting) > 0
	h.mu.Unlock()
	if !starting {
		h.code.clear(now, func(folder string) bool { return folders[folder] })
	}
}

// Close stops every worker in order, each within DrainTimeout, or at once when
// the context ends, and gives up the host's folder.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		for w := range h.live {
			h.closeWorker(w, endedInOrder)
		}
	}
	h.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		h.tasks.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = context.Cause(ctx)
		for _, w := range h.workers() {
			h.kill(w, endedInOrder)
		}
		h.end()
		<-gone
	}
	h.end()
	h.giveFolder()
	h.log.WithFields(logrus.Fields{"starts": h.counts.starts.Load()}).Debug("Edge host closed")
	return err
}
