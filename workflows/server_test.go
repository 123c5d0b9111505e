package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/dev/temporal/temporaltest"
	"github.com/slipwayhq/slipway/models"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(doomedBuilder); address != "" {
		runDoomedBuilder(address, os.Getenv(doomedBuilder+"_QUEUE"))
	}
	temporaltest.Main(m)
}

// scene is one way a deployment goes on a real server: the steps it meets, what
// is done to it from outside, and what it comes to. Every scene is also the
// source of a recorded history, see histories_test.go.
type scene struct {
	name  string
	steps *steps
	// input changes what the deployment starts with.
	input func(*models.DeploymentInput)
	// noBuilder leaves the deployment without a build host.
	noBuilder bool
	drive     func(t *testing.T, r *run)
	outcome   models.Outcome
	check     func(t *testing.T, r *run, final models.Status)
}

// run is a scene under way.
type run struct {
	client  client.Client
	row     models.Deployment
	queue   string
	builds  string
	builder worker.Worker
	steps   *steps
}

func scenes() []scene {
	return []scene{
		{name: "success", steps: &steps{}, outcome: models.OutcomeSucceeded,
			check: func(t *testing.T, r *run, _ models.Status) { require.Equal(t, models.AllSteps(), r.steps.ran()) }},
		{name: "static", steps: &steps{sync: staticSource}, outcome: models.OutcomeSucceeded},
		{name: "cached", steps: &steps{sync: cachedSource, build: func(context.Context, models.StepInput) (models.BuildResult, error) {
			return models.BuildResult{OutputDigest: "cached", Cached: true}, nil
		}}, outcome: models.OutcomeSucceeded},
		{name: "cached-output-gone", steps: &steps{sync: cachedSource, build: func(_ context.Context, in models.StepInput) (models.BuildResult, error) {
			if in.Sync.CachedOutput != "" {
				return models.BuildResult{}, nil
			}
			return models.BuildResult{OutputDigest: "fresh"}, nil
		}}, outcome: models.OutcomeSucceeded},
		{name: "superseded", steps: &steps{deploy: func(context.Context, models.StepInput) (models.DeployResult, error) {
			return models.DeployResult{ReleaseID: "rel_1", Superseded: true}, nil
		}}, outcome: models.OutcomeSuperseded},
		{name: "rejected", steps: &steps{build: func(context.Context, models.StepInput) (models.BuildResult, error) {
			return models.BuildResult{}, fault(models.CodeBuildFailed, "The build failed.")
		}}, outcome: models.OutcomeRejected},
		retriedScene(),
		{name: "abandoned", steps: &steps{validate: func(context.Context, models.StepInput) error {
			return fault(models.CodeDatabase, "Down.")
		}}, drive: func(t *testing.T, r *run) {
			r.awaitOutcome(t, models.OutcomeDeadLetter)
			r.signal(t, models.SignalAbandon)
		}, outcome: models.OutcomeAbandoned},
		{name: "expired", steps: &steps{deploy: (&broken{}).deploy},
			input:   func(in *models.DeploymentInput) { in.ParkTimeout = 500 * time.Millisecond },
			outcome: models.OutcomeAbandoned},
		canceledScene("canceled-by-signal", func(t *testing.T, r *run) { r.signal(t, models.SignalCancel) }),
		canceledScene("canceled-by-update", func(t *testing.T, r *run) {
			_, err := r.update(t, models.SignalCancel)
			require.NoError(t, err)
		}),
		canceledScene("canceled-by-temporal", func(t *testing.T, r *run) {
			require.NoError(t, r.client.CancelWorkflow(t.Context(), r.row.ID, ""))
		}),
		{name: "canceled-too-late", steps: &steps{deploy: func(ctx context.Context, _ models.StepInput) (models.DeployResult, error) {
			_ = untilCanceled(ctx)
			return models.DeployResult{ReleaseID: "rel_1"}, nil
		}}, drive: func(t *testing.T, r *run) {
			r.awaitStep(t, models.StepDeploy)
			r.signal(t, models.SignalCancel)
		}, outcome: models.OutcomeSucceeded, check: func(t *testing.T, _ *run, s models.Status) {
			require.Contains(t, s.Logs, "It was too late to cancel.")
		}},
		{name: "canceled-waiting-for-slot", steps: &steps{}, noBuilder: true, drive: func(t *testing.T, r *run) {
			r.await(t, func(s models.Status) bool { return s.CurrentStep == models.StepSandbox })
			r.signal(t, models.SignalCancel)
		}, outcome: models.OutcomeCanceled},
		{name: "timeout", steps: &steps{build: func(ctx context.Context, _ models.StepInput) (models.BuildResult, error) {
			return models.BuildResult{}, untilCanceled(ctx)
		}}, input: func(in *models.DeploymentInput) { in.ActiveTimeout = 2 * time.Second }, outcome: models.OutcomeRejected,
			check: func(t *testing.T, _ *run, s models.Status) {
				require.Equal(t, models.CodeDeploymentTimeout, s.ErrorCode)
			}},
		{name: "deploy-too-long", steps: &steps{sync: staticSource, deploy: func(ctx context.Context, _ models.StepInput) (models.DeployResult, error) {
			return models.DeployResult{}, untilCanceled(ctx)
		}}, input: func(in *models.DeploymentInput) { in.ActiveTimeout = 2 * time.Second }, drive: func(t *testing.T, r *run) {
			r.awaitOutcome(t, models.OutcomeDeadLetter)
			r.signal(t, models.SignalAbandon)
		}, outcome: models.OutcomeAbandoned,
			check: func(t *testing.T, _ *run, s models.Status) {
				require.Equal(t, models.CodeDeploymentTimeout, s.ErrorCode)
			}},
		{name: "waiting-is-not-working", steps: &steps{}, noBuilder: true,
			input: func(in *models.DeploymentInput) { in.ActiveTimeout = enoughForTheSteps },
			drive: func(t *testing.T, r *run) {
				waiting := r.await(t, func(s models.Status) bool { return s.CurrentStep == models.StepSandbox })
				require.Equal(t, "Waiting for a build slot...", waiting.Logs[len(waiting.Logs)-1])
				r.await(t, func(models.Status) bool { return time.Since(waiting.Timestamp) > enoughForTheSteps })
				r.startBuilder(t)
			}, outcome: models.OutcomeSucceeded},
		hostLostScene(),
		hostKilledScene(),
		hostKilledEarlyScene(),
	}
}

