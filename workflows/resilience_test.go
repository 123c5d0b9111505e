package workflows

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

func TestDeployment_cleansUpAfterEveryFailingStep(t *testing.T) {
	for _, step := range []models.Step{models.StepValidate, models.StepSync, models.StepSandbox, models.StepBuild, models.StepDeploy} {
		t.Run(string(step), func(t *testing.T) {
			s := newStage(t, stoppedIn(func(_ context.Context, at models.Step) error {
				if at == step {
					return fault(models.CodeValidation, "No.")
				}
				return nil
			}))
			status, err := s.run()
			require.NoError(t, err)
			require.Equal(t, models.OutcomeRejected, status.Outcome)
			require.Equal(t, step, status.CurrentStep)
			require.Equal(t, 1, s.steps.count(models.StepCleanup))
			require.Equal(t, models.OutcomeRejected, s.steps.last(models.StepCleanup).Outcome)
		})
	}
}

func TestDeployment_triesAPlatformFailureThreeTimes(t *testing.T) {
	for _, step := range []models.Step{models.StepValidate, models.StepSync, models.StepSandbox, models.StepBuild, models.StepDeploy} {
		t.Run(string(step), func(t *testing.T) {
			failures := 0
			s := newStage(t, stoppedIn(func(_ context.Context, at models.Step) error {
				if at == step && failures < 2 {
					failures++
					return fault(models.CodeStorage, "Down.")
				}
				return nil
			}))
			status, err := s.run()
			require.NoError(t, err)
			require.Equal(t, models.OutcomeSucceeded, status.Outcome)
			require.Equal(t, 3, s.steps.count(step))
		})
	}
}

func TestDeployment_parksOnWhatNoActivityExplained(t *testing.T) {
	for name, err := range map[string]error{
		"a plain error": errors.New("runtime: broken"),
		"a timeout":     temporal.NewHeartbeatTimeoutError(),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, &steps{validate: func(context.Context, models.StepInput) error { return err }})
			s.at(time.Hour, func() {
				status := s.query()
				require.Equal(t, models.OutcomeDeadLetter, status.Outcome)
				require.Equal(t, models.CodeInternal, status.ErrorCode)
				require.NotContains(t, status.Error, "runtime", "the cause is for logs")
				s.SignalWorkflow(models.SignalAbandon, nil)
			})
			status, _ := s.run()
			require.Equal(t, models.OutcomeAbandoned, status.Outcome)
		})
	}
	t.Run("a panic", func(t *testing.T) {
		s := newStage(t, &steps{validate: func(context.Context, models.StepInput) error { panic("bug") }})
		s.at(time.Hour, func() { s.SignalWorkflow(models.SignalAbandon, nil) })
		status, _ := s.run()
		require.Equal(t, models.OutcomeAbandoned, status.Outcome)
	})
}

func TestDeployment_outcomeStandsWhenCleanupFails(t *testing.T) {
	s := newStage(t, &steps{cleanup: func(context.Context, models.StepInput) error { return fault(models.CodeDatabase, "Down.") }})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Equal(t, models.StatusCompleted, status.Status)
	require.Equal(t, models.StepFailed, status.Steps.Cleanup.Status)
	require.Equal(t, int(table.cleanup.attempts), s.steps.count(models.StepCleanup))
}

func TestDeployment_endsSupersededByANewerOne(t *testing.T) {
	s := newStage(t, &steps{deploy: func(context.Context, models.StepInput) (models.DeployResult, error) {
		return models.DeployResult{ReleaseID: "rel_1", Superseded: true}, nil
	}})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSuperseded, status.Outcome)
	require.Equal(t, models.StatusCompleted, status.Status)
}

func cachedSource(context.Context, models.StepInput) (models.SyncResult, error) {
	return models.SyncResult{SourceDigest: "source", NeedsSandbox: true, CachedOutput: "cached"}, nil
}

func TestDeployment_reusesTheResultOfAnEarlierBuild(t *testing.T) {
	s := newStage(t, &steps{sync: cachedSource, build: func(context.Context, models.StepInput) (models.BuildResult, error) {
		return models.BuildResult{OutputDigest: "cached", Cached: true}, nil
	}})
	status, err := s.run()
	require.NoError(t, err)
	require.Zero(t, s.steps.count(models.StepSandbox))
	require.True(t, status.Steps.Sandbox.Skipped)
	require.False(t, status.Steps.Build.Skipped)
	require.Contains(t, status.Logs, "The result of an earlier build of the same source was used.")
}

func TestDeployment_buildsWhenTheEarlierResultIsGone(t *testing.T) {
	s := newStage(t, &steps{sync: cachedSource, build: func(_ context.Context, in models.StepInput) (models.BuildResult, error) {
		if in.Sync.CachedOutput != "" {
			return models.BuildResult{}, nil
		}
		return models.BuildResult{OutputDigest: "fresh"}, nil
	}})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Equal(t, []models.Step{"validate", "sync", "build", "sandbox", "build", "deploy", "cleanup"}, s.steps.ran())
	require.False(t, status.Steps.Sandbox.Skipped)
	require.Equal(t, "fresh", s.steps.last(models.StepDeploy).Build.OutputDigest)
}

func TestDeployment_rejectsABuildThatTakesTooLong(t *testing.T) {
	s := newStage(t, &steps{build: func(ctx context.Context, _ models.StepInput) (models.BuildResult, error) {
		return models.BuildResult{}, untilCanceled(ctx)
	}})
	hold := input
	hold.ActiveTimeout = time.Second
	status, err := s.runWith(hold)
	require.NoError(t, err)
	require.Equal(t, models.OutcomeRejected, status.Outcome)
	require.Equal(t, models.CodeDeploymentTimeout, status.ErrorCode)
	require.Equal(t, "timeout", status.Diagnosis.Cause)
	require.Equal(t, 1, s.steps.count(models.StepCleanup))
}

func TestDeployment_spendsNoActiveTimeWhileParked(t *testing.T) {
	mended := false
	s := newStage(t, &steps{build: func(context.Context, models.StepInput) (models.BuildResult, error) {
		if !mended {
			return models.BuildResult{}, fault(models.CodeSandbox, "The sandbox does not start.")
		}
		return models.BuildResult{OutputDigest: "output"}, nil
	}})
	s.at(6*24*time.Hour, func() {
		mended = true
		s.SignalWorkflow(models.SignalRetry, nil)
	})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
}

func TestRecorder_holdsNothingUpAndCatchesUp(t *testing.T) {
	down := true
	s := newStage(t, &steps{sync: staticSource, record: func(context.Context, models.Status) error {
		if down {
			return errors.New("connection refused")
		}
		return nil
	}})
	s.at(time.Hour, func() {
		require.Equal(t, models.OutcomeSucceeded, s.query().Outcome, "the deployment went through meanwhile")
		require.Empty(t, s.steps.recorded)
		down = false
	})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Len(t, s.steps.recorded, 1)
}

func TestRecorder_givesUpAfterADay(t *testing.T) {
	s := newStage(t, &steps{sync: staticSource, record: func(context.Context, models.Status) error { return errors.New("gone") }})
	began := s.Now()
	s.ExecuteWorkflow(models.WorkflowDeployment, input)
	require.NoError(t, s.GetWorkflowError())
	require.Equal(t, models.OutcomeSucceeded, s.query().Outcome)
	require.InDelta(t, recordPatience, s.Now().Sub(began), float64(2*recordWaitMax))
}
