package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/workflows"
)

const (
	rowWorkflow  = "six steps that do nothing, as a deployment"
	peerWorkflow = "a bare Temporal workflow of six activities"

	aimWorkflow = 1.5
)

// workflowRows runs the deployment's workflow, with its session, status and
// projection, on steps that do nothing, and a workflow that only calls six
// activities; both on the system's Temporal, on workers of this process.
func workflowRows(ctx context.Context, b *bench) ([]row, error) {
	c, err := b.system.dialTemporal(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ours, err := startSteps(c, workflows.Deployment, "bench-deployment")
	if err != nil {
		return nil, err
	}
	defer ours.worker.Stop()
	bare, err := startSteps(c, sixActivities, "bench-bare")
	if err != nil {
		return nil, err
	}
	defer bare.worker.Stop()

	r := row{name: rowWorkflow, peer: peerWorkflow, unit: seconds, aim: aimWorkflow}
	const warmUp = 2 // connections are made, caches are filled
	var lastOurs, lastBare string
	for turn := range warmUp + b.workflowPairs {
		var p pair
		if p.ours, lastOurs, err = ours.run(ctx); err != nil {
			return nil, fmt.Errorf("the deployment: %w", err)
		}
		if p.theirs, lastBare, err = bare.run(ctx); err != nil {
			return nil, fmt.Errorf("the bare workflow: %w", err)
		}
		if turn >= warmUp {
			r.pairs = append(r.pairs, p)
		}
	}
	sizeOurs, err := historyOf(ctx, c, lastOurs)
	if err != nil {
		return nil, err
	}
	sizeBare, err := historyOf(ctx, c, lastBare)
	r.look = fmt.Sprintf("  ours makes %s\n  bare makes %s\n  look for workflow tasks and activities that could be saved (each is a round trip to the server), and for waits", sizeOurs, sizeBare)
	return []row{r}, err
}

func (s *system) dialTemporal(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: s.TemporalAddress, Logger: silent{}})
}

// sixActivities is the peer.
func sixActivities(ctx workflow.Context, in models.DeploymentInput) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for _, step := range models.AllSteps() {
		if err := workflow.ExecuteActivity(ctx, string(step), models.StepInput{Deployment: in}).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// steps is a worker with a workflow and activities that do nothing.
type steps struct {
	client client.Client
	worker worker.Worker
	queue  string
}

func startSteps(c client.Client, run any, queue string) (*steps, error) {
	w := worker.New(c, queue, worker.Options{EnableSessionWorker: true, MaxConcurrentSessionExecutionSize: 1})
	w.RegisterWorkflowWithOptions(run, workflow.RegisterOptions{Name: models.WorkflowDeployment})
	for name, fn := range map[string]any{
		string(models.StepValidate): func(context.Context, models.StepInput) (models.ValidateResult, error) {
			return models.ValidateResult{WorkerName: "shop"}, nil
		},
		string(models.StepSync): func(context.Context, models.StepInput) (models.SyncResult, error) {
			return models.SyncResult{SourceDigest: "source", Files: 3, NeedsSandbox: true}, nil
		},
		string(models.StepSandbox): func(context.Context, models.StepInput) (models.SandboxResult, error) {
			return models.SandboxResult{SandboxID: "box", Host: "host"}, nil
		},
		string(models.StepBuild): func(context.Context, models.StepInput) (models.BuildResult, error) {
			return models.BuildResult{OutputDigest: "output", Summary: "Built 3 files."}, nil
		},
		string(models.StepDeploy): func(context.Context, models.StepInput) (models.DeployResult, error) {
			return models.DeployResult{ReleaseID: "rel_1", URL: "http://shop.localhost/"}, nil
		},
		string(models.StepCleanup): func(context.Context, models.StepInput) error { return nil },
		models.ActivityRecord:      func(context.Context, models.Status) error { return nil },
	} {
		w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	if err := w.Start(); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	return &steps{client: c, worker: w, queue: queue}, nil
}

// workflowPatience bounds one execution.
const workflowPatience = time.Minute

// run is one execution, in seconds from its start to its result.
func (s *steps) run(ctx context.Context) (took float64, id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, workflowPatience)
	defer cancel()
	input := models.DeploymentInput{DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: "prj_1", OrgID: "org_1", UserID: "usr_1",
		Sequence: 1, ActiveTimeout: time.Minute, ParkTimeout: time.Hour, BuildQueue: s.queue}
	encoded, err := json.Marshal(input)
	if err != nil {
		return 0, "", err
	}
	began := time.Now()
	d := models.Deployment{ID: input.DeploymentID, ProjectID: input.ProjectID, OrganizationID: input.OrgID, Priority: 3, Input: encoded}
	if _, err := workflows.Start(ctx, s.client, d, s.queue); err != nil {
		return 0, "", err
	}
	err = s.client.GetWorkflow(ctx, d.ID, "").Get(ctx, nil)
	return time.Since(began).Seconds(), d.ID, err
}

// silent drops the SDK's log: the table is the only output.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
