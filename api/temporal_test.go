package api_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/dev/temporal/temporaltest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/workflows"
)

// newTemporalGateway is a gateway on a real Temporal server with a task queue of its
// own. Unless change says otherwise it has time for what a slow machine does slowly.
func newTemporalGateway(t *testing.T, change ...func(*api.Options)) (g *gateway, c client.Client, queue string) {
	t.Helper()
	c = temporalClient(t, temporaltest.Start(t))
	queue = "api-" + strings.ToLower(models.NewID("test"))
	g = newGateway(t, append([]func(*api.Options){func(o *api.Options) {
		o.Temporal = c
		o.Start = func(ctx context.Context, d models.Deployment) (string, error) {
			return workflows.Start(ctx, c, d, queue)
		}
		o.Limits.StartTimeout, o.Limits.QueryTimeout, o.Limits.ActionTimeout = patience/2, patience/2, patience/2
	}}, change...)...)
	return g, c, queue
}

// runWorker runs the real workflow; its first step fails for a reason of the
// platform's while broken says so, and then goes on until it is stopped.
func runWorker(g *gateway, c client.Client, queue string, broken *atomic.Bool) worker.Worker {
	g.Helper()
	w := worker.New(c, queue, worker.Options{WorkerStopTimeout: time.Second})
	w.RegisterWorkflowWithOptions(workflows.Deployment, workflow.RegisterOptions{Name: models.WorkflowDeployment})
	register := func(name string, fn any) {
		w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	register(models.ActivityRecord, g.store.RecordStatus)
	register(string(models.StepCleanup), func(context.Context, models.StepInput) error { return nil })
	register(string(models.StepValidate), func(ctx context.Context, _ models.StepInput) (models.ValidateResult, error) {
		if broken.Load() {
			return models.ValidateResult{}, temporal.NewApplicationErrorWithOptions("storage is down", string(models.CodeStorage), temporal.ApplicationErrorOptions{
				NonRetryable: true,
				Details:      []any{models.StepFailure{Code: models.CodeStorage, Class: models.ClassPlatform, Message: "storage is down"}},
			})
		}
		for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
			activity.RecordHeartbeat(ctx)
			if ctx.Err() != nil {
				tick.Stop()
				return models.ValidateResult{}, ctx.Err()
			}
		}
	})
	require.NoError(g, w.Start())
	return w
}

// await polls the public status until it is as wanted.
func (g *gateway) await(id string, is func(models.Status) bool) models.Status {
	g.Helper()
	var st models.Status
	require.Eventually(g, func() bool {
		st = models.Status{}
		g.do("GET", "/deploy-status?id="+id, nil).into(200, &st)
		return is(st)
	}, patience, 50*time.Millisecond)
	return st
}

func TestTemporal_operatorsRetryAbandonAndCancel(t *testing.T) {
	g, c, queue := newTemporalGateway(t)
	var broken atomic.Bool
	broken.Store(true)
	w := runWorker(g, c, queue, &broken)
	defer w.Stop()
	isParked := func(st models.Status) bool { return st.Outcome == models.OutcomeDeadLetter && !st.Stale }

	row := g.deploy(nil)
	path := "/deployments/" + row.ID
	st := g.await(row.ID, isParked)
	require.Equal(t, models.CodeStorage, st.ErrorCode)
	require.Eventually(t, func() bool {
		var list api.DeploymentList
		g.do("GET", "/dead-letters", nil).into(200, &list)
		return len(list.Items) == 1 && list.Items[0].ID == row.ID
	}, patience, 50*time.Millisecond)

	broken.Store(false)
	var done api.ActionAnswer
	g.do("POST", path+"/retry", map[string]any{"reason": "disk mended"}).into(200, &done)
	require.Equal(t, row.ID, done.DeploymentID)
	st = g.await(row.ID, func(st models.Status) bool { return st.Steps.Validate.Status == models.StepInProgress })
	require.Equal(t, 1, st.Retries)
	require.Contains(t, strings.Join(st.Logs, "\n"), "Retried by "+g.owner.UserID+": disk mended.")
	object := g.do("POST", path+"/retry", nil).failed(models.CodeNotParked)
	require.Contains(t, object["message"], "parked")
	g.do("POST", path+"/abandon", nil).failed(models.CodeNotParked)

	g.do("POST", path+"/cancel", nil).into(200, &done)
	st = g.await(row.ID, func(st models.Status) bool { return st.Outcome == models.OutcomeCanceled && st.Progress == 100 })
	require.Equal(t, models.StatusFailed, st.Status)
	g.do("POST", path+"/cancel", nil).failed(models.CodeNotRunning)

	broken.Store(true)
	second := g.deploy(nil)
	g.await(second.ID, isParked)
	g.do("POST", "/deployments/"+second.ID+"/abandon", nil).into(200, &done)
	g.await(second.ID, func(st models.Status) bool { return st.Outcome == models.OutcomeAbandoned })
}

func TestTemporal_healthIsHealthyWhenEverythingAnswers(t *testing.T) {
	g, _, _ := newTemporalGateway(t)
	var a answer
	require.Eventually(t, func() bool {
		a = g.do("GET", "/health", nil)
		return a.status == 200
	}, patience, 50*time.Millisecond, "its checks have two seconds")
	require.Equal(t, "healthy", a.fields()["status"])
}

func TestTemporal_withoutAWorkerTheStatusIsStaleInTime(t *testing.T) {
	g, _, _ := newTemporalGateway(t, func(o *api.Options) { o.Limits.QueryTimeout, o.Limits.ActionTimeout = 0, 0 })
	row := g.deploy(nil)
	require.NotEmpty(t, row.WorkflowRunID)
	g.await(row.ID, func(st models.Status) bool { return st.Stale }) // connects
	begin := time.Now()
	st := g.await(row.ID, func(st models.Status) bool { return st.Stale })
	require.Less(t, time.Since(begin), patience)
	require.Equal(t, models.StatusQueued, st.Status)

	g.do("POST", "/deployments/"+row.ID+"/cancel", nil).failed(models.CodeQueue)
}

func TestTemporal_thatDoesNotAnswerAtAllHoldsNobodyUp(t *testing.T) {
	// Accepts connections and says nothing, as a machine in trouble does.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	g := newGateway(t, func(o *api.Options) { o.Temporal = temporalClient(t, listener.Addr().String()) })
	row := g.deploy(nil)
	for range 2 {
		begin := time.Now()
		var st models.Status
		g.do("GET", "/deploy-status?id="+row.ID, nil).into(200, &st)
		require.Less(t, time.Since(begin), patience)
		require.True(t, st.Stale)
	}
	begin := time.Now()
	require.Equal(t, 503, g.do("GET", "/health", nil).status)
	require.Less(t, time.Since(begin), patience)
}
