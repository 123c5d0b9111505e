package workflows

import (
	"context"
	"sync/atomic"
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

// dns is what the looks at DNS find: each the next state, the last one for ever.
type dns struct {
	states []models.DomainState
	looks  atomic.Int64
	failed atomic.Int64
	// failing, when there is one, is called as the claim fails.
	failing func()
}

func (d *dns) check(context.Context, models.DomainInput) (models.DomainState, error) {
	n := int(d.looks.Add(1))
	return d.states[min(n, len(d.states))-1], nil
}

func (d *dns) fail(context.Context, models.DomainInput) (models.DomainState, error) {
	d.failed.Add(1)
	if d.failing != nil {
		d.failing()
	}
	return models.DomainState{Status: models.DomainFailed, Reason: "It was not ready in time."}, nil
}

type domainRegistry interface {
	registry
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

func (d *dns) register(r domainRegistry) {
	r.RegisterWorkflowWithOptions(Domain, workflow.RegisterOptions{Name: models.WorkflowDomain})
	r.RegisterActivityWithOptions(d.check, activity.RegisterOptions{Name: models.ActivityCheckDomain})
	r.RegisterActivityWithOptions(d.fail, activity.RegisterOptions{Name: models.ActivityFailDomain})
}

var (
	pending  = models.DomainState{Status: models.DomainPending, Reason: "There is no TXT record yet."}
	verified = models.DomainState{Status: models.DomainVerified, Reason: "It points elsewhere."}
	activeD  = models.DomainState{Status: models.DomainActive}
)

func domainStage(t *testing.T, d *dns) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(patience)
	d.register(env)
	return env
}

func TestDomain_looksLessAndLessOftenUntilItIsActive(t *testing.T) {
	d := &dns{states: []models.DomainState{pending, pending, pending, verified, activeD}}
	env := domainStage(t, d)
	began := env.Now()
	env.ExecuteWorkflow(models.WorkflowDomain, models.DomainInput{DomainID: "dom_1", Host: "shop.example.com", Timeout: time.Hour})
	var state models.DomainState
	require.NoError(t, env.GetWorkflowResult(&state))
	require.Equal(t, activeD, state)
	require.Equal(t, int64(5), d.looks.Load())
	took := env.Now().Sub(began) // in which a look takes the time it takes
	require.GreaterOrEqual(t, took, (5+10+20+40)*time.Second)
	require.Less(t, took, (5+10+20+80)*time.Second)
}

func TestDomain_failsWhenItsTimeIsOver(t *testing.T) {
	d := &dns{states: []models.DomainState{pending}}
	env := domainStage(t, d)
	began := env.Now()
	env.ExecuteWorkflow(models.WorkflowDomain, models.DomainInput{DomainID: "dom_1", Host: "shop.example.com", Timeout: 3 * time.Hour})
	var state models.DomainState
	require.NoError(t, env.GetWorkflowResult(&state))
	require.Equal(t, models.DomainFailed, state.Status)
	require.Equal(t, int64(1), d.failed.Load())
	require.Equal(t, 3*time.Hour, env.Now().Sub(began).Round(time.Minute), "the last look is at the deadline")
}

func TestDomain_aLongWaitGoesOnInANewRun(t *testing.T) {
	d := &dns{states: []models.DomainState{pending}}
	env := domainStage(t, d)
	env.ExecuteWorkflow(models.WorkflowDomain, models.DomainInput{DomainID: "dom_1", Host: "shop.example.com", Timeout: 100 * 24 * time.Hour})
	require.True(t, workflow.IsContinueAsNewError(env.GetWorkflowError()))
	require.Equal(t, int64(checksPerRun), d.looks.Load())
}

func TestDomain_endsWhenTheClaimIsGivenUp(t *testing.T) {
	d := &dns{states: []models.DomainState{pending, {Removed: true}}}
	env := domainStage(t, d)
	env.ExecuteWorkflow(models.WorkflowDomain, models.DomainInput{DomainID: "dom_1", Timeout: time.Hour})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, int64(2), d.looks.Load())
}

func TestDomain_aClaimMadeAgainWhileItFailsIsLookedAt(t *testing.T) {
	d := &dns{states: []models.DomainState{pending}}
	env := domainStage(t, d)
	d.failing = func() { env.SignalWorkflow(models.SignalCheck, nil) }
	env.ExecuteWorkflow(models.WorkflowDomain, models.DomainInput{DomainID: "dom_1", Host: "shop.example.com", Timeout: time.Minute})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &next)
	var in models.DomainInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &in))
	require.Equal(t, models.DomainInput{DomainID: "dom_1", Host: "shop.example.com", Timeout: time.Minute}, in, "its time begins anew")
}

func TestDomain_onARealServer(t *testing.T) {
	for name, states := range map[string][]models.DomainState{
		"domain-active":  {pending, verified, activeD},
		"domain-removed": {pending, {Removed: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t)
			queue := models.NewID("queue")
			d := &dns{states: states}
			w := worker.New(c, queue, worker.Options{})
			d.register(w)
			require.NoError(t, w.Start())
			t.Cleanup(w.Stop)
			row := models.Domain{ID: models.NewID(models.PrefixDomain), Host: "shop.example.com", ProjectID: "prj_1", OrganizationID: "org_1"}
			for n := range states {
				// Each signal spares the wait; starting it again is harmless. On a busy
				// machine the wait may be over before.
				require.Eventually(t, func() bool { return int(d.looks.Load()) >= n }, patience, 10*time.Millisecond)
				_, err := CheckDomain(t.Context(), c, row, time.Hour, queue)
				require.NoError(t, err)
			}
			var state models.DomainState
			require.NoError(t, c.GetWorkflow(t.Context(), row.ID, "").Get(t.Context(), &state))
			require.Equal(t, states[len(states)-1], state)
			var asked models.DomainState
			askStatus(t, c, row.ID, &asked)
			require.Equal(t, state, asked)
			keepHistory(t, name, c, row.ID)
		})
	}
}
