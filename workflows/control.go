package workflows

import (
	"fmt"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// control is how people reach into a deployment.
type control struct {
	// parked says that retry and abandon are welcome.
	parked bool
	// decision is ready, with the name of what was chosen, when parking ends.
	decision workflow.Future
	settle   workflow.Settable
	// canceled says that somebody stopped it, canceledBy who.
	canceled   bool
	canceledBy string
	// decided is the outcome once nothing can change it any more.
	decided models.Outcome
}

// listen answers the query status and accepts, as a signal and as an Update of
// the same name,
//
//   - retry: goes on at the failed step; only while parked,
//   - abandon: gives a parked deployment up; only while parked,
//   - cancel: stops it, until its outcome is certain.
//
// An Update that comes at the wrong time is refused with CodeNotParked or
// CodeNotRunning as the error's type, and returns the status it led to. A
// signal that comes at the wrong time is dropped. Temporal's own cancellation
// means cancel.
func (d *deployment) listen(ctx workflow.Context) error {
	query := workflow.QueryHandlerOptions{Description: "The whole status, as GET /deploy-status answers it."}
	err := workflow.SetQueryHandlerWithOptions(ctx, models.QueryStatus, func() (models.Status, error) { return d.Status, nil }, query)
	if err != nil {
		return err
	}
	for _, action := range []struct{ name, description string }{
		{models.SignalRetry, "Go on at the failed step. Only while parked."},
		{models.SignalAbandon, "Give a parked deployment up. Only while parked."},
		{models.SignalCancel, "Stop the deployment and clean up."},
	} {
		workflow.GetSignalChannelWithOptions(ctx, action.name, workflow.SignalChannelOptions{Description: action.description})
		handle := func(ctx workflow.Context, by models.OperatorAction) (models.Status, error) {
			d.act(ctx, action.name, by)
			return d.Status, nil
		}
		err := workflow.SetUpdateHandlerWithOptions(ctx, action.name, handle, workflow.UpdateHandlerOptions{
			Description: action.description,
			Validator:   func(_ workflow.Context, _ models.OperatorAction) error { return d.refusal(action.name) },
		})
		if err != nil {
			return err
		}
	}
	workflow.Go(ctx, d.listenForCancel)
	return nil
}

// listenForCancel waits for the first cancel, by signal or by Temporal.
func (d *deployment) listenForCancel(ctx workflow.Context) {
	workflow.NewSelector(ctx).
		AddReceive(workflow.GetSignalChannel(ctx, models.SignalCancel), func(c workflow.ReceiveChannel, _ bool) {
			d.act(ctx, models.SignalCancel, receiveAction(ctx, c))
		}).
		AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {
			d.act(ctx, models.SignalCancel, models.OperatorAction{})
		}).
		Select(ctx)
}

// open begins the time in which retry and abandon are welcome.
func (d *deployment) open(ctx workflow.Context) {
	d.parked = true
	d.decision, d.settle = workflow.NewFuture(ctx)
}

// refusal says why an action makes no sense now; nil when it does.
func (d *deployment) refusal(action string) error {
	if action != models.SignalCancel && !d.parked {
		return temporal.NewNonRetryableApplicationError("Only a parked deployment can be retried or abandoned.", string(models.CodeNotParked), nil)
	}
	if d.decided != models.OutcomeNone {
		return temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("The deployment has already come to its end (%s).", d.decided), string(models.CodeNotRunning), nil)
	}
	return nil
}

// act carries an action out, wherever it came from; one that makes no sense now
// changes nothing. The status shows it before anything else happens.
func (d *deployment) act(ctx workflow.Context, action string, by models.OperatorAction) {
	if d.refusal(action) != nil || d.canceled {
		return
	}
	switch action {
	case models.SignalRetry:
		d.revive(ctx, attribution("Retried", by))
	case models.SignalAbandon:
		d.say(ctx, attribution("Abandoned", by))
	case models.SignalCancel:
		d.canceled, d.canceledBy = true, attribution("Canceled", by)
		d.say(ctx, attribution("Canceling, as asked", by))
		d.stop()
	}
	d.unpark(action)
}

// unpark ends the time in which retry and abandon are welcome, if it is open.
func (d *deployment) unpark(action string) {
	if d.parked {
		d.parked = false
		d.settle.Set(action, nil)
	}
}

// attribution is what was done, by whom and why: "Retried by usr_1: disk full."
func attribution(what string, by models.OperatorAction) string {
	if by.By != "" {
		what += " by " + by.By
	}
	if by.Reason != "" {
		what += ": " + by.Reason
	}
	return what + "."
}

// receiveAction takes a signal whose argument an operator may have typed by
// hand: an action, a bare name, or nothing. Whatever it is, the signal counts.
func receiveAction(ctx workflow.Context, channel workflow.ReceiveChannel) models.OperatorAction {
	var raw converter.RawValue
	channel.Receive(ctx, &raw)
	var action models.OperatorAction
	if raw.Payload() == nil {
		return action
	}
	convert := converter.GetDefaultDataConverter()
	if convert.FromPayload(raw.Payload(), &action) != nil {
		action = models.OperatorAction{}
		_ = convert.FromPayload(raw.Payload(), &action.By)
	}
	return action
}
