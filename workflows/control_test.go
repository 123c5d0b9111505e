package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

func TestControl_answersTheQueryFromTheFirstTaskOn(t *testing.T) {
	var s *stage
	var first models.Status
	s = newStage(t, &steps{validate: func(context.Context, models.StepInput) error {
		first = s.query()
		return nil
	}})
	_, err := s.run()
	require.NoError(t, err)
	require.Equal(t, "dep_1", first.DeploymentID)
	require.Equal(t, models.StatusInProgress, first.Status)
	require.Equal(t, models.StepValidate, first.CurrentStep)
	require.Equal(t, 10, first.Progress)
}

func TestControl_refusesWhatMakesNoSenseNow(t *testing.T) {
	var s *stage
	var retry, abandon, late *updateAnswer
	s = newStage(t, &steps{
		validate: func(context.Context, models.StepInput) error {
			retry = s.update(models.SignalRetry, models.OperatorAction{})
			abandon = s.update(models.SignalAbandon, models.OperatorAction{})
			return nil
		},
		cleanup: func(context.Context, models.StepInput) error {
			late = s.update(models.SignalCancel, models.OperatorAction{})
			return nil
		},
	})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	requireRefused(t, retry, models.CodeNotParked)
	requireRefused(t, abandon, models.CodeNotParked)
	requireRefused(t, late, models.CodeNotRunning)
}

func TestControl_cancelStopsTheRunningStep(t *testing.T) {
	for name, cancel := range map[string]func(*stage){
		"by signal": func(s *stage) { s.SignalWorkflow(models.SignalCancel, models.OperatorAction{By: "usr_1"}) },
		"by Update": func(s *stage) { s.update(models.SignalCancel, models.OperatorAction{By: "usr_1"}) },
		"by Web UI": func(s *stage) { s.CancelWorkflow() },
	} {
		for _, step := range []models.Step{models.StepValidate, models.StepSync, models.StepSandbox, models.StepBuild, models.StepDeploy} {
			t.Run(name+" in "+string(step), func(t *testing.T) {
				var s *stage
				stop := func(ctx context.Context, at models.Step) error {
					if at != step {
						return nil
					}
					cancel(s)
					return untilCanceled(ctx)
				}
				s = newStage(t, stoppedIn(stop))
				status, err := s.run()
				require.True(t, temporal.IsCanceledError(err))
				require.Equal(t, models.OutcomeCanceled, status.Outcome)
				require.Equal(t, models.StatusFailed, status.Status)
				require.Equal(t, step, status.CurrentStep)
				require.Equal(t, models.StepFailed, status.Steps.Of(step).Status)
				require.Equal(t, models.StepCompleted, status.Steps.Cleanup.Status)
				require.Equal(t, models.OutcomeCanceled, s.steps.last(models.StepCleanup).Outcome)
				require.Equal(t, 1, s.steps.count(models.StepCleanup))
			})
		}
	}
}

// stoppedIn is steps that ask stop how they end.
func stoppedIn(stop func(context.Context, models.Step) error) *steps {
	return &steps{
		validate: func(ctx context.Context, _ models.StepInput) error { return stop(ctx, models.StepValidate) },
		sync: func(ctx context.Context, _ models.StepInput) (models.SyncResult, error) {
			return models.SyncResult{SourceDigest: "source", NeedsSandbox: true}, stop(ctx, models.StepSync)
		},
		sandbox: func(ctx context.Context, _ models.StepInput) error { return stop(ctx, models.StepSandbox) },
		build: func(ctx context.Context, _ models.StepInput) (models.BuildResult, error) {
			return models.BuildResult{OutputDigest: "output"}, stop(ctx, models.StepBuild)
		},
		deploy: func(ctx context.Context, _ models.StepInput) (models.DeployResult, error) {
			return models.DeployResult{ReleaseID: "rel_1"}, stop(ctx, models.StepDeploy)
		},
	}
}

func TestControl_takesASignalTypedByHand(t *testing.T) {
	for name, c := range map[string]struct {
		payload any
		line    string
	}{
		"nothing":       {nil, "Retried."},
		"an action":     {models.OperatorAction{By: "usr_1", Reason: "disk was full"}, "Retried by usr_1: disk was full."},
		"a name":        {"ada", "Retried by ada."},
		"anything else": {[]int{1, 2}, "Retried."},
	} {
		t.Run(name, func(t *testing.T) {
			b := &broken{}
			s := newStage(t, &steps{deploy: b.deploy, sync: staticSource})
			s.at(time.Hour, func() {
				b.mended.Store(true)
				s.SignalWorkflow(models.SignalRetry, c.payload)
			})
			status, err := s.run()
			require.NoError(t, err)
			require.Contains(t, status.Logs, c.line)
		})
	}
}
