package models

import "time"

// DeploymentStatus is the overall status of a deployment, as clients see it.
type DeploymentStatus string

// The four statuses. Which of several ends a deployment came to is its Outcome.
const (
	StatusQueued     DeploymentStatus = "queued"
	StatusInProgress DeploymentStatus = "in_progress"
	StatusCompleted  DeploymentStatus = "completed"
	StatusFailed     DeploymentStatus = "failed"
)

// Outcome says how a deployment ended, or that it is parked.
type Outcome string

const (
	// OutcomeNone: still on its way.
	OutcomeNone Outcome = ""
	// OutcomeSucceeded: its release went live.
	OutcomeSucceeded Outcome = "succeeded"
	// OutcomeSuperseded: built well, but a newer deployment was live already.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeRejected: failed for a reason of the user's.
	OutcomeRejected Outcome = "rejected"
	// OutcomeDeadLetter: failed for a reason of the platform's and parked; the
	// only outcome that is not final.
	OutcomeDeadLetter Outcome = "dead_letter"
	// OutcomeAbandoned: parked, then given up by an operator or by expiry.
	OutcomeAbandoned Outcome = "abandoned"
	// OutcomeCanceled: somebody stopped it.
	OutcomeCanceled Outcome = "canceled"
)

// Final says whether nothing more will happen to a deployment with this outcome.
func (o Outcome) Final() bool { return o != OutcomeNone && o != OutcomeDeadLetter }

// Status is the overall status that goes with an outcome.
func (o Outcome) Status() DeploymentStatus {
	switch o {
	case OutcomeNone:
		return StatusInProgress
	case OutcomeSucceeded, OutcomeSuperseded:
		return StatusCompleted
	default:
		return StatusFailed
	}
}

// Step names one of the six steps of a deployment.
type Step string

// The six steps, in their order.
const (
	StepValidate Step = "validate"
	StepSync     Step = "sync"
	StepSandbox  Step = "sandbox"
	StepBuild    Step = "build"
	StepDeploy   Step = "deploy"
	StepCleanup  Step = "cleanup"
)

// AllSteps lists the steps in the order they run.
func AllSteps() []Step {
	return []Step{StepValidate, StepSync, StepSandbox, StepBuild, StepDeploy, StepCleanup}
}

// Progress is the percentage shown while a step runs.
func (s Step) Progress() int {
	switch s {
	case StepValidate:
		return 10
	case StepSync:
		return 20
	case StepSandbox:
		return 40
	case StepBuild:
		return 60
	case StepDeploy:
		return 80
	case StepCleanup:
		return 95
	default:
		return 0
	}
}

// ProgressDone is the percentage of a deployment that has ended.
const ProgressDone = 100

// StepState is the state of one step.
type StepState string

// The states of a step. A step that was not needed is completed and Skipped.
const (
	StepPending    StepState = "pending"
	StepInProgress StepState = "in_progress"
	StepCompleted  StepState = "completed"
	StepFailed     StepState = "failed"
)

// StepStatus is one line of a status answer.
type StepStatus struct {
	Status StepState `json:"status" enum:"pending,in_progress,completed,failed" doc:"State of the step"`
	// Timestamp is when the step entered this state.
	Timestamp *time.Time `json:"timestamp,omitempty" doc:"When the step entered this state"`
	// StartedAt is when the step first began.
	StartedAt *time.Time `json:"startedAt,omitempty" doc:"When the step first began"`
	Error     string     `json:"error,omitempty" doc:"Why the step failed"`
	Skipped   bool       `json:"skipped,omitempty" doc:"True when the step was not needed"`
	Reason    string     `json:"reason,omitempty" doc:"Why the step was not needed" example:"The files are static."`
}

// Steps holds the status of each step under its name.
type Steps struct {
	Validate StepStatus `json:"validate"`
	Sync     StepStatus `json:"sync"`
	Sandbox  StepStatus `json:"sandbox"`
	Build    StepStatus `json:"build"`
	Deploy   StepStatus `json:"deploy"`
	Cleanup  StepStatus `json:"cleanup"`
}

// NewSteps has all six steps pending.
func NewSteps() Steps {
	p := StepStatus{Status: StepPending}
	return Steps{p, p, p, p, p, p}
}

// Of gives the status of a step for reading and writing; nil for an unknown step.
func (s *Steps) Of(step Step) *StepStatus {
	switch step {
	case StepValidate:
		return &s.Validate
	case StepSync:
		return &s.Sync
	case StepSandbox:
		return &s.Sandbox
	case StepBuild:
		return &s.Build
	case StepDeploy:
		return &s.Deploy
	case StepCleanup:
		return &s.Cleanup
	default:
		return nil
	}
}

// MaxStatusLines bounds Status.Logs: the newest lines are kept.
const MaxStatusLines = 100

// Status is the whole answer of GET /deploy-status and of the workflow query
// "status". It shows step lines only; build output needs a token.
type Status struct {
	DeploymentID string           `json:"deploymentId" doc:"Deployment id"`
	Status       DeploymentStatus `json:"status" enum:"queued,in_progress,completed,failed" doc:"Overall status"`
	CurrentStep  Step             `json:"currentStep,omitempty" doc:"The step that runs, or at which it stopped"`
	Progress     int              `json:"progress" minimum:"0" maximum:"100" doc:"Percentage"`
	Steps        Steps            `json:"steps"`
	Logs         []string         `json:"logs" doc:"Step lines, newest last, at most 100"`
	Error        string           `json:"error,omitempty" doc:"Why it failed"`
	Timestamp    time.Time        `json:"timestamp" doc:"When this status last changed"`

	Outcome   Outcome    `json:"outcome,omitempty" enum:"succeeded,superseded,rejected,dead_letter,abandoned,canceled" doc:"How it ended, or dead_letter while parked"`
	ErrorCode Code       `json:"errorCode,omitempty" doc:"Code of the error"`
	Diagnosis *Diagnosis `json:"diagnosis,omitempty" doc:"What went wrong in a failing build, and what to do"`
	ReleaseID string     `json:"releaseId,omitempty" doc:"The release it made"`
	URL       string     `json:"url,omitempty" doc:"Where the release answers"`
	// Retries counts operator retries of a parked deployment.
	Retries int `json:"retries,omitempty" doc:"How often a parked deployment was retried by hand"`
	// Stale is set on answers read from the database because no worker answered.
	Stale bool `json:"stale,omitempty" doc:"True when no worker answered and this is the last recorded state"`
	// Version grows with each change; the row keeps the highest it has seen.
	Version int64 `json:"version" doc:"Grows with each change"`
}

// Diagnosis explains a failing build.
type Diagnosis struct {
	// Step is the build phase that failed: install, build, bundle or collect.
	Step     string   `json:"step" doc:"install, build, bundle or collect"`
	Command  string   `json:"command,omitempty" doc:"The failing command" example:"npm run build"`
	ExitCode int      `json:"exitCode,omitempty" doc:"Its exit code"`
	Cause    string   `json:"cause,omitempty" doc:"The usual cause this looks like, by name" example:"missing-dependency"`
	Advice   string   `json:"advice,omitempty" doc:"One sentence that says what to do" example:"Add the package to package.json and deploy again."`
	Tail     []string `json:"tail,omitempty" doc:"Last lines of its output"`
}
