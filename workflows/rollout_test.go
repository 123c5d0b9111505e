package workflows

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// traffic is what a rollout's activities find and do.
type traffic struct {
	mu       sync.Mutex
	weights  []int
	measures int
	ended    []models.RolloutEnd
	// measure answers the nth look, from 1.
	measure func(n int) models.RolloutMeasure
	// supersededAt is the weight at which something else turns out to be live.
	supersededAt int
}

func (f *traffic) weigh(_ context.Context, in models.RolloutWeight) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.weights = append(f.weights, in.Percent)
	return in.Percent != 0 && in.Percent == f.supersededAt, nil
}

func (f *traffic) look(_ context.Context, _ models.RolloutWindow) (models.RolloutMeasure, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.measures++
	if f.measure == nil {
		return models.RolloutMeasure{Requests: 1000, BaseRequests: 1000}, nil
	}
	return f.measure(f.measures), nil
}

func (f *traffic) end(_ context.Context, in models.RolloutEnd) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, in)
	return nil
}

func (f *traffic) looks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.measures
}

func (f *traffic) register(r domainRegistry) {
	r.RegisterWorkflowWithOptions(Rollout, workflow.RegisterOptions{Name: models.WorkflowRollout})
	r.RegisterActivityWithOptions(f.weigh, activity.RegisterOptions{Name: models.ActivityWeighRollout})
	r.RegisterActivityWithOptions(f.look, activity.RegisterOptions{Name: models.ActivityMeasureRollout})
	r.RegisterActivityWithOptions(f.end, activity.RegisterOptions{Name: models.ActivityEndRollout})
}

func rolloutInput() models.RolloutInput {
	return models.RolloutInput{RolloutID: "rol_1", ProjectID: "prj_1", OrgID: "org_1", ReleaseID: "rel_2", BaseReleaseID: "rel_1",
		Steps: []int{1, 10, 100}, Every: 5 * time.Minute, MaxErrorRate: 0.05}
}

func rolloutStage(t *testing.T, f *traffic) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(patience)
	f.register(env)
	return env
}

func (f *traffic) requireEnd(t *testing.T, env *testsuite.TestWorkflowEnvironment, status models.RolloutStatus, weights ...int) models.RolloutState {
	t.Helper()
	var state models.RolloutState
	require.NoError(t, env.GetWorkflowResult(&state))
	require.Equal(t, status, state.Status)
	require.Equal(t, weights, f.weights)
	require.Len(t, f.ended, 1)
	require.Equal(t, status, f.ended[0].Status)
	return state
}

func TestRollout_takesEachStepAndTheReleaseStays(t *testing.T) {
	f := &traffic{}
	env := rolloutStage(t, f)
	began := env.Now()
	env.ExecuteWorkflow(models.WorkflowRollout, rolloutInput())
	state := f.requireEnd(t, env, models.RolloutCompleted, 1, 10, 100)
	require.Equal(t, 100, state.Percent)
	require.Equal(t, 10*time.Minute, env.Now().Sub(began).Round(time.Minute))
	require.Equal(t, 20, f.measures, "every half minute")
}

func TestRollout_goesBackWhenTheReleaseIsWorse(t *testing.T) {
	f := &traffic{measure: func(n int) models.RolloutMeasure {
		m := models.RolloutMeasure{Requests: 100, BaseRequests: 1000, BaseErrors: 10}
		if n > 12 {
			m.Errors = 30
		}
		return m
	}}
	env := rolloutStage(t, f)
	env.ExecuteWorkflow(models.WorkflowRollout, rolloutInput())
	state := f.requireEnd(t, env, models.RolloutReverted, 1, 10, 0)
	require.Equal(t, "30.0 % of its 100 answers were errors, 1.0 % of the live release's 1000; 5.0 % are allowed.", state.Reason)
	require.Zero(t, state.Percent)
}