// enoughForTheSteps is an active time that steps which do nothing keep within, also
// on a busy machine.
const enoughForTheSteps = 8 * time.Second

func retriedScene() scene {
	b, refused := &broken{}, make(chan struct{})
	return scene{name: "retried", steps: &steps{deploy: func(ctx context.Context, in models.StepInput) (models.DeployResult, error) {
		for { // no attempt ends before what came too early was refused
			select {
			case <-refused:
				return b.deploy(ctx, in)
			case <-ctx.Done():
				return models.DeployResult{}, ctx.Err()
			case <-heartbeatPause():
				activity.RecordHeartbeat(ctx)
			}
		}
	}}, drive: func(t *testing.T, r *run) {
		r.awaitStep(t, models.StepDeploy)
		r.signal(t, models.SignalRetry) // too early: dropped
		_, err := r.update(t, models.SignalRetry)
		requireCode(t, err, models.CodeNotParked)
		close(refused)
		r.awaitOutcome(t, models.OutcomeDeadLetter)
		r.requireAttributes(t, "dead_letter", models.StepDeploy)
		b.mended.Store(true)
		status, err := r.update(t, models.SignalRetry)
		require.NoError(t, err)
		require.Equal(t, models.StatusInProgress, status.Status)
		require.Equal(t, models.StepDeploy, status.CurrentStep)
	}, outcome: models.OutcomeSucceeded, check: func(t *testing.T, r *run, s models.Status) {
		require.Equal(t, 1, s.Retries)
		require.Equal(t, 1, r.steps.count(models.StepBuild), "what was built is not built again")
		require.Equal(t, 4, r.steps.count(models.StepDeploy))
	}}
}

func canceledScene(name string, cancel func(*testing.T, *run)) scene {
	return scene{name: name, steps: &steps{build: func(ctx context.Context, _ models.StepInput) (models.BuildResult, error) {
		return models.BuildResult{}, untilCanceled(ctx)
	}}, drive: func(t *testing.T, r *run) {
		r.awaitStep(t, models.StepBuild)
		cancel(t, r)
	}, outcome: models.OutcomeCanceled, check: func(t *testing.T, r *run, _ models.Status) {
		require.Equal(t, "box", r.steps.last(models.StepCleanup).SandboxID, "cleanup runs where the sandbox is")
	}}
}

