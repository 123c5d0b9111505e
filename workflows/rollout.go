package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

const (
	// measureEvery is how often a rollout is looked at, at the longest; short
	// steps are looked at measuresPerStep times.
	measureEvery    = 30 * time.Second
	measuresPerStep = 5
	shortestMeasure = time.Second
)

// Rollout gives a release more and more of the visitors, watches how it does,
// and gives them back to the live one when it does worse, or when the signal
// cancel (or Temporal's own) asks for it. The query status tells how far it is.
func Rollout(ctx workflow.Context, in models.RolloutInput) (models.RolloutState, error) {
	r := &rollout{in: in, state: models.RolloutState{Status: models.RolloutRunning}}
	err := workflow.SetQueryHandler(ctx, models.QueryStatus, func() (models.RolloutState, error) { return r.state, nil })
	if err != nil {
		return r.state, err
	}
	end, err := r.run(ctx)
	if err != nil && !temporal.IsCanceledError(err) {
		return r.state, err
	}
	if err != nil {
		end = models.RolloutEnd{Status: models.RolloutCanceled, Reason: "It was canceled."}
	}
	// What is left to do must be done although the workflow may be canceled.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return r.state, r.end(ctx, end)
}

type rollout struct {
	in    models.RolloutInput
	state models.RolloutState
}

// run takes the steps and says how the rollout ends.
func (r *rollout) run(ctx workflow.Context) (models.RolloutEnd, error) {
	cancel := workflow.GetSignalChannel(ctx, models.SignalCancel)
	for _, percent := range r.in.Steps {
		superseded, err := r.weigh(ctx, percent)
		switch {
		case err != nil:
			return models.RolloutEnd{}, err
		case superseded:
			return supersededEnd(), nil
		case percent == 100:
			return models.RolloutEnd{Status: models.RolloutCompleted}, nil
		}
		end, over, err := r.watch(ctx, cancel)
		if over || err != nil {
			return end, err
		}
	}
	return models.RolloutEnd{}, temporal.NewNonRetryableApplicationError("The steps do not end with 100.", string(models.CodeValidation), nil)
}

func supersededEnd() models.RolloutEnd {
	return models.RolloutEnd{Status: models.RolloutSuperseded, Reason: "Something else went live meanwhile."}
}

// watch looks at the release for as long as a step lasts, and says whether the
// rollout is over.
func (r *rollout) watch(ctx workflow.Context, cancel workflow.ReceiveChannel) (end models.RolloutEnd, over bool, err error) {
	began := workflow.Now(ctx)
	wait := max(min(r.in.Every/measuresPerStep, measureEvery), shortestMeasure)
	for {
		left := r.in.Every - workflow.Now(ctx).Sub(began)
		if left <= 0 {
			return end, false, nil
		}
		canceled, err := pause(ctx, cancel, min(wait, left))
		if err != nil {
			return end, false, err
		}
		if canceled {
			return models.RolloutEnd{Status: models.RolloutCanceled, Reason: "It was canceled."}, true, nil
		}
		var m models.RolloutMeasure
		window := models.RolloutWindow{Rollout: r.in, Since: began}
		if err := workflow.ExecuteActivity(table.rollout.activity(ctx), models.ActivityMeasureRollout, window).Get(ctx, &m); err != nil {
			return end, false, err
		}
		if m.Superseded {
			return supersededEnd(), true, nil
		}
		if reason, worse := m.Worse(r.in.MaxErrorRate); worse {
			return models.RolloutEnd{Status: models.RolloutReverted, Reason: reason}, true, nil
		}
	}
}

func (r *rollout) weigh(ctx workflow.Context, percent int) (superseded bool, err error) {
	weight := models.RolloutWeight{Rollout: r.in, Percent: percent}
	err = workflow.ExecuteActivity(table.rollout.activity(ctx), models.ActivityWeighRollout, weight).Get(ctx, &superseded)
	if err == nil && !superseded {
		r.state.Percent = percent
	}
	return superseded, err
}

// end gives the visitors back unless the release has them for good.
func (r *rollout) end(ctx workflow.Context, end models.RolloutEnd) error {
	if end.Status == models.RolloutReverted || end.Status == models.RolloutCanceled {
		if _, err := r.weigh(ctx, 0); err != nil {
			return err
		}
	}
	end.Rollout = r.in
	if err := workflow.ExecuteActivity(table.rollout.activity(ctx), models.ActivityEndRollout, end).Get(ctx, nil); err != nil {
		return err
	}
	r.state.Status, r.state.Reason = end.Status, end.Reason
	return nil
}

// StartRollout starts the workflow of a rollout whose row is written, and returns
// its run id. Starting it again finds the run there is or was. CodeQueue when
// Temporal does not answer.
func StartRollout(ctx context.Context, c client.Client, row models.Rollout, taskQueue string) (runID string, err error) {
	var input models.RolloutInput
	if err := json.Unmarshal(row.Input, &input); err != nil {
		return "", models.Wrap(models.CodeDatabase, err, "The recorded input of the rollout is damaged.")
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: row.ID, TaskQueue: taskQueue,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			AttributeOrganization.ValueSet(row.OrganizationID), AttributeProject.ValueSet(row.ProjectID),
		),
		StaticSummary: "rollout of " + row.ReleaseID,
	}, models.WorkflowRollout, input)
	if err != nil {
		return "", models.Wrap(models.CodeQueue, err, "The rollout could not be queued. Try again in a moment.")
	}
	return run.GetRunID(), nil
}

// CancelRollout has a running rollout give its visitors back. CodeNotRunning
// when it has ended, CodeQueue when Temporal does not answer.
func CancelRollout(ctx context.Context, c client.Client, id string) error {
	err := c.SignalWorkflow(ctx, id, "", models.SignalCancel, nil)
	var gone *serviceerror.NotFound
	switch {
	case err == nil:
		return nil
	case errors.As(err, &gone):
		return models.Errorf(models.CodeNotRunning, "The rollout has ended already.")
	}
	return models.Wrap(models.CodeQueue, err, "The rollout could not be told. Try again in a moment.")
}
