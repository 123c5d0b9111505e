package workflows

import (
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// failure is why a pass stopped.
type failure struct {
	models.StepFailure
	// canceled: somebody stopped the deployment.
	canceled bool
	// hostLost: the build host went away under it.
	hostLost bool
}

// failed decides whose failure an error is and marks the step. Once the work
// was canceled, by somebody or because its time was up, a step's error is a
// consequence of that, whatever it says.
func (d *deployment) failed(ctx workflow.Context, step models.Step, err error) *failure {
	f := &failure{StepFailure: stepFailure(err)}
	switch {
	case d.host != nil && d.host.lost() && !d.canceled:
		if d.lostHosts+1 < sessionsPerPass {
			return d.lose(ctx)
		}
		f.StepFailure, f.hostLost = hostLost(), true
	case d.canceled:
		f.canceled = true
		d.halt(ctx, step, d.canceledBy)
		return f
	case d.host != nil && d.host.expired:
		f.StepFailure = timeUp(d.input.Deployment.ActiveTimeout, step)
	}
	d.fail(ctx, step, f.StepFailure)
	return f
}

// lose says that a build host went away and another one takes over.
func (d *deployment) lose(ctx workflow.Context) *failure {
	d.say(ctx, "The build host was lost. Starting again on another...")
	return &failure{StepFailure: hostLost(), hostLost: true}
}

func hostLost() models.StepFailure {
	return platformFailure(models.CodeSandbox, "The host that built this was lost.")
}

// silentHost says whether an error means that a host took work up and then was
// not heard of any more.
func silentHost(err error) bool {
	var timeout *temporal.TimeoutError
	return errors.As(err, &timeout) && timeout.TimeoutType() == enumspb.TIMEOUT_TYPE_HEARTBEAT
}

// timeUp is the failure of a deployment whose active time is up while it holds a
// build host. What takes its time in a build is the user's code; making the
// sandbox is ours.
func timeUp(limit time.Duration, step models.Step) models.StepFailure {
	if step != models.StepBuild {
		return tooLong()
	}
	return models.StepFailure{
		Code:    models.CodeDeploymentTimeout,
		Class:   models.ClassUser,
		Message: fmt.Sprintf("The build took longer than the %s a deployment may take. Make it faster, or ask for more time.", limit),
		Diagnosis: &models.Diagnosis{
			Step: "build", Cause: "timeout", Advice: "Find out what the build waits for, or make it do less.",
		},
	}
}

// tooLong is the failure of a step of ours that did not end in time.
func tooLong() models.StepFailure {
	return platformFailure(models.CodeDeploymentTimeout, "This took longer than it may.")
}

// stepFailure reads the error of an activity. What does not come from the
// activity itself, such as a timeout or a lost host, is the platform's.
func stepFailure(err error) models.StepFailure {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		var f models.StepFailure
		if application.HasDetails() && application.Details(&f) == nil && f.Code != "" {
			return f
		}
		return platformFailure(models.CodeInternal, "Something went wrong on our side.")
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		switch timeout.TimeoutType() {
		case enumspb.TIMEOUT_TYPE_HEARTBEAT:
			return platformFailure(models.CodeInternal, "The host that worked on this stopped answering.")
		case enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START:
			return platformFailure(models.CodeSandbox, "No host became free in time.")
		default:
			return tooLong()
		}
	}
	if errors.Is(err, workflow.ErrSessionFailed) {
		return hostLost()
	}
	return platformFailure(models.CodeInternal, "Something went wrong on our side.")
}

func platformFailure(code models.Code, message string) models.StepFailure {
	return models.StepFailure{Code: code, Class: models.ClassPlatform, Message: message}
}
