package workflows

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

// broken is a deploy step that fails for the platform until it is mended.
type broken struct{ mended atomic.Bool }

func (b *broken) deploy(context.Context, models.StepInput) (models.DeployResult, error) {
	if !b.mended.Load() {
		return models.DeployResult{}, fault(models.CodeStorage, "The blob store does not answer.")
	}
	return models.DeployResult{ReleaseID: "rel_1"}, nil
}

// update sends an Update and gives the status it returned, or its refusal.
func (s *stage) update(name string, by models.OperatorAction) (answer *updateAnswer) {
	answer = &updateAnswer{}
	s.UpdateWorkflow(name, "", answer, by)
	return answer
}

type updateAnswer struct {
	accepted bool
	status   models.Status
	err      error
}

func (a *updateAnswer) Accept()          { a.accepted = true }
func (a *updateAnswer) Reject(err error) { a.err = err }
func (a *updateAnswer) Complete(value any, err error) {
	a.err = err
	if status, ok := value.(models.Status); ok {
		a.status = status
	}
}

func requireRefused(t *testing.T, a *updateAnswer, code models.Code) {
	t.Helper()
	var application *temporal.ApplicationError
	require.ErrorAs(t, a.err, &application)
	require.Equal(t, string(code), application.Type())
	require.False(t, a.accepted)
}

func TestPark_dropsARetryThatCameTooEarly(t *testing.T) {
	b := &broken{}
	s := newStage(t, &steps{deploy: b.deploy, sync: staticSource})
	s.at(time.Millisecond, func() {
		s.SignalWorkflow(models.SignalRetry, nil)
		s.SignalWorkflow(models.SignalAbandon, nil)
	})
	s.at(time.Hour, func() {
		require.Equal(t, models.OutcomeDeadLetter, s.query().Outcome, "still parked")
		require.Equal(t, 3, s.steps.count(models.StepDeploy))
		b.mended.Store(true)
		s.SignalWorkflow(models.SignalRetry, nil)
	})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Equal(t, 1, status.Retries)
}

func TestPark_dropsARetrySentWhileItIsBeingParked(t *testing.T) {
	b := &broken{}
	var s *stage
	s = newStage(t, &steps{deploy: b.deploy, sync: staticSource, cleanup: func(_ context.Context, in models.StepInput) error {
		if in.Parking {
			s.SignalWorkflow(models.SignalRetry, nil)
		}
		return nil
	}})
	s.at(time.Hour, func() {
		require.Equal(t, models.OutcomeDeadLetter, s.query().Outcome)
		s.SignalWorkflow(models.SignalAbandon, nil)
	})
	status, _ := s.run()
	require.Equal(t, models.OutcomeAbandoned, status.Outcome)
	require.Zero(t, status.Retries)
}

func TestPark_countsTwoRetriesInARowOnce(t *testing.T) {
	b := &broken{}
	s := newStage(t, &steps{deploy: b.deploy, sync: staticSource})
	s.at(time.Hour, func() {
		s.SignalWorkflow(models.SignalRetry, nil)
		s.SignalWorkflow(models.SignalRetry, nil)
	})
	s.at(2*time.Hour, func() {
		status := s.query()
		require.Equal(t, models.OutcomeDeadLetter, status.Outcome, "parked again, the second retry gone")
		require.Equal(t, 1, status.Retries)
		require.Equal(t, 6, s.steps.count(models.StepDeploy))
		b.mended.Store(true)
		first := s.update(models.SignalRetry, models.OperatorAction{By: "usr_1"})
		second := s.update(models.SignalRetry, models.OperatorAction{By: "usr_2"})
		s.at(0, func() {
			require.NoError(t, first.err)
			require.Equal(t, models.StatusInProgress, first.status.Status, "the answer shows that it goes on")
			require.Equal(t, models.StepDeploy, first.status.CurrentStep)
			require.Empty(t, first.status.Error)
			requireRefused(t, second, models.CodeNotParked)
		})
	})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Equal(t, 2, status.Retries)
	require.Contains(t, status.Logs, "Retried by usr_1.")
}

func TestPark_givesUpAfterTheParkTimeout(t *testing.T) {
	s := newStage(t, &steps{deploy: (&broken{}).deploy})
	began := s.Now()
	status, err := s.run()
	require.Error(t, err)
	require.Equal(t, models.OutcomeAbandoned, status.Outcome)
	require.Equal(t, models.StatusFailed, status.Status)
	require.Equal(t, models.CodeStorage, status.ErrorCode)
	require.Contains(t, status.Logs, "Abandoned: nobody decided within 168h0m0s.")
	require.GreaterOrEqual(t, s.Now().Sub(began), input.ParkTimeout)
	last := s.steps.last(models.StepCleanup)
	require.Equal(t, models.OutcomeAbandoned, last.Outcome)
	require.False(t, last.Parking)
}

