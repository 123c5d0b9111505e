package workflows

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

const (
	// firstCheck and longestCheck space the looks at DNS: people change a record
	// and watch, then go home.
	firstCheck   = 5 * time.Second
	longestCheck = 10 * time.Minute
	// checksPerRun bounds a run's history.
	checksPerRun = 200
)

// Domain verifies a custom domain: it looks at DNS, less and less often, until
// the domain is active or its time is over. The signal check has it look at once
// and begin with short waits again; the query status tells how far it is.
func Domain(ctx workflow.Context, in models.DomainInput) (models.DomainState, error) {
	var state models.DomainState
	if err := workflow.SetQueryHandler(ctx, models.QueryStatus, func() (models.DomainState, error) { return state, nil }); err != nil {
		return state, err
	}
	if in.Since.IsZero() {
		in.Since = workflow.Now(ctx)
	}
	asked := workflow.GetSignalChannel(ctx, models.SignalCheck)
	wait := firstCheck
	for range checksPerRun {
		drain(asked)
		if err := domainActivity(ctx, table.checkDomain, models.ActivityCheckDomain, in, &state); err != nil {
			return state, err
		}
		left := in.Timeout - workflow.Now(ctx).Sub(in.Since)
		if !state.Settled() && left <= 0 {
			if err := domainActivity(ctx, table.checkDomain, models.ActivityFailDomain, in, &state); err != nil {
				return state, err
			}
		}
		if state.Settled() {
			if drain(asked) && state.Status == models.DomainFailed {
				// The claim may have been made again since it failed.
				in.Since = time.Time{}
				return state, workflow.NewContinueAsNewError(ctx, Domain, in)
			}
			return state, nil
		}
		checkNow, err := pause(ctx, asked, min(wait, left))
		if err != nil {
			return state, err
		}
		if wait = min(2*wait, longestCheck); checkNow {
			wait = firstCheck
		}
	}
	return state, workflow.NewContinueAsNewError(ctx, Domain, in)
}

func domainActivity(ctx workflow.Context, p policy, name string, in models.DomainInput, state *models.DomainState) error {
	// Into a new one: what an answer leaves out must not stay from the one before.
	var found models.DomainState
	err := workflow.ExecuteActivity(p.activity(ctx), name, in).Get(ctx, &found)
	if err == nil {
		*state = found
	}
	return err
}

// pause waits, and says whether a signal ended the wait.
func pause(ctx workflow.Context, signals workflow.ReceiveChannel, wait time.Duration) (signaled bool, err error) {
	timerCtx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimer(timerCtx, wait)
	workflow.NewSelector(ctx).
		AddReceive(signals, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil); signaled = true }).
		AddFuture(timer, func(f workflow.Future) { err = f.Get(ctx, nil) }).
		Select(ctx)
	return signaled, err
}

// drain drops signals that came before there was anything to end by them, and
// says whether there were any.
func drain(signals workflow.ReceiveChannel) (some bool) {
	for signals.ReceiveAsync(nil) {
		some = true
	}
	return some
}

// CheckDomain has a domain looked at now: it starts the workflow of a claim that
// has none, and signals the one that runs. It returns the run's id. CodeQueue
// when Temporal does not answer.
func CheckDomain(ctx context.Context, c client.Client, d models.Domain, timeout time.Duration, taskQueue string) (runID string, err error) {
	input := models.DomainInput{DomainID: d.ID, Host: d.Host, Timeout: timeout}
	run, err := c.SignalWithStartWorkflow(ctx, d.ID, models.SignalCheck, nil, client.StartWorkflowOptions{
		ID: d.ID, TaskQueue: taskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			AttributeOrganization.ValueSet(d.OrganizationID), AttributeProject.ValueSet(d.ProjectID),
		),
		StaticSummary: "domain " + d.Host,
	}, models.WorkflowDomain, input)
	if err != nil {
		return "", models.Wrap(models.CodeQueue, err, "The domain could not be queued for verification. Try again in a moment.")
	}
	return run.GetRunID(), nil
}
