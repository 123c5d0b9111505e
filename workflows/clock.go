package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// activeClock bounds the time a deployment spends working. It stands still
// while the deployment waits for a build slot and while it is parked. It is a
// timer inside the workflow and not Temporal's execution timeout, so that
// cleanup always runs.
type activeClock struct {
	// limit is what an operator's retry starts with again; 0 is no limit.
	limit time.Duration
	left  time.Duration
	// expired says that the time was up; what fails after that failed for it.
	expired bool

	since  time.Time
	stop   workflow.CancelFunc // stops the running timer; nil while paused
	expire workflow.CancelFunc // cancels the work
}

func newActiveClock(limit time.Duration) activeClock {
	return activeClock{limit: limit, left: limit}
}

// reset gives the whole time again.
func (c *activeClock) reset() { c.left, c.expired = c.limit, false }

// start lets the time run, and returns the context of the work it bounds.
func (c *activeClock) start(ctx workflow.Context) workflow.Context {
	ctx, c.expire = workflow.WithCancel(ctx)
	c.expired = false
	c.resume(ctx)
	return ctx
}

// resume lets the time run on.
func (c *activeClock) resume(ctx workflow.Context) {
	if c.limit == 0 || c.stop != nil {
		return
	}
	c.since = workflow.Now(ctx)
	ctx, c.stop = workflow.WithCancel(ctx)
	timer := workflow.NewTimerWithOptions(ctx, c.left, workflow.TimerOptions{Summary: "active time"})
	workflow.Go(ctx, func(ctx workflow.Context) {
		if timer.Get(ctx, nil) == nil {
			c.expired = true
			c.expire()
		}
	})
}

// pause stops the time. Doing so twice is harmless.
func (c *activeClock) pause(ctx workflow.Context) {
	if c.stop == nil {
		return
	}
	c.stop()
	c.stop = nil
	c.left -= workflow.Now(ctx).Sub(c.since)
}
