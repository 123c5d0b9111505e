package edge

import (
	"context"
	"maps"
	"slices"
	"time"
)

// forgetEvery is the round on which what nobody asks for any more is forgotten.
const forgetEvery = idleEvery * 600

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
		if round%forgetEvery == forgetEvery-1 {
			h.forget()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// retireWorkers stops what is idle for too long, and what memory is short for.
func (h *Host) retireWorkers() {
	now := h.now()
	h.running.Range(func(_, value any) bool {
		w := value.(*worker)
		limit := h.limits.IdleTimeout
		why := endedIdle
		if w.superseded.Load() {
			limit = min(limit, h.limits.DrainTimeout)
		}
		// What it does after its last answer (waitUntil) has as long as it would have
		// before a stop; one request must not buy minutes of a processor.
		if w.watch.busy && h.limits.DrainTimeout < limit {
			limit, why = h.limits.DrainTimeout, endedBusy
		}
		if w.leases.Load() == 0 && now.Sub(w.idleSince()) >= limit && h.retireIdle(w, why) {
			h.counts.idled.Add(1)
		}
		return true
	})
	h.mu.Lock()
	h.keepWithinMemory()
	journals := slices.Collect(maps.Values(h.journals))
	h.mu.Unlock()
	for _, j := range journals {
		j.tellDropped()
	}
}

// keepWithinMemory ends workers while all together use more than they may: idle
// ones, and when there is none, the largest one of an organization that is over
// its share. The caller holds mu.
func (h *Host) keepWithinMemory() {
	for {
		all, _ := h.occupied()
		if all.bytes <= h.limits.MemoryBytes {
			return
		}
		if victim := h.leastRecentlyUsed(""); victim != nil {
			if h.retireIdle(victim, endedForRoom) {
				h.counts.evicted.Add(1)
			}
			continue
		}
		victim := h.greediest()
		if victim == nil {
			return
		}
		h.kill(victim, endedGreedy)
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
	h.mu.Unlock()
	h.code.clear(now, func(folder string) bool { return folders[folder] })
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
	return err
}
