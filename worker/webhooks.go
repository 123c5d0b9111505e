package worker

import (
	"context"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/workflows"
)

const (
	// outboxPoll is how long an event waits at most when its announcement is lost.
	outboxPoll = 5 * time.Second
	// listenAgain is the pause before listening again.
	listenAgain = time.Second
	// lostAfter is how long past its time a delivery may be before its workflow is
	// started again.
	lostAfter = 10 * time.Minute
	// sweepDeliveriesEvery is how often old deliveries are removed, sweepBatch at a
	// time.
	sweepDeliveriesEvery = 10 * time.Minute
	sweepBatch           = 1000
	// webhooksAtOnce bounds the receivers that are waited for at a time.
	webhooksAtOnce = 200
)

// courier takes events out of the outbox and starts their deliveries. Several may
// run at once: each takes other events.
type courier struct{ Options }

// run takes events as they are announced, until ctx ends.
func (c *courier) run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	ring := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for ctx.Err() == nil {
			// The poll goes on while nothing is heard.
			_ = c.Store.Listen(ctx, models.OutboxChannel, ring, func(string) { ring() })
			select {
			case <-ctx.Done():
			case <-time.After(listenAgain):
			}
		}
	}()
	defer func() { <-listening }()
	poll := time.NewTicker(outboxPoll)
	defer poll.Stop()
	for {
		if err := c.deliver(ctx); err != nil && ctx.Err() == nil {
			c.Log.WithError(err).Warn("events not taken to webhooks; trying again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-poll.C:
		}
	}
}

// deliver empties the outbox. A delivery that cannot be started now, or that a
// crash leaves unstarted, is started by the reconciler.
func (c *courier) deliver(ctx context.Context) error {
	for {
		taken, deliveries, err := c.Store.FanOut(ctx, batch)
		if err != nil {
			return err
		}
		for _, d := range deliveries {
			if err := c.start(ctx, d); err != nil {
				return err
			}
		}
		if taken < batch {
			return nil
		}
	}
}

func (c *courier) start(ctx context.Context, d models.Delivery) error {
	runID, err := workflows.StartDelivery(ctx, c.Temporal, d, c.Queue)
	if err != nil {
		return err
	}
	return c.Store.MarkDeliveryStarted(ctx, d.ID, runID)
}

// startDeliveries starts those that a crash left without a workflow, and those
// whose workflow was ended from outside.
func (r *reconciler) startDeliveries(ctx context.Context) error {
	rows, err := r.Store.UnstartedDeliveries(ctx, startGrace, lostAfter, batch)
	if err != nil {
		return err
	}
	for _, d := range rows {
		if err := (&courier{r.Options}).start(ctx, d); err != nil {
			return err
		}
		r.Log.WithField("delivery", d.ID).Info("started the workflow of a delivery that had none")
	}
	return nil
}

// sweepDeliveries removes old deliveries and events.
func (c *courier) sweepDeliveries(ctx context.Context) error {
	for {
		n, err := c.Store.SweepDeliveries(ctx, sweepBatch)
		if err != nil || n < sweepBatch {
			return err
		}
	}
}
