package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// park makes a dead letter of the deployment: everything it holds is given back
// except its source, its outputs so far and its quota, and it waits for
// somebody to decide. It returns OutcomeNone when the deployment goes on, at the
// step that failed, and else what it came to.
func (d *deployment) park(ctx workflow.Context, f *failure) models.Outcome {
	input := d.input
	input.Parking = true
	if err := d.cleanup(ctx, table.giveBack, input); err != nil {
		d.say(ctx, "Not everything it held could be given back; the host's sweeper does the rest.")
	}
	if d.canceled {
		return d.stopped(ctx)
	}
	d.bury(ctx)
	switch d.awaitDecision(ctx) {
	case models.SignalRetry:
		d.lostHosts = 0
		return models.OutcomeNone
	case models.SignalAbandon:
		return models.OutcomeAbandoned
	default:
		return d.stopped(ctx)
	}
}

// stopped is the way from a dead letter to its being canceled.
func (d *deployment) stopped(ctx workflow.Context) models.Outcome {
	d.halt(ctx, d.CurrentStep, d.canceledBy)
	return models.OutcomeCanceled
}

// awaitDecision waits, parked, for retry, abandon or cancel, and abandons after
// the park timeout. Signals sent before it was parked are dropped first: an
// early or a second retry must not fire at a failure its sender has not seen.
func (d *deployment) awaitDecision(ctx workflow.Context) string {
	decisions := workflow.NewSelector(ctx)
	for _, name := range []string{models.SignalRetry, models.SignalAbandon} {
		channel := workflow.GetSignalChannel(ctx, name)
		for channel.ReceiveAsync(nil) {
		}
		decisions.AddReceive(channel, func(c workflow.ReceiveChannel, _ bool) {
			d.act(ctx, name, receiveAction(ctx, c))
		})
	}
	d.open(ctx)
	decisions.AddFuture(d.decision, func(workflow.Future) {})
	decisions.AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {
		d.act(ctx, models.SignalCancel, models.OperatorAction{})
		d.unpark(models.SignalCancel)
	})
	if patience := d.input.Deployment.ParkTimeout; patience > 0 {
		timer, stop := workflow.WithCancel(ctx)
		defer stop()
		expiry := workflow.NewTimerWithOptions(timer, patience, workflow.TimerOptions{Summary: "parked"})
		decisions.AddFuture(expiry, func(f workflow.Future) {
			if f.Get(ctx, nil) == nil {
				d.act(ctx, models.SignalAbandon, models.OperatorAction{Reason: fmt.Sprintf("nobody decided within %s", patience)})
			}
		})
	}
	var decision string
	for !d.decision.IsReady() {
		decisions.Select(ctx)
	}
	_ = d.decision.Get(ctx, &decision)
	return decision
}
