package workflows

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// receiver is what attempts find: each the next status, the last one for ever.
type receiver struct {
	mu       sync.Mutex
	statuses []models.DeliveryStatus
	// retryAfter is what the receiver asks for at every attempt.
	retryAfter time.Duration
	attempts   []models.DeliveryAttempt
	times      []time.Time
	// during, when there is one, is called in the nth attempt, from 1.
	during func(n int)
	now    func() time.Time
}

func (r *receiver) send(_ context.Context, in models.DeliveryAttempt) (models.DeliveryState, error) {
	r.mu.Lock()
	r.attempts = append(r.attempts, in)
	if r.now != nil {
		r.times = append(r.times, r.now())
	}
	n := len(r.attempts)
	status := r.statuses[min(n, len(r.statuses))-1]
	r.mu.Unlock()
	if r.during != nil {
		r.during(n)
	}
	if status == models.DeliveryPending && in.Wait == 0 {
		status = models.DeliveryFailed
	}
	state := models.DeliveryState{Status: status}
	if status == models.DeliveryPending {
		state.Wait = max(in.Wait, min(r.retryAfter, in.Longest))
	}
	return state, nil
}

func (r *receiver) sent() []models.DeliveryAttempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]models.DeliveryAttempt{}, r.attempts...)
}

func (r *receiver) register(to domainRegistry) {
	to.RegisterWorkflowWithOptions(Webhook, workflow.RegisterOptions{Name: models.WorkflowWebhook})
	to.RegisterActivityWithOptions(r.send, activity.RegisterOptions{Name: models.ActivitySendWebhook})
}

func webhookStage(t *testing.T, r *receiver) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(patience)
	r.now = env.Now
	r.register(env)
	return env
}

func deliver(t *testing.T, env *testsuite.TestWorkflowEnvironment, in models.DeliveryInput) models.DeliveryStatus {
	t.Helper()
	env.ExecuteWorkflow(models.WorkflowWebhook, in)
	var state models.DeliveryState
	require.NoError(t, env.GetWorkflowResult(&state))
	return state.Status
}

func TestWebhook_triesForThreeDays(t *testing.T) {
	r := &receiver{statuses: []models.DeliveryStatus{models.DeliveryPending}}
	env := webhookStage(t, r)
	require.Equal(t, models.DeliveryFailed, deliver(t, env, models.DeliveryInput{DeliveryID: "dlv_1"}))
	require.Len(t, r.attempts, 10)
	require.Zero(t, r.attempts[9].Wait, "the last one knows that it is")
	for i, wait := range deliverySchedule {
		took := r.times[i+1].Sub(r.times[i])
		require.GreaterOrEqual(t, took, wait)
		require.LessOrEqual(t, took, wait+wait/10+30*time.Second) // an attempt takes the time it takes
	}
	whole := r.times[9].Sub(r.times[0])
	require.Greater(t, whole, 72*time.Hour)
	require.Less(t, whole, 90*time.Hour)
}

func TestWebhook_endsWhenTheReceiverHasTakenItOrWantsNoMore(t *testing.T) {
	for _, last := range []models.DeliveryStatus{models.DeliverySucceeded, models.DeliveryFailed} {
		r := &receiver{statuses: []models.DeliveryStatus{models.DeliveryPending, models.DeliveryPending, last}}
		require.Equal(t, last, deliver(t, webhookStage(t, r), models.DeliveryInput{DeliveryID: "dlv_1"}))
		require.Len(t, r.attempts, 3)
	}
}

func TestWebhook_comesAgainWhenTheReceiverSays(t *testing.T) {
	r := &receiver{statuses: []models.DeliveryStatus{models.DeliveryPending, models.DeliverySucceeded}, retryAfter: 3 * time.Hour}
	deliver(t, webhookStage(t, r), models.DeliveryInput{DeliveryID: "dlv_1"})
	require.Equal(t, 3*time.Hour, r.times[1].Sub(r.times[0]).Round(time.Minute))

	r = &receiver{statuses: []models.DeliveryStatus{models.DeliveryPending, models.DeliverySucceeded}, retryAfter: 1000 * time.Hour}
	deliver(t, webhookStage(t, r), models.DeliveryInput{DeliveryID: "dlv_1"})
	require.Equal(t, longestDeliveryWait, r.times[1].Sub(r.times[0]).Round(time.Minute), "but not for ever")
}

func TestWebhook_aPingIsTriedOnce(t *testing.T) {
	r := &receiver{statuses: []models.DeliveryStatus{models.DeliveryPending}}
	require.Equal(t, models.DeliveryFailed, deliver(t, webhookStage(t, r), models.DeliveryInput{DeliveryID: "dlv_1", Once: true}))
	require.Len(t, r.attempts, 1)
}

