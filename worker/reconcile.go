package worker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sirupsen/logrus"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/workflows"
)

const (
	// startGrace is how long the gateway has to start the workflow it wrote a
	// row for.
	startGrace = 5 * time.Second
	// quietFor is how long a row may be unchanged before its workflow is asked.
	quietFor = 30 * time.Second
	batch    = 100
)

// reconciler brings rows and workflows together again after a crash, or after
// somebody ended a workflow from outside. Several may run at once: starting is
// idempotent by workflow id, and a settled row is not settled again.
type reconciler struct{ Options }

func (r *reconciler) reconcile(ctx context.Context) error {
	return errors.Join(r.startUnstarted(ctx), r.settleEnded(ctx), r.startDomains(ctx), r.checkDomains(ctx), r.startRollouts(ctx), r.settleRollouts(ctx), r.startDeliveries(ctx))
}

// startUnstarted starts the workflows of rows that a crash left without one.
func (r *reconciler) startUnstarted(ctx context.Context) error {
	rows, err := r.Store.Unstarted(ctx, startGrace, batch)
	if err != nil {
		return err
	}
	for _, d := range rows {
		runID, err := workflows.Start(ctx, r.Temporal, d, r.Queue)
		if err != nil {
			return err
		}
		if err := r.Store.MarkStarted(ctx, d.ID, runID); err != nil {
			return err
		}
		r.Log.WithField("deploymentId", d.ID).Info("started the workflow of a deployment that had none")
	}
	return nil
}

// settleEnded ends the rows of deployments whose workflow is over but did not
// say so: it was terminated, or its last record was lost.
func (r *reconciler) settleEnded(ctx context.Context) error {
	rows, err := r.Store.Unfinished(ctx, quietFor, batch)
	if err != nil {
		return err
	}
	for _, d := range rows {
		answer, err := r.Temporal.DescribeWorkflowExecution(ctx, d.ID, "")
		var gone *serviceerror.NotFound
		switch {
		case errors.As(err, &gone):
			// The namespace lost it: run it again from the start.
			if err := r.Store.MarkStarted(ctx, d.ID, ""); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		status := answer.GetWorkflowExecutionInfo().GetStatus()
		if status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING || status == enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
			if err := r.Store.Touch(ctx, d.ID); err != nil {
				return err
			}
			continue
		}
		if err := r.settle(ctx, d, status); err != nil {
			return err
		}
	}
	return nil
}

func (r *reconciler) settle(ctx context.Context, d models.Deployment, ended enums.WorkflowExecutionStatus) error {
	final, said := r.lastStatus(ctx, d.ID)
	if !said {
		var err error
		if final, err = d.RecordedStatus(); err != nil {
			return err
		}
		final.Outcome = models.OutcomeAbandoned
		if ended == enums.WORKFLOW_EXECUTION_STATUS_CANCELED {
			final.Outcome = models.OutcomeCanceled
		}
		final.Status = final.Outcome.Status()
		final.Error = "The workflow was ended from outside (" + ended.String() + ")."
		final.Version++
		final.Progress = models.ProgressDone
		final.Timestamp = time.Now().UTC()
		if step := final.Steps.Of(final.CurrentStep); step != nil && step.Status == models.StepInProgress {
			step.Status, step.Error = models.StepFailed, final.Error
		}
	}
	var input models.DeploymentInput
	if err := json.Unmarshal(d.Input, &input); err != nil {
		return err
	}
	input.Sequence = d.Sequence
	if err := r.Activities.Cleanup(ctx, models.StepInput{Deployment: input, Outcome: final.Outcome}); err != nil {
		return err
	}
	if err := r.Store.RecordStatus(ctx, final); err != nil {
		return err
	}
	r.Log.WithFields(logrus.Fields{"deploymentId": d.ID, "outcome": final.Outcome}).Warn("settled a deployment whose workflow had ended")
	return nil
}

// lastStatus is what the workflow said at its end, however it closed; ok is
// false when it was ended from outside and said nothing.
func (r *reconciler) lastStatus(ctx context.Context, id string) (final models.Status, ok bool) {
	err := r.Temporal.GetWorkflow(ctx, id, "").Get(ctx, &final)
	var failed *temporal.ApplicationError
	var canceled *temporal.CanceledError
	switch {
	case errors.As(err, &failed) && failed.HasDetails():
		err = failed.Details(&final)
	case errors.As(err, &canceled) && canceled.HasDetails():
		err = canceled.Details(&final)
	}
	return final, err == nil && final.Outcome.Final()
}
