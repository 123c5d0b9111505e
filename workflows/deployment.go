// Package workflows holds the one workflow of Slipway: a deployment, from the
// files of a request to a live release. It names the steps and their inputs and
// results, which live in models; what a step does is the activities' business.
//
// The files, in reading order: deployment.go is the whole story, session.go
// the part of it that runs on a build host, park.go what becomes of a dead
// letter, control.go how people reach in, and then the instruments: progress.go
// (the status), recorder.go (its projection), failure.go (whose fault it is) and
// policy.go (timeouts and retries).
//
// Workflow code is replayed from history. A change that alters the commands of
// a deployment already under way goes behind workflow.GetVersion; the recorded
// histories in testdata guard that.
package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// Deployment brings one source live. It is registered under
// models.WorkflowDeployment and its workflow id is the deployment id.
//
// The query models.QueryStatus answers its status at any time, also after the
// end. The signals and Updates retry, abandon and cancel are described at
// deployment.listen.
//
// How the execution closes is for operators: Completed with the last status
// when the deployment succeeded, was superseded, or failed for a reason of the
// user's; Canceled when somebody stopped it; Failed, with the code of the
// failure as the error's type, when the platform failed it and it was given up.
// See docs/decisions/0003.
func Deployment(ctx workflow.Context, in models.DeploymentInput) (models.Status, error) {
	ctx, stop := workflow.WithCancel(ctx)
	d := &deployment{
		input:    models.StepInput{Deployment: in},
		progress: newProgress(ctx, in.DeploymentID),
		stop:     stop,
	}
	if err := d.listen(ctx); err != nil {
		return d.Status, err
	}
	d.recorder.start(ctx, &d.progress)
	return d.run(ctx)
}

// deployment is the state of one execution.
type deployment struct {
	// input is what the next step gets: the start's input and the results so far.
	input models.StepInput
	progress
	recorder recorder
	control
	// passed counts the stages that are done; a retry resumes behind them.
	passed int
	// lostHosts counts the build hosts lost since the deployment was last started.
	lostHosts int
	// host is the build host whose slot is held, if any.
	host *buildHost
	// slots counts the slots waited for, held, or on their way back.
	slots int
	// stop cancels the work; cleanup and the projection go on.
	stop workflow.CancelFunc
}

// run takes the deployment to its end, through as many dead letters and
// retries as it needs.
func (d *deployment) run(ctx workflow.Context) (models.Status, error) {
	for {
		failure := d.pass(ctx)
		switch {
		case failure == nil:
			return d.end(ctx, d.liveOutcome())
		case failure.canceled:
			return d.end(ctx, models.OutcomeCanceled)
		case failure.Class == models.ClassUser:
			return d.end(ctx, models.OutcomeRejected)
		case failure.hostLost && d.lostHosts < sessionsPerPass:
			continue
		}
		if outcome := d.park(ctx, failure); outcome.Final() {
			return d.end(ctx, outcome)
		}
	}
}

// pass goes through the stages from the first that is not done, and returns the
// failure that stopped it, if any.
func (d *deployment) pass(ctx workflow.Context) *failure {
	stages := []func(workflow.Context) *failure{d.validate, d.sync, d.build, d.deploy}
	for ; d.passed < len(stages); d.passed++ {
		if failure := stages[d.passed](ctx); failure != nil {
			return failure
		}
	}
	return nil
}

func (d *deployment) validate(ctx workflow.Context) *failure {
	var result models.ValidateResult
	if failure := d.step(ctx, models.StepValidate, &result); failure != nil {
		return failure
	}
	d.input.WorkerName = result.WorkerName
	d.complete(ctx, models.StepValidate, "")
	return nil
}

func (d *deployment) sync(ctx workflow.Context) *failure {
	var result models.SyncResult
	if failure := d.step(ctx, models.StepSync, &result); failure != nil {
		return failure
	}
	d.input.Sync = &result
	d.complete(ctx, models.StepSync, "")
	return nil
}

