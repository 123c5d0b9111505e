package edge

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/upstream"
)

// worker is one process that runs a release, from its start to its end.
type worker struct {
	host    *Host
	release Release
	code    *code
	journal *journal
	output  *output
	client  *upstream.Client
	ends    *ends
	service sandbox.Service
	// yields says that it gives way to others, for its event loop stood still.
	yields atomic.Bool
	// name is the worker's own on this host, for its sandbox and its sockets.
	name    string
	started time.Time
	// published says that it was put into Host.running. Guarded by Host.mu.
	published bool

	// leases counts the open ones; closingMark is added to it when there shall be
	// no more.
	leases atomic.Int64
	// lastUsed is when a lease was last given back, in Unix nanoseconds, or the
	// start.
	lastUsed atomic.Int64
	requests atomic.Int64
	// examined says that it answers for what its release exports, and nobody visits it.
	examined bool
	// superseded says that a newer release of the project runs here.
	superseded atomic.Bool
	// memory is what its control group and its source maps held when last looked at.
	memory atomic.Int64

	watch watch

	// listening is closed when the process takes requests, drained when it is
	// closing and the last lease is back, done when the process has ended and
	// ended says how.
	listening chan struct{}
	drained   chan struct{}
	drainOnce sync.Once
	done      chan struct{}
	ended     ending
	// fate is why the host ended it; nil when it did not.
	fate atomic.Pointer[ending]
}

// closingMark makes leases negative whatever their number.
const closingMark = math.MinInt64 / 2

var errClosing = errors.New("the worker is being stopped")

// acquire takes a lease. errClosing, or CodeWorkerBusy at the limit.
func (w *worker) acquire() error {
	switch n := w.leases.Add(1); {
	case n <= 0:
		w.returned(w.leases.Add(-1))
		return errClosing
	case n > int64(w.host.limits.WorkerRequests):
		w.returned(w.leases.Add(-1))
		return busy(time.Second, "The worker is answering %d requests, as many as it may at once.", w.host.limits.WorkerRequests)
	}
	w.requests.Add(1)
	return nil
}

// giveBack returns a lease.
func (w *worker) giveBack() {
	w.lastUsed.Store(w.host.clock.Load())
	w.returned(w.leases.Add(-1))
}

func (w *worker) returned(n int64) {
	if n == closingMark {
		w.drainOnce.Do(func() { close(w.drained) })
	}
}

func (w *worker) closing() bool { return w.leases.Load() < 0 }

// open is how many leases are out.
func (w *worker) open() int64 {
	if n := w.leases.Load(); n >= 0 {
		return n
	} else {
		return n - closingMark
	}
}

// closeIdle closes the worker to new leases if none is out.
func (w *worker) closeIdle() bool {
	if !w.leases.CompareAndSwap(0, closingMark) {
		return false
	}
	w.returned(closingMark)
	return true
}

// close closes the worker to new leases. It may be called once closeIdle or
// close was, which does nothing.
func (w *worker) close() {
	for {
		n := w.leases.Load()
		if n < 0 {
			return
		}
		if w.leases.CompareAndSwap(n, n+closingMark) {
			w.returned(n + closingMark)
			return
		}
	}
}

func (w *worker) idleSince() time.Time { return time.Unix(0, w.lastUsed.Load()) }

// How long the end of a process is waited for after a request on it broke off:
// when nothing is known, and when it is being killed.
const (
	suspicion = 250 * time.Millisecond
	certainty = 3 * time.Second
)

// blame says what became of a request that failed with err.
func (w *worker) blame(err error) error {
	var failed *upstream.Error
	if errors.As(err, &failed) && failed.Stage == upstream.StageClient || errors.Is(err, context.Canceled) {
		return err
	}
	patience := suspicion
	if w.fate.Load() != nil {
		patience = certainty
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
		return err
	}
	if w.ended.outcome == outcomeStopped {
		return busy(time.Second, "The worker was stopped before it had answered; try again.")
	}
	return models.Wrap(models.CodeWorkerCrashed, err, "The worker ended before it had answered: "+w.ended.message+".").
		WithDetails(Ended{Outcome: w.ended.outcome})
}

// Ended is the Details of a CodeWorkerCrashed.
type Ended struct {
	// Outcome is exceededCpu, exceededMemory or unknown.
	Outcome string `json:"outcome"`
}

// settle is how long an exception may take from the worker's output to here.
const settle = 50 * time.Millisecond

// report writes a request's line. Whether the worker threw is not known at once,
// since its answer and its output come different ways.
func (w *worker) report(r Request) {
	if !w.journal.allowRequest() {
		return
	}
	now := w.host.now()
	line := LogLine{
		Time: now.UTC(), Kind: models.LogRequest, Level: "info", RequestID: r.ID, Method: r.Method, Path: r.Path,
		Status: r.Status, Outcome: requestOutcome(r.Err), DurationMS: float64(r.Duration.Microseconds()) / 1000,
	}
	if r.Status >= 500 || line.Outcome != outcomeOK && line.Outcome != outcomeCanceled {
		line.Level = "error"
	}
	if r.Err != nil || r.Status < 500 {
		w.journal.add(line)
		return
	}
	time.AfterFunc(settle, func() {
		if w.output.threwSince(now.Add(-r.Duration)) {
			line.Outcome = outcomeException
		}
		w.journal.add(line)
	})
}

func requestOutcome(err error) string {
	var crashed *models.Error
	switch {
	case err == nil:
		return outcomeOK
	case !errors.As(err, &crashed) || crashed.Code != models.CodeWorkerCrashed:
		return outcomeCanceled
	}
	if ended, ok := crashed.Details.(Ended); ok {
		return ended.Outcome
	}
	return outcomeUnknown
}