func TestPark_canBeCanceled(t *testing.T) {
	for name, cancel := range map[string]func(*stage){
		"by signal":  func(s *stage) { s.SignalWorkflow(models.SignalCancel, models.OperatorAction{By: "usr_1"}) },
		"by Update":  func(s *stage) { s.update(models.SignalCancel, models.OperatorAction{By: "usr_1"}) },
		"by Web UI":  func(s *stage) { s.CancelWorkflow() },
		"repeatedly": func(s *stage) { s.CancelWorkflow(); s.SignalWorkflow(models.SignalCancel, nil); s.CancelWorkflow() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, &steps{deploy: (&broken{}).deploy})
			s.at(time.Hour, func() { cancel(s) })
			status, err := s.run()
			require.True(t, temporal.IsCanceledError(err))
			require.Equal(t, models.OutcomeCanceled, status.Outcome)
			require.Equal(t, models.CodeCanceled, status.ErrorCode)
			require.Equal(t, models.StepDeploy, status.CurrentStep)
			require.Equal(t, "The blob store does not answer.", status.Steps.Deploy.Error)
			require.Equal(t, models.OutcomeCanceled, s.steps.last(models.StepCleanup).Outcome)
		})
	}
}

func TestPark_isCanceledByACancelThatCameWhileParking(t *testing.T) {
	var s *stage
	s = newStage(t, &steps{deploy: (&broken{}).deploy, cleanup: func(_ context.Context, in models.StepInput) error {
		if in.Parking {
			s.CancelWorkflow()
		}
		return nil
	}})
	status, err := s.run()
	require.True(t, temporal.IsCanceledError(err))
	require.Equal(t, models.OutcomeCanceled, status.Outcome)
}

func TestPark_happensAlthoughNothingCanBeGivenBack(t *testing.T) {
	s := newStage(t, &steps{deploy: (&broken{}).deploy, cleanup: func(_ context.Context, in models.StepInput) error {
		if in.Parking {
			return fault(models.CodeDatabase, "Down.")
		}
		return nil
	}})
	s.at(time.Hour, func() {
		require.Equal(t, models.OutcomeDeadLetter, s.query().Outcome)
		s.SignalWorkflow(models.SignalAbandon, nil)
	})
	status, _ := s.run()
	require.Equal(t, models.OutcomeAbandoned, status.Outcome)
}

func TestPark_retryAtBuildMakesANewSandbox(t *testing.T) {
	mended := false
	s := newStage(t, &steps{build: func(context.Context, models.StepInput) (models.BuildResult, error) {
		if !mended {
			return models.BuildResult{}, fault(models.CodeSandbox, "The sandbox does not start.")
		}
		return models.BuildResult{OutputDigest: "output"}, nil
	}})
	s.at(time.Hour, func() {
		status := s.query()
		require.Equal(t, models.StepBuild, status.CurrentStep)
		parking := s.steps.last(models.StepCleanup)
		require.True(t, parking.Parking)
		require.Equal(t, "box", parking.SandboxID, "cleanup knows the sandbox it gives back")
		mended = true
		s.SignalWorkflow(models.SignalRetry, nil)
	})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Equal(t, 2, s.steps.count(models.StepSandbox))
	require.Equal(t, 1, s.steps.count(models.StepSync))
	require.Equal(t, models.StepCompleted, status.Steps.Build.Status)
	require.Empty(t, status.Steps.Build.Error)
}

func TestPark_canBeRetriedManyTimes(t *testing.T) {
	b := &broken{}
	s := newStage(t, &steps{deploy: b.deploy, sync: staticSource})
	const retries = 30
	for i := 1; i <= retries; i++ {
		s.at(time.Duration(i)*time.Hour, func() {
			b.mended.Store(i == retries)
			s.SignalWorkflow(models.SignalRetry, models.OperatorAction{By: fmt.Sprint("usr_", i)})
		})
	}
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, retries, status.Retries)
	require.Len(t, status.Logs, models.MaxStatusLines, "the newest lines are kept, no more")
	require.Contains(t, status.Logs, "Retried by usr_30.")
	require.NotContains(t, status.Logs, "Validating deployment parameters...")
	for _, recorded := range s.steps.recorded {
		require.LessOrEqual(t, len(recorded.Logs), models.MaxStatusLines)
	}
}