// build makes the output, in a sandbox only when there is something to run. A
// build that returns no output found the earlier one incomplete, so the source
// is built after all.
func (d *deployment) build(ctx workflow.Context) *failure {
	switch {
	case !d.input.Sync.NeedsSandbox:
		d.skip(ctx, models.StepSandbox, "Plain files: there is nothing to run.")
	case d.input.Sync.CachedOutput != "":
		d.skip(ctx, models.StepSandbox, "The same source was built before.")
	default:
		return d.buildInSandbox(ctx)
	}
	var result models.BuildResult
	if failure := d.step(ctx, models.StepBuild, &result); failure != nil {
		return failure
	}
	if result.OutputDigest == "" && d.input.Sync.CachedOutput != "" {
		d.input.Sync.CachedOutput = ""
		return d.buildInSandbox(ctx)
	}
	d.built(ctx, result)
	return nil
}

func (d *deployment) built(ctx workflow.Context, result models.BuildResult) {
	d.input.Build = &result
	line := result.Summary
	if result.Cached && line == "" {
		line = "The result of an earlier build of the same source was used."
	}
	d.complete(ctx, models.StepBuild, line)
}

func (d *deployment) deploy(ctx workflow.Context) *failure {
	var result models.DeployResult
	if failure := d.step(ctx, models.StepDeploy, &result); failure != nil {
		return failure
	}
	d.input.Deploy = &result
	d.ReleaseID, d.URL = result.ReleaseID, result.URL
	d.complete(ctx, models.StepDeploy, "")
	return nil
}

func (d *deployment) liveOutcome() models.Outcome {
	if d.input.Deploy.Superseded {
		return models.OutcomeSuperseded
	}
	return models.OutcomeSucceeded
}

// step runs the activity of a step, which has the step's name. No attempt may
// take longer than the deployment's active time; waiting for a worker is not
// counted, which only Temporal can tell apart.
func (d *deployment) step(ctx workflow.Context, step models.Step, result any) *failure {
	return d.stepOn(ctx, policyOf(step).within(d.input.Deployment.ActiveTimeout).activity(ctx), step, result)
}

// stepOn runs a step in a context of its own, such as a build host's.
func (d *deployment) stepOn(ctx, on workflow.Context, step models.Step, result any) *failure {
	d.begin(ctx, step)
	if err := workflow.ExecuteActivity(on, string(step), d.input).Get(ctx, result); err != nil {
		return d.failed(ctx, step, err)
	}
	return nil
}

// end is the way out of every deployment: cleanup, the last status, and nothing
// left undone behind it.
func (d *deployment) end(ctx workflow.Context, outcome models.Outcome) (models.Status, error) {
	d.decided = outcome
	if d.canceled && outcome != models.OutcomeCanceled {
		d.say(ctx, "It was too late to cancel.")
	}
	input := d.input
	input.Outcome, input.Error, input.ErrorCode = outcome, d.Error, d.ErrorCode
	d.begin(ctx, models.StepCleanup)
	if err := d.cleanup(ctx, table.cleanup, input); err != nil {
		d.leave(ctx, stepFailure(err))
	} else {
		d.complete(ctx, models.StepCleanup, "")
	}
	d.close(ctx, outcome)

	ctx, _ = workflow.NewDisconnectedContext(ctx)
	// The slot is back, the row has the last status, and an Update accepted in
	// the last workflow task is answered.
	err := workflow.Await(ctx, func() bool {
		return d.slots == 0 && d.recorder.settled() && workflow.AllHandlersFinished(ctx)
	})
	if err != nil {
		return d.Status, err
	}
	return d.Status, d.closeError()
}

// cleanup gives back what the deployment holds, also when it was canceled.
// While it holds a build host, cleanup runs there, where the sandbox is, and the
// slot is given back after it.
func (d *deployment) cleanup(ctx workflow.Context, p policy, input models.StepInput) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if host := d.host; host != nil {
		err := host.cleanup(ctx, input)
		d.giveBackSlot()
		if err == nil {
			return nil
		}
	}
	ctx = p.activity(ctx)
	return workflow.ExecuteActivity(ctx, string(models.StepCleanup), input).Get(ctx, nil)
}

// closeError decides how the execution closes; nil is Completed.
func (d *deployment) closeError() error {
	switch d.Outcome {
	case models.OutcomeCanceled:
		return temporal.NewCanceledError(d.Status)
	case models.OutcomeAbandoned:
		return temporal.NewNonRetryableApplicationError(d.Error, string(d.ErrorCode), nil, d.Status)
	default:
		return nil
	}
}