func hostLostScene() scene {
	building := make(chan struct{}, 1)
	var lost atomic.Bool
	return scene{name: "host-lost", steps: &steps{build: func(ctx context.Context, _ models.StepInput) (models.BuildResult, error) {
		if !lost.Swap(true) {
			building <- struct{}{}
			<-ctx.Done()
			return models.BuildResult{}, ctx.Err()
		}
		return models.BuildResult{OutputDigest: "output"}, nil
	}}, drive: func(t *testing.T, r *run) {
		<-building
		r.builder.Stop()
		r.startBuilder(t)
	}, outcome: models.OutcomeSucceeded, check: func(t *testing.T, r *run, s models.Status) {
		require.Equal(t, 1, r.steps.count(models.StepSync), "nothing before the sandbox runs again")
		require.Equal(t, 2, r.steps.count(models.StepSandbox))
		require.Contains(t, s.Logs, "The build host was lost. Starting again on another...")
	}}
}

// doomedBuilder names the environment variable that makes the test binary a
// build host which never finishes a build.
const doomedBuilder = "SLIPWAY_TEST_DOOMED_BUILDER"

func runDoomedBuilder(address, queue string) {
	c, err := client.Dial(client.Options{HostPort: address, Logger: quiet{}, ConnectionOptions: slowly})
	if err != nil {
		os.Exit(1)
	}
	options := workerOptions(true)
	if os.Getenv(doomedBuilder+"_EARLY") != "" {
		options.Interceptors = []interceptor.WorkerInterceptor{&speechless{}}
	}
	w := worker.New(c, queue, options)
	(&steps{build: func(ctx context.Context, _ models.StepInput) (models.BuildResult, error) {
		return models.BuildResult{}, untilCanceled(ctx)
	}}).register(w)
	_ = w.Run(worker.InterruptCh())
	os.Exit(0)
}

// hostKilledScene takes away a build host in the middle of a build without a
// word: only its silence says so.
func hostKilledScene() scene {
	return scene{name: "host-killed", steps: &steps{}, noBuilder: true, drive: func(t *testing.T, r *run) {
		host := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		host.Env = append(os.Environ(), doomedBuilder+"="+temporaltest.Start(t), doomedBuilder+"_QUEUE="+r.builds)
		require.NoError(t, host.Start())
		r.await(t, func(s models.Status) bool { return s.CurrentStep == models.StepBuild })
		require.NoError(t, host.Process.Kill())
		_ = host.Wait()
		r.startBuilder(t)
	}, outcome: models.OutcomeSucceeded, check: func(t *testing.T, r *run, s models.Status) {
		require.Equal(t, 1, r.steps.count(models.StepSync))
		require.Equal(t, 1, r.steps.count(models.StepBuild))
		require.Equal(t, 1, r.steps.count(models.StepDeploy))
		require.Contains(t, s.Logs, "The build host was lost. Starting again on another...")
	}}
}

// sessionCreation is the SDK's activity that makes a session on a host.
const sessionCreation = "internalSessionCreationActivity"

// speechless takes sessions up and never says so.
type speechless struct {
	interceptor.WorkerInterceptorBase
}

func (*speechless) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &speechlessActivity{interceptor.ActivityInboundInterceptorBase{Next: next}}
}

type speechlessActivity struct {
	interceptor.ActivityInboundInterceptorBase
}

func (s *speechlessActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	if activity.GetInfo(ctx).ActivityType.Name == sessionCreation {
		select {}
	}
	return s.Next.ExecuteActivity(ctx, in)
}

