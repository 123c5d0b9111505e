package edge

import (
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// firstBackoff is the wait after a second crash in a row or a first failed
	// start; it doubles up to maxBackoff.
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// platformBackoff spares a failing platform one attempt per request.
	platformBackoff = 500 * time.Millisecond
	// soundAfter is how long a worker must have run for its earlier crashes to be
	// forgotten.
	soundAfter = time.Minute
	// faultKept is how long a fault is remembered after its wait.
	faultKept = 5 * time.Minute
)

// fault is what is remembered of a release's failures. Guarded by Host.mu.
type fault struct {
	count int
	until time.Time
	// err is what is answered meanwhile; nil says that it crashed.
	err  error
	last ending
}

// fault gives the fault of a release, made when there is none.
func (h *Host) fault(releaseID string) *fault {
	f := h.faults[releaseID]
	if f == nil {
		f = &fault{}
		h.faults[releaseID] = f
	}
	return f
}

// waiting is the error with which the wait is answered; nil when there is none.
func (f *fault) waiting(now time.Time) error {
	if f == nil || !now.Before(f.until) {
		return nil
	}
	if f.err != nil {
		return f.err
	}
	return busy(f.until.Sub(now), "The worker ended %d times in a row (%s) and is started again in a moment.", f.count, f.last.message)
}

// failedToStart remembers a start that failed. What is nobody's lasting fault is
// tried again soon.
func (f *fault) failedToStart(now time.Time, err error) {
	f.err = err
	if models.CodeOf(err) != models.CodeWorkerStart {
		f.until = now.Add(platformBackoff)
		return
	}
	f.count++
	f.until = now.Add(backoff(f.count))
}

// crashed remembers a crash. After the first, the worker is started again at the
// next request.
func (f *fault) crashed(now, started time.Time, how ending) {
	if now.Sub(started) >= soundAfter {
		f.count = 0
	}
	f.count++
	f.err, f.last = nil, how
	f.until = now
	if f.count > 1 {
		f.until = now.Add(backoff(f.count - 1))
	}
}

func backoff(n int) time.Duration {
	if n > 10 {
		return maxBackoff
	}
	return min(maxBackoff, firstBackoff<<(n-1))
}
