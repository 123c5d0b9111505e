package worker

import (
	"context"
	"encoding/json"
	"errors"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/workflows"
)

// startRollouts starts the workflows of rollouts that a crash left without one.
func (r *reconciler) startRollouts(ctx context.Context) error {
	rows, err := r.Store.UnstartedRollouts(ctx, startGrace, batch)
	if err != nil {
		return err
	}
	for _, row := range rows {
		runID, err := workflows.StartRollout(ctx, r.Temporal, row, r.Queue)
		if err != nil {
			return err
		}
		if err := r.Store.MarkRolloutStarted(ctx, row.ID, runID); err != nil {
			return err
		}
		r.Log.WithField("rollout", row.ID).Info("started the workflow of a rollout that had none")
	}
	return nil
}

// settleRollouts ends the rows of rollouts whose workflow was ended from outside,
// and gives their visitors back to the live release.
func (r *reconciler) settleRollouts(ctx context.Context) error {
	rows, err := r.Store.QuietRollouts(ctx, quietFor, batch)
	if err != nil {
		return err
	}
	for _, row := range rows {
		running, err := r.runs(ctx, row.ID)
		switch {
		case err != nil:
			return err
		case running:
			err = r.Store.TouchRollout(ctx, row.ID)
		default:
			err = r.settleRollout(ctx, row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reconciler) settleRollout(ctx context.Context, row models.Rollout) error {
	var in models.RolloutInput
	if err := json.Unmarshal(row.Input, &in); err != nil {
		return err
	}
	if _, err := r.Store.WeighRollout(ctx, in, 0); err != nil {
		return err
	}
	r.Log.WithField("rollout", row.ID).Warn("settled a rollout whose workflow had ended")
	return r.Store.EndRollout(ctx, row.ID, models.RolloutCanceled, "Its workflow was ended from outside.")
}

// runs says whether the workflow with that id is running.
func (r *reconciler) runs(ctx context.Context, id string) (bool, error) {
	answer, err := r.Temporal.DescribeWorkflowExecution(ctx, id, "")
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return false, nil
	}
	return answer.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, err
}