func TestRollout_isNotBlamedForWhatTheLiveReleaseDoesTooOrForTooFewAnswers(t *testing.T) {
	for _, m := range []models.RolloutMeasure{
		{Requests: 100, Errors: 30, BaseRequests: 1000, BaseErrors: 400},
		{Requests: 9, Errors: 9, BaseRequests: 1000},
		{Requests: 100, Errors: 5, BaseRequests: 1000},
		{},
	} {
		_, worse := m.Worse(0.05)
		require.False(t, worse, "%+v", m)
	}
}

func TestRollout_endsWhenSomethingElseGoesLive(t *testing.T) {
	f := &traffic{supersededAt: 10}
	env := rolloutStage(t, f)
	env.ExecuteWorkflow(models.WorkflowRollout, rolloutInput())
	f.requireEnd(t, env, models.RolloutSuperseded, 1, 10)

	f = &traffic{measure: func(n int) models.RolloutMeasure { return models.RolloutMeasure{Superseded: n == 3} }}
	env = rolloutStage(t, f)
	env.ExecuteWorkflow(models.WorkflowRollout, rolloutInput())
	f.requireEnd(t, env, models.RolloutSuperseded, 1)
}

func TestRollout_givesTheVisitorsBackWhenCanceled(t *testing.T) {
	for name, cancel := range map[string]func(*testsuite.TestWorkflowEnvironment){
		"by signal":   func(env *testsuite.TestWorkflowEnvironment) { env.SignalWorkflow(models.SignalCancel, nil) },
		"by Temporal": func(env *testsuite.TestWorkflowEnvironment) { env.CancelWorkflow() },
	} {
		t.Run(name, func(t *testing.T) {
			f := &traffic{}
			env := rolloutStage(t, f)
			env.RegisterDelayedCallback(func() { cancel(env) }, 7*time.Minute)
			env.ExecuteWorkflow(models.WorkflowRollout, rolloutInput())
			f.requireEnd(t, env, models.RolloutCanceled, 1, 10, 0)
		})
	}
}

func TestRollout_onARealServer(t *testing.T) {
	bad := models.RolloutMeasure{Requests: 50, Errors: 50, BaseRequests: 50}
	for name, scene := range map[string]struct {
		measure func(int) models.RolloutMeasure
		status  models.RolloutStatus
	}{
		"rollout-completed": {status: models.RolloutCompleted},
		"rollout-reverted":  {measure: func(int) models.RolloutMeasure { return bad }, status: models.RolloutReverted},
		"rollout-canceled":  {status: models.RolloutCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t)
			queue := models.NewID("queue")
			f := &traffic{measure: scene.measure}
			w := worker.New(c, queue, worker.Options{})
			f.register(w)
			require.NoError(t, w.Start())
			t.Cleanup(w.Stop)
			in := rolloutInput()
			in.RolloutID, in.Every = models.NewID(models.PrefixRollout), 2*time.Second
			if scene.status == models.RolloutCanceled {
				in.Every = 10 * time.Second // it is still under way when it is canceled
			}
			row := models.Rollout{ID: in.RolloutID, ProjectID: in.ProjectID, OrganizationID: in.OrgID, ReleaseID: in.ReleaseID}
			var err error
			row.Input, err = json.Marshal(in)
			require.NoError(t, err)
			for range 2 {
				_, err = StartRollout(t.Context(), c, row, queue)
				require.NoError(t, err, "twice is harmless")
			}
			if scene.status == models.RolloutCanceled {
				require.Eventually(t, func() bool { return f.looks() > 0 }, patience, 10*time.Millisecond)
				require.NoError(t, CancelRollout(t.Context(), c, row.ID))
			}
			var state models.RolloutState
			require.NoError(t, c.GetWorkflow(t.Context(), row.ID, "").Get(t.Context(), &state))
			require.Equal(t, scene.status, state.Status)
			require.Equal(t, models.CodeNotRunning, models.CodeOf(CancelRollout(t.Context(), c, row.ID)))
			keepHistory(t, name, c, row.ID)
		})
	}
}
