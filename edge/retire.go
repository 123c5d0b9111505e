package edge

import (
	"context"
	"fmt"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// The outcomes of requests and of workers, in workerd's words.
const (
	outcomeOK        = "ok"
	outcomeException = "exception"
	outcomeCanceled  = "canceled"
	outcomeCPU       = "exceededCpu"
	outcomeMemory    = "exceededMemory"
	outcomeUnknown   = "unknown"
	// outcomeStopped is a worker that the host stopped in order.
	outcomeStopped = "stopped"
)

// ending is how a worker ended: the message completes "it ended: …".
type ending struct {
	outcome, message string
	// quiet endings are told elsewhere and not logged.
	quiet bool
}

var (
	endedIdle    = ending{outcome: outcomeStopped, message: "it was idle"}
	endedBusy    = ending{outcome: outcomeStopped, message: "it went on computing long after its last answer"}
	endedForRoom = ending{outcome: outcomeStopped, message: "it was idle and others needed the room"}
	endedInOrder = ending{outcome: outcomeStopped, message: "this machine stops serving"}
	endedMoved   = ending{outcome: outcomeStopped, message: "its project moved to another organization"}
	endedGreedy  = ending{outcome: outcomeMemory, message: "the organization's workers used more than their share of this machine's memory, and it most of them"}
)

// newWorkerBytes is what a worker is counted with until it was measured.
const newWorkerBytes = 24 << 20

// room is what workers take, or may.
type room struct {
	count int
	bytes int64
}

// fits says whether one more worker fits into what there may be.
func (r room) fits(most room) bool {
	return r.count < most.count && r.bytes+newWorkerBytes <= most.bytes
}

// share is what the workers of one organization may take of the machine, so that
// there is room for others whatever it does; at least one worker.
func (h *Host) share() room {
	part := h.limits.OrganizationShare
	if part <= 0 || part > 1 {
		part = 1
	}
	return room{
		count: max(1, int(part*float64(h.limits.MaxWorkers))),
		bytes: max(newWorkerBytes, int64(part*float64(h.limits.MemoryBytes))),
	}
}

// makeRoom retires the least recently used idle workers until one more of the
// organization fits, and gives them: their processes are still to end. An
// organization that has its share gives way itself. CodeWorkerBusy when all that
// is left is in use. The caller holds mu.
func (h *Host) makeRoom(organizationID string) (victims []*worker, err error) {
	share := h.share()
	for {
		all, organizations := h.occupied()
		own := organizations[organizationID]
		var victim *worker
		switch {
		case !own.fits(share):
			if victim = h.leastRecentlyUsed(organizationID); victim == nil {
				return nil, busy(2*time.Second, "All %d workers that the organization may run on this machine are in use.", own.count)
			}
		case !all.fits(room{h.limits.MaxWorkers, h.limits.MemoryBytes}):
			if victim = h.leastRecentlyUsed(""); victim == nil {
				return nil, busy(2*time.Second, "All %d workers on this machine are in use.", all.count)
			}
		default:
			return victims, nil
		}
		if h.retireIdle(victim, endedForRoom) {
			h.counts.evicted.Add(1)
			victims = append(victims, victim)
		}
	}
}

// occupied counts the workers there are and will be, all and by organization. One
// that was retired is near its end and no longer counted. The caller holds mu.
func (h *Host) occupied() (all room, organizations map[string]room) {
	organizations = map[string]room{}
	add := func(organizationID string, bytes int64) {
		own := organizations[organizationID]
		organizations[organizationID] = room{own.count + 1, own.bytes + bytes}
		all = room{all.count + 1, all.bytes + bytes}
	}
	for _, s := range h.starting {
		add(s.organizationID, newWorkerBytes)
	}
	for w := range h.live {
		if w.published && w.fate.Load() == nil {
			add(w.release.OrganizationID, max(w.memory.Load(), newWorkerBytes/2))
		}
	}
	return all, organizations
}

// leastRecentlyUsed is an idle worker, of one organization or with "" of any; nil
// for none.
func (h *Host) leastRecentlyUsed(organizationID string) (oldest *worker) {
	h.running.Range(func(_, value any) bool {
		w := value.(*worker)
		if w.leases.Load() != 0 || organizationID != "" && w.release.OrganizationID != organizationID {
			return true
		}
		if oldest == nil || w.retiresBefore(oldest) {
			oldest = w
		}
		return true
	})
	return oldest
}

// greediest is the largest worker, in use or not, of the organization that is
// furthest over its share of the memory; nil when none is over. The caller holds mu.
func (h *Host) greediest() (largest *worker) {
	_, organizations := h.occupied()
	share, greedy := h.share().bytes, ""
	for id, own := range organizations {
		if own.bytes > share && (greedy == "" || own.bytes > organizations[greedy].bytes) {
			greedy = id
		}
	}
	for w := range h.live {
		if greedy == "" || w.release.OrganizationID != greedy || !w.published || w.fate.Load() != nil {
			continue
		}
		if largest == nil || w.memory.Load() > largest.memory.Load() {
			largest = w
		}
	}
	return largest
}

// retiresBefore orders idle workers: superseded ones go first.
func (w *worker) retiresBefore(other *worker) bool {
	if mine, theirs := w.superseded.Load(), other.superseded.Load(); mine != theirs {
		return mine
	}
	return w.lastUsed.Load() < other.lastUsed.Load()
}

// retireIdle ends a worker that has no lease; false when it has. There is nobody
// to wait for: what it does after its last answer (waitUntil) had its time, or
// must make room.
func (h *Host) retireIdle(w *worker, why ending) bool {
	if !w.closeIdle() {
		return false
	}
	h.running.CompareAndDelete(w.release.ID, w)
	h.kill(w, why)
	return true
}

// closeWorker ends a worker in order: no new leases, the open ones end within
// DrainTimeout, and what it does after its last answer has that long too. The
// caller holds mu.
func (h *Host) closeWorker(w *worker, why ending) {
	w.close()
	h.running.CompareAndDelete(w.release.ID, w)
	h.tasks.Go(func() { h.drain(w, why) })
}

// drain waits for the leases, then for what the worker does after its last answer.
func (h *Host) drain(w *worker, why ending) {
	timer := time.NewTimer(h.limits.DrainTimeout)
	defer timer.Stop()
	select {
	case <-w.drained:
		h.awaitQuiet(w, timer.C)
	case <-timer.C:
	case <-w.done:
		return
	}
	h.kill(w, why)
}

// quietFor is how long a worker without leases must have done nothing until
// nothing more is expected of it.
const quietFor = 2 * time.Second

// awaitQuiet waits for waitUntil work. workerd tells nothing about it, but work
// either computes or waits for something outside, and the way outside is ours.
func (h *Host) awaitQuiet(w *worker, deadline <-chan time.Time) {
	tick := time.NewTicker(quietFor / 10)
	defer tick.Stop()
	before, err := w.service.Usage()
	for since := w.idleSince(); err == nil && h.now().Sub(since) < quietFor; {
		select {
		case <-tick.C:
		case <-deadline:
			return
		case <-w.done:
			return
		}
		var usage sandbox.Usage
		usage, err = w.service.Usage()
		if w.ends.active.Load() > 0 || usage.CPU-before.CPU > time.Millisecond {
			since = h.now()
		}
		before = usage
	}
}

// kill ends a worker at once, for a reason; the first reason stays.
func (h *Host) kill(w *worker, why ending) {
	if !w.fate.CompareAndSwap(nil, &why) {
		return
	}
	w.close()
	h.running.CompareAndDelete(w.release.ID, w)
	if err := w.service.Kill(); err != nil {
		h.log.WithError(err).WithField("release", w.release.ID).Error("Worker cannot be killed")
	}
}

// attend waits for a worker's end and clears up after it.
func (h *Host) attend(w *worker) {
	<-w.service.Done()
	w.ended = w.judge()
	w.close()
	h.running.CompareAndDelete(w.release.ID, w)
	w.removeSockets()
	w.ends.close()
	w.client.Close()

	h.mu.Lock()
	delete(h.live, w)
	started := w.ready() && !w.examined
	if started && w.ended.outcome != outcomeStopped {
		h.fault(w.release.ID).crashed(h.now(), w.started, w.ended)
		h.counts.crashed(w.ended.outcome)
	}
	h.mu.Unlock()
	if started && !w.ended.quiet {
		level, verb := "info", "worker stopped: "
		if w.ended.outcome != outcomeStopped {
			level, verb = "error", "worker ended: "
			h.log.WithFields(map[string]any{
				"release": w.release.ID, "project": w.release.ProjectID, "outcome": w.ended.outcome,
			}).Warn("Worker ended: " + w.ended.message)
		}
		w.journal.system(level, verb+w.ended.message)
	}
	close(w.done)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.lifetime), 30*time.Second)
	defer cancel()
	if err := w.service.Destroy(ctx); err != nil {
		h.log.WithError(err).WithField("sandbox", w.service.ID()).Error("Worker's sandbox left for the sweeper")
	}
}

