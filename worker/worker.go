// Package worker runs the workflows and their steps on their task queues, keeps
// rows and workflows in agreement, and sweeps its host.
package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	temporalworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/activities"
	"github.com/slipwayhq/slipway/collect"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/workflows"
)

// Options is what a worker needs.
type Options struct {
	Temporal   client.Client
	Store      *models.Store
	Activities *activities.Activities
	// Queue takes workflows and light steps; BuildQueue takes sandbox and build.
	Queue, BuildQueue string
	// Builds is how many builds this host runs at once; 0 means it does not build.
	Builds int
	// DomainTimeout is how long a custom domain may take to become active.
	DomainTimeout  time.Duration
	ReconcileEvery time.Duration
	// Collector deletes objects that nothing refers to; nil leaves them.
	Collector *collect.Collector
	Log       logrus.FieldLogger
	// Interceptors surround workflows and steps, outside of those that every step has.
	Interceptors []interceptor.WorkerInterceptor
	// Started, when set, is called once all task queues are polled.
	Started func()
}

// stopTimeout is how long running steps may go on after a stop was asked for.
const stopTimeout = 5 * time.Second

// collectPoll is how often it is seen whether an organization's objects are due.
const collectPoll = time.Minute

// Run polls until ctx ends, then lets running steps finish for a moment. Steps
// cut short run again elsewhere.
func Run(ctx context.Context, opts Options) error {
	workers := []temporalworker.Worker{
		newWorker(opts, opts.Queue, temporalworker.Options{}),
		newWorker(opts, models.WebhookQueue(opts.Queue), temporalworker.Options{
			DisableWorkflowWorker: true, MaxConcurrentActivityExecutionSize: webhooksAtOnce,
		}),
	}
	if opts.Builds > 0 {
		// Before a host takes builds, it clears away what a killed process left.
		if err := opts.Activities.Sweep(ctx); err != nil {
			return fmt.Errorf("sweep old sandboxes: %w", err)
		}
		workers = append(workers, newWorker(opts, opts.BuildQueue, temporalworker.Options{
			EnableSessionWorker:               true,
			MaxConcurrentSessionExecutionSize: opts.Builds,
			DisableWorkflowWorker:             true,
		}))
	}
	for _, w := range workers {
		if err := w.Start(); err != nil {
			return fmt.Errorf("poll the task queues: %w", err)
		}
		defer w.Stop()
	}
	if opts.Started != nil {
		opts.Started()
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return every(ctx, opts.ReconcileEvery, opts.Log, "reconcile", (&reconciler{opts}).reconcile)
	})
	post := &courier{opts}
	group.Go(func() error { return post.run(ctx) })
	group.Go(func() error {
		return every(ctx, sweepDeliveriesEvery, opts.Log, "sweep deliveries", post.sweepDeliveries)
	})
	if opts.Collector != nil {
		group.Go(func() error {
			return every(ctx, collectPoll, opts.Log, "collect unreferred blobs", opts.Collector.Due)
		})
	}
	if opts.Builds > 0 {
		group.Go(func() error { return every(ctx, time.Minute, opts.Log, "sweep", opts.Activities.Sweep) })
	}
	return group.Wait()
}

func newWorker(opts Options, queue string, o temporalworker.Options) temporalworker.Worker {
	o.WorkerStopTimeout = stopTimeout
	o.MaxHeartbeatThrottleInterval = activities.HeartbeatInterval
	o.DefaultHeartbeatThrottleInterval = activities.HeartbeatInterval
	o.Interceptors = append(slices.Clone(opts.Interceptors), opts.Activities.Interceptor())
	w := temporalworker.New(opts.Temporal, queue, o)
	if !o.DisableWorkflowWorker {
		w.RegisterWorkflowWithOptions(workflows.Deployment, workflow.RegisterOptions{Name: models.WorkflowDeployment})
		w.RegisterWorkflowWithOptions(workflows.Domain, workflow.RegisterOptions{Name: models.WorkflowDomain})
		w.RegisterWorkflowWithOptions(workflows.Rollout, workflow.RegisterOptions{Name: models.WorkflowRollout})
		w.RegisterWorkflowWithOptions(workflows.Webhook, workflow.RegisterOptions{Name: models.WorkflowWebhook})
	}
	registerSteps(w, opts.Activities)
	return w
}

// registerSteps names the activities on a worker: each has the name of its step.
func registerSteps(w temporalworker.ActivityRegistry, a *activities.Activities) {
	for name, fn := range map[string]any{
		string(models.StepValidate): a.Validate,
		string(models.StepSync):     a.Sync,
		string(models.StepSandbox):  a.Sandbox,
		string(models.StepBuild):    a.Build,
		string(models.StepDeploy):   a.Deploy,
		string(models.StepCleanup):  a.Cleanup,
		models.ActivityRecord:       a.Record,
		models.ActivityCheckDomain:  a.CheckDomain,
		models.ActivityFailDomain:   a.FailDomain,

		models.ActivityWeighRollout:   a.WeighRollout,
		models.ActivityMeasureRollout: a.MeasureRollout,
		models.ActivityEndRollout:     a.EndRollout,

		models.ActivitySendWebhook: a.SendWebhook,
	} {
		w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// every calls fn at once and then at each interval; its failures are logged,
// because the next round may mend them.
func every(ctx context.Context, interval time.Duration, log logrus.FieldLogger, what string, fn func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			log.WithError(err).Warn(what + " failed; trying again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