// hostKilledEarlyScene takes away a build host between its taking the
// deployment up and its saying so.
func hostKilledEarlyScene() scene {
	return scene{name: "host-killed-early", steps: &steps{}, noBuilder: true, drive: func(t *testing.T, r *run) {
		host := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		host.Env = append(os.Environ(), doomedBuilder+"="+temporaltest.Start(t), doomedBuilder+"_QUEUE="+r.builds, doomedBuilder+"_EARLY=1")
		require.NoError(t, host.Start())
		require.Eventually(t, func() bool {
			description, _ := r.client.DescribeWorkflowExecution(t.Context(), r.row.ID, "") // nothing, if not in time
			for _, pending := range description.GetPendingActivities() {
				if pending.GetActivityType().GetName() == sessionCreation && pending.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED {
					return true
				}
			}
			return false
		}, patience, 50*time.Millisecond)
		require.NoError(t, host.Process.Kill())
		_ = host.Wait()
		r.startBuilder(t)
	}, outcome: models.OutcomeSucceeded, check: func(t *testing.T, r *run, s models.Status) {
		require.Equal(t, 1, r.steps.count(models.StepSync))
		require.Equal(t, 1, r.steps.count(models.StepSandbox))
		require.Contains(t, s.Logs, "The build host was lost. Starting again on another...")
	}}
}

func TestDeployment_onARealServer(t *testing.T) {
	for _, sc := range scenes() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			r := play(t, sc)
			keepHistory(t, sc.name, r.client, r.row.ID)
		})
	}
}

func TestSession_holdsOneSlotAndOnlyWhileItBuilds(t *testing.T) {
	t.Parallel()
	build, b := make(chan struct{}), &broken{}
	first := start(t, scene{steps: &steps{
		build: func(context.Context, models.StepInput) (models.BuildResult, error) {
			<-build
			return models.BuildResult{OutputDigest: "output"}, nil
		},
		deploy: b.deploy,
	}})
	first.await(t, func(s models.Status) bool { return s.CurrentStep == models.StepBuild })

	second := *first
	second.deploy(t, nil)
	waiting := second.await(t, func(s models.Status) bool { return s.CurrentStep == models.StepSandbox })
	require.Equal(t, "Waiting for a build slot...", waiting.Logs[len(waiting.Logs)-1], "the one slot is taken")
	close(build)
	first.awaitOutcome(t, models.OutcomeDeadLetter)
	second.awaitOutcome(t, models.OutcomeDeadLetter) // it got the slot although the first is parked
	b.mended.Store(true)
	for _, r := range []*run{first, &second} {
		_, err := r.update(t, models.SignalRetry)
		require.NoError(t, err)
		require.NoError(t, r.client.GetWorkflow(t.Context(), r.row.ID, "").Get(t.Context(), nil))
	}
}

// play takes a scene to its end and checks what every end has in common.
func play(t *testing.T, sc scene) *run {
	t.Helper()
	r := start(t, sc)
	if sc.drive != nil {
		sc.drive(t, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var result models.Status
	err := r.client.GetWorkflow(ctx, r.row.ID, "").Get(ctx, &result)
	var canceled *temporal.CanceledError
	var application *temporal.ApplicationError
	switch sc.outcome {
	case models.OutcomeCanceled:
		require.ErrorAs(t, err, &canceled)
		require.NoError(t, canceled.Details(&result))
	case models.OutcomeAbandoned:
		require.ErrorAs(t, err, &application)
		require.NoError(t, application.Details(&result))
	default:
		require.NoError(t, err)
	}
	require.Equal(t, sc.outcome, result.Outcome)
	require.Equal(t, result, r.query(t), "the query answers after the end")
	require.Equal(t, result.Version, r.steps.lastRecorded().Version, "the row has the last status")
	require.Equal(t, sc.outcome, r.steps.last(models.StepCleanup).Outcome)
	r.requireAttributes(t, string(sc.outcome), result.CurrentStep)
	_, err = r.update(t, models.SignalCancel)
	require.Error(t, err, "there is nothing left to cancel")
	if sc.check != nil {
		sc.check(t, r, result)
	}
	return r
}

func start(t *testing.T, sc scene) *run {
	t.Helper()
	queue := models.NewID("queue")
	r := &run{client: dial(t), steps: sc.steps, queue: queue, builds: queue + "-builds"}
	main := worker.New(r.client, r.queue, workerOptions(false))
	main.RegisterWorkflowWithOptions(Deployment, workflow.RegisterOptions{Name: models.WorkflowDeployment})
	sc.steps.register(main)
	require.NoError(t, main.Start())
	t.Cleanup(main.Stop)
	if !sc.noBuilder {
		r.startBuilder(t)
	}
	r.deploy(t, sc.input)
	return r
}

// deploy starts a deployment on the run's workers.
func (r *run) deploy(t testing.TB, change func(*models.DeploymentInput)) {
	t.Helper()
	in := input
	in.DeploymentID, in.BuildQueue = models.NewID(models.PrefixDeployment), r.builds
	if change != nil {
		change(&in)
	}
	encoded, err := json.Marshal(in)
	require.NoError(t, err)
	r.row = models.Deployment{
		ID: in.DeploymentID, ProjectID: in.ProjectID, OrganizationID: in.OrgID, Sequence: in.Sequence, Priority: 3, Input: encoded,
	}
	_, err = Start(t.Context(), r.client, r.row, r.queue)
	require.NoError(t, err)
}

func dial(t testing.TB) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: temporaltest.Start(t), Logger: quiet{}, ConnectionOptions: slowly})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// slowly gives a server on a busy machine its time to answer.
var slowly = client.ConnectionOptions{GetSystemInfoTimeout: patience}