// ready says whether the process has taken, or will take, requests.
func (w *worker) ready() bool {
	select {
	case <-w.listening:
		return true
	default:
		return false
	}
}

func (w *worker) removeSockets() {
	w.host.sockets.remove(w.name + "-http")
	w.host.sockets.remove(w.name + "-health")
}

// judge says how the process ended.
func (w *worker) judge() ending {
	if fate := w.fate.Load(); fate != nil {
		return *fate
	}
	exit := w.service.Exit()
	switch {
	case w.output.outOfHeap():
		return ending{outcome: outcomeMemory, message: fmt.Sprintf("it used more than its %d MiB of JavaScript heap", w.host.limits.WorkerHeapBytes>>20)}
	case exit.OOMKilled:
		return ending{outcome: outcomeMemory, message: fmt.Sprintf("it used more than its %d MiB of memory", w.host.limits.WorkerMemoryBytes>>20)}
	}
	return ending{outcome: outcomeUnknown, message: fmt.Sprintf("its process ended by itself with code %d", exit.Code)}
}

// startFailure is the error of a worker whose process ended before it listened.
func (w *worker) startFailure() error {
	if w.ended.outcome == outcomeStopped {
		return busy(time.Second, "The worker was stopped while it started.")
	}
	message, stack := w.output.startError()
	message, stack = w.journal.mask(message), w.journal.mask(stack)
	switch {
	case w.ended.outcome != outcomeUnknown:
		message = w.ended.message
	case message == "":
		message = w.ended.message
	}
	w.journal.add(LogLine{Kind: models.LogSystem, Level: "error", Message: "worker did not start: " + message, Stack: stack})
	return models.Errorf(models.CodeWorkerStart, "The worker did not start: %s.", message).WithDetails(StartError{Stack: stack})
}

// StartError is the Details of a CodeWorkerStart.
type StartError struct {
	// Stack is that of the exception, source-mapped, one frame a line.
	Stack string `json:"stack,omitempty"`
}

// startTimeout is the error of a worker that did not listen in time. One that
// computed for a tenth of it is at fault itself: others need far less.
func (w *worker) startTimeout(limit, computed time.Duration) error {
	if w.host.lifetime.Err() != nil {
		return busy(5*time.Second, "The edge host is being stopped.")
	}
	message := fmt.Sprintf("it was not ready after %s", limit)
	w.journal.system("error", "worker did not start: "+message)
	if computed > limit/10 {
		return models.Errorf(models.CodeWorkerStart, "The worker did not start: %s of computing.", message)
	}
	return busy(2*time.Second, "The worker did not start: %s.", message)
}
