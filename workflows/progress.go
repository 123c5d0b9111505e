package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// progress keeps the status that the query answers and the row mirrors. Every
// change goes through its methods, each of which raises the version once.
type progress struct {
	models.Status
}

func newProgress(ctx workflow.Context, deploymentID string) progress {
	return progress{models.QueuedStatus(deploymentID, workflow.Now(ctx).UTC())}
}

// openingLine is what the status says when a step begins.
func openingLine(step models.Step) string {
	switch step {
	case models.StepValidate:
		return "Validating deployment parameters..."
	case models.StepSync:
		return "Syncing project data..."
	case models.StepSandbox:
		return "Creating sandbox environment..."
	case models.StepBuild:
		return "Building project..."
	case models.StepDeploy:
		return "Deploying release..."
	default:
		return "Cleaning up..."
	}
}

// begin marks a step as running.
func (p *progress) begin(ctx workflow.Context, step models.Step) {
	p.mark(ctx, step, models.StepInProgress)
	p.say(ctx, openingLine(step))
}

// queue marks the step sandbox as begun while it waits for a build slot. A build
// that comes after an earlier one begins anew.
func (p *progress) queue(ctx workflow.Context) {
	if p.Steps.Build.Status != models.StepPending {
		p.set(ctx, models.StepBuild, models.StepStatus{Status: models.StepPending})
	}
	p.mark(ctx, models.StepSandbox, models.StepInProgress)
	p.say(ctx, "Waiting for a build slot...")
}

// complete marks a step as done, with a line when there is something to say.
func (p *progress) complete(ctx workflow.Context, step models.Step, line string) {
	p.set(ctx, step, models.StepStatus{Status: models.StepCompleted})
	p.say(ctx, line)
}

// skip marks a step as not needed.
func (p *progress) skip(ctx workflow.Context, step models.Step, reason string) {
	p.CurrentStep, p.Progress = step, step.Progress()
	p.set(ctx, step, models.StepStatus{Status: models.StepCompleted, Skipped: true, Reason: reason})
	p.say(ctx, "No sandbox needed. "+reason)
}

// fail marks a step and with it the deployment as failed; the overall status
// follows when it is parked or closed.
func (p *progress) fail(ctx workflow.Context, step models.Step, f models.StepFailure) {
	p.set(ctx, step, models.StepStatus{Status: models.StepFailed, Error: f.Message})
	p.Error, p.ErrorCode, p.Diagnosis = f.Message, f.Code, f.Diagnosis
	p.say(ctx, fmt.Sprintf("Step %s failed: %s", step, f.Message))
}

// halt marks a step that was stopped by a cancel. A step that had failed before
// keeps its error.
func (p *progress) halt(ctx workflow.Context, step models.Step, message string) {
	if p.Steps.Of(step).Status == models.StepInProgress {
		p.set(ctx, step, models.StepStatus{Status: models.StepFailed, Error: message})
	}
	p.Error, p.ErrorCode, p.Diagnosis = message, models.CodeCanceled, nil
	p.changed(ctx)
}

// leave marks a cleanup that did not finish. What the deployment came to stands.
func (p *progress) leave(ctx workflow.Context, f models.StepFailure) {
	p.set(ctx, models.StepCleanup, models.StepStatus{Status: models.StepFailed, Error: f.Message})
	p.say(ctx, "Cleanup did not finish; the sweeper does the rest.")
}

// bury shows the deployment as a dead letter.
func (p *progress) bury(ctx workflow.Context) {
	p.Outcome = models.OutcomeDeadLetter
	p.Status.Status = p.Outcome.Status()
	p.say(ctx, "Parked. The fault is on our side; it can be retried at this step.")
}

// revive shows a dead letter as running again, at the step that failed.
func (p *progress) revive(ctx workflow.Context, line string) {
	p.Retries++
	p.Error, p.ErrorCode, p.Diagnosis = "", "", nil
	p.mark(ctx, p.CurrentStep, models.StepInProgress)
	p.say(ctx, line)
}

// close shows the end. A deployment that did not make it keeps the step at
// which it stopped.
func (p *progress) close(ctx workflow.Context, outcome models.Outcome) {
	p.Outcome, p.Status.Status, p.Progress = outcome, outcome.Status(), models.ProgressDone
	for _, step := range models.AllSteps() {
		if step != models.StepCleanup && p.Steps.Of(step).Status == models.StepFailed {
			p.CurrentStep = step
		}
	}
	p.say(ctx, closingLine(p.Status))
}

func closingLine(s models.Status) string {
	switch s.Outcome {
	case models.OutcomeSucceeded:
		return strings.TrimSpace("Deployed. " + s.URL)
	case models.OutcomeSuperseded:
		return "A newer deployment is live already; this one was not made live."
	case models.OutcomeCanceled:
		return "Deployment canceled."
	case models.OutcomeAbandoned:
		return "Deployment abandoned."
	default:
		return "Deployment failed."
	}
}

// say adds a line, keeping the newest; an empty one changes only the version.
func (p *progress) say(ctx workflow.Context, line string) {
	if line != "" {
		p.Logs = append(p.Logs, line)
		if extra := len(p.Logs) - models.MaxStatusLines; extra > 0 {
			p.Logs = slices.Delete(p.Logs, 0, extra)
		}
	}
	p.changed(ctx)
}

// mark makes a step the current one, in the given state.
func (p *progress) mark(ctx workflow.Context, step models.Step, state models.StepState) {
	p.Outcome, p.Status.Status = models.OutcomeNone, models.StatusInProgress
	p.CurrentStep, p.Progress = step, step.Progress()
	p.set(ctx, step, models.StepStatus{Status: state})
}

// set replaces the status of a step, keeping when it first began.
func (p *progress) set(ctx workflow.Context, step models.Step, s models.StepStatus) {
	now := workflow.Now(ctx).UTC()
	of := p.Steps.Of(step)
	s.Timestamp, s.StartedAt = &now, of.StartedAt
	if s.StartedAt == nil && s.Status == models.StepInProgress {
		s.StartedAt = &now
	}
	*of = s
}

func (p *progress) changed(ctx workflow.Context) {
	p.Version++
	p.Timestamp = workflow.Now(ctx).UTC()
	workflow.SetCurrentDetails(ctx, details(p.Status))
}

// snapshot is a copy that later changes do not touch: a local activity gets its
// argument by reference.
func (p *progress) snapshot() models.Status {
	s := p.Status
	s.Logs = slices.Clone(s.Logs)
	return s
}

// details is what the Web UI shows on the page of the workflow.
func details(s models.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**", attributeStatus(s))
	if s.CurrentStep != "" {
		fmt.Fprintf(&b, " at `%s` (%d %%)", s.CurrentStep, s.Progress)
	}
	b.WriteString("\n\n")
	if s.Error != "" {
		fmt.Fprintf(&b, "`%s` %s\n\n", s.ErrorCode, s.Error)
	}
	if s.Outcome == models.OutcomeDeadLetter {
		b.WriteString("Send the signal `retry` once the cause is mended, or `abandon`.\n\n")
	}
	if s.URL != "" {
		fmt.Fprintf(&b, "%s\n\n", s.URL)
	}
	for _, line := range s.Logs[max(0, len(s.Logs)-10):] {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	return b.String()
}