// patience is how long a test waits for what must come: long, because only a test
// that fails waits for all of it.
const patience = 3 * time.Minute

// quiet drops the SDK's log: failing activities are what these tests are about.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

var _ log.Logger = quiet{}

func workerOptions(session bool) worker.Options {
	return worker.Options{
		EnableSessionWorker:               session,
		MaxConcurrentSessionExecutionSize: 1,
		// A cancel reaches an activity with a heartbeat: soon, here.
		MaxHeartbeatThrottleInterval: 50 * time.Millisecond,
	}
}

func (r *run) startBuilder(t *testing.T) {
	t.Helper()
	r.builder = worker.New(r.client, r.builds, workerOptions(true))
	r.steps.register(r.builder)
	require.NoError(t, r.builder.Start())
	t.Cleanup(sync.OnceFunc(r.builder.Stop))
}

func (r *run) signal(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, r.client.SignalWorkflow(t.Context(), r.row.ID, "", name, nil))
}

func (r *run) update(t *testing.T, name string) (status models.Status, err error) {
	t.Helper()
	handle, err := r.client.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: r.row.ID, UpdateName: name, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{models.OperatorAction{By: "usr_1"}},
	})
	if err != nil {
		return status, err
	}
	return status, handle.Get(t.Context(), &status)
}

func (r *run) query(t *testing.T) (status models.Status) {
	t.Helper()
	askStatus(t, r.client, r.row.ID, &status)
	return status
}

// askStatus asks a workflow's query. A worker answers it, which on a busy machine
// may take longer than the server waits.
func askStatus(t testing.TB, c client.Client, workflowID string, status any) {
	t.Helper()
	deadline := time.Now().Add(patience)
	value, err := c.QueryWorkflow(t.Context(), workflowID, "", models.QueryStatus)
	for err != nil && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		value, err = c.QueryWorkflow(t.Context(), workflowID, "", models.QueryStatus)
	}
	require.NoError(t, err)
	require.NoError(t, value.Get(status))
}

// await asks the query until the status is as wanted.
func (r *run) await(t *testing.T, wanted func(models.Status) bool) (status models.Status) {
	t.Helper()
	require.Eventually(t, func() bool {
		status = r.query(t)
		return wanted(status)
	}, patience, 50*time.Millisecond)
	return status
}

func (r *run) awaitStep(t *testing.T, step models.Step) {
	t.Helper()
	r.await(t, func(models.Status) bool { return r.steps.count(step) > 0 })
}

func (r *run) awaitOutcome(t *testing.T, outcome models.Outcome) {
	t.Helper()
	r.await(t, func(s models.Status) bool { return s.Outcome == outcome })
}

// requireAttributes checks what an operator's list of deployments shows.
func (r *run) requireAttributes(t *testing.T, status string, step models.Step) {
	t.Helper()
	description, err := r.client.DescribeWorkflowExecution(t.Context(), r.row.ID, "")
	require.NoError(t, err)
	fields := description.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()
	for name, want := range map[string]string{
		models.AttributeStatus: status, models.AttributeStep: string(step),
		models.AttributeOrganization: r.row.OrganizationID, models.AttributeProject: r.row.ProjectID,
	} {
		require.Equal(t, strconv.Quote(want), string(fields[name].GetData()), name)
	}
}

func requireCode(t *testing.T, err error, code models.Code) {
	t.Helper()
	var application *temporal.ApplicationError
	require.True(t, errors.As(err, &application), "%v", err)
	require.Equal(t, string(code), application.Type())
}