func TestWebhook_isTriedNowWhenAskedAndTheScheduleStays(t *testing.T) {
	r := &receiver{statuses: []models.DeliveryStatus{models.DeliveryPending}}
	env := webhookStage(t, r)
	for range 2 {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(models.SignalRedeliver, nil) }, time.Minute)
	}
	require.Equal(t, models.DeliveryFailed, deliver(t, env, models.DeliveryInput{DeliveryID: "dlv_1"}))
	asked := 0
	for _, a := range r.attempts {
		if a.Again {
			asked++
		}
	}
	require.Equal(t, 10, len(r.attempts)-asked, "asking costs none of the schedule's attempts")
	require.GreaterOrEqual(t, asked, 1)
	require.LessOrEqual(t, asked, 2)
}

func TestWebhook_aRequestWhileItEndsIsNotLost(t *testing.T) {
	r := &receiver{statuses: []models.DeliveryStatus{models.DeliveryFailed, models.DeliverySucceeded}}
	env := webhookStage(t, r)
	r.during = func(n int) {
		if n == 1 {
			env.SignalWorkflow(models.SignalRedeliver, nil)
		}
	}
	require.Equal(t, models.DeliverySucceeded, deliver(t, env, models.DeliveryInput{DeliveryID: "dlv_1"}))
	require.Len(t, r.attempts, 2)
	require.True(t, r.attempts[1].Again, "although the delivery has ended")
}

func TestWebhook_goesOnInANewRunWhenAskedTooOften(t *testing.T) {
	r := &receiver{statuses: []models.DeliveryStatus{models.DeliveryPending}}
	env := webhookStage(t, r)
	r.during = func(n int) {
		if n > 3 {
			env.SignalWorkflow(models.SignalRedeliver, nil)
		}
	}
	env.ExecuteWorkflow(models.WorkflowWebhook, models.DeliveryInput{DeliveryID: "dlv_1"})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &next)
	var in models.DeliveryInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &in))
	require.Equal(t, models.DeliveryInput{DeliveryID: "dlv_1", Tried: 3, Again: true}, in)
	require.Len(t, r.attempts, attemptsPerRun)
}

func TestWebhook_onARealServer(t *testing.T) {
	for name, scene := range map[string]struct {
		statuses []models.DeliveryStatus
		drive    func(t *testing.T, again func(), r *receiver)
		attempts int
	}{
		"webhook-succeeded": {statuses: []models.DeliveryStatus{models.DeliverySucceeded}, attempts: 1},
		"webhook-gone":      {statuses: []models.DeliveryStatus{models.DeliveryFailed}, attempts: 1},
		"webhook-redelivered": {statuses: []models.DeliveryStatus{models.DeliveryPending, models.DeliverySucceeded}, attempts: 2,
			drive: func(t *testing.T, again func(), r *receiver) {
				require.Eventually(t, func() bool { return len(r.sent()) == 1 }, patience, 10*time.Millisecond)
				again()
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t)
			queue := models.NewID("queue")
			// Only what is asked for is sent again before the test ends.
			r := &receiver{statuses: scene.statuses, retryAfter: time.Hour}
			workflows := worker.New(c, queue, worker.Options{})
			r.register(workflows)
			require.NoError(t, workflows.Start())
			t.Cleanup(workflows.Stop)
			attempts := worker.New(c, models.WebhookQueue(queue), worker.Options{DisableWorkflowWorker: true})
			attempts.RegisterActivityWithOptions(r.send, activity.RegisterOptions{Name: models.ActivitySendWebhook})
			require.NoError(t, attempts.Start())
			t.Cleanup(attempts.Stop)
			row := models.Delivery{ID: models.NewID(models.PrefixDelivery), WebhookID: "whk_1", OrganizationID: "org_1", Kind: models.EventDeploymentFailed}
			first, err := StartDelivery(t.Context(), c, row, queue)
			require.NoError(t, err)
			if scene.drive != nil {
				scene.drive(t, func() {
					run, err := Redeliver(t.Context(), c, row, queue)
					require.NoError(t, err)
					require.Equal(t, first, run, "the run that is under way is told")
				}, r)
			}
			var state models.DeliveryState
			require.NoError(t, c.GetWorkflow(t.Context(), row.ID, "").Get(t.Context(), &state))
			require.Equal(t, scene.statuses[len(scene.statuses)-1], state.Status)
			require.Len(t, r.sent(), scene.attempts)
			var asked models.DeliveryState
			askStatus(t, c, row.ID, &asked)
			require.Equal(t, state, asked)
			keepHistory(t, name, c, row.ID)

			second, err := Redeliver(t.Context(), c, row, queue)
			require.NoError(t, err)
			require.NotEqual(t, first, second, "what has ended is run again")
			require.NoError(t, c.GetWorkflow(t.Context(), row.ID, second).Get(t.Context(), &state))
			sent := r.sent()
			require.True(t, sent[len(sent)-1].Again)
		})
	}
}
