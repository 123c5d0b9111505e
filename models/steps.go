package models

import "time"

// Names that cross process boundaries. They are part of the operator's
// interface (tctl, temporal, the Web UI) and never change.
const (
	WorkflowDeployment = "Deployment"
	QueryStatus        = "status"
	// SignalRetry, SignalAbandon and SignalCancel are the names of the bare
	// signals and of the validated Updates that share their handlers.
	SignalRetry   = "retry"
	SignalAbandon = "abandon"
	SignalCancel  = "cancel"
	// ActivityRecord is the local activity that projects a status onto the row.
	ActivityRecord = "record"
)

// Search attributes of the deployment workflow, all of type Keyword.
const (
	AttributeStatus       = "DeploymentStatus"
	AttributeOrganization = "OrganizationId"
	AttributeProject      = "ProjectId"
	AttributeStep         = "CurrentStep"
)

// DeploymentInput starts the workflow. It holds ids, digests and settings only:
// files, logs and results live in blob storage.
type DeploymentInput struct {
	DeploymentID string `json:"deploymentId"`
	ProjectID    string `json:"projectId"`
	OrgID        string `json:"orgId"`
	UserID       string `json:"userId"`
	CustomDomain string `json:"customDomain,omitempty"`
	// RequestDigest names the blob with the request's FileSet; "" when the
	// request brought no files.
	RequestDigest string `json:"requestDigest,omitempty"`
	// FromReleaseID is set when nothing but settings changed: the deployment makes
	// a new release of what that one was made of, without a build.
	FromReleaseID string `json:"fromReleaseId,omitempty"`
	// Commit is the commit the files are of, where the caller said so.
	Commit string `json:"commit,omitempty"`
	// Preview makes the release without bringing it live: it answers at its own
	// address only.
	Preview bool `json:"preview,omitempty"`
	// Sequence orders the deployments of a project.
	Sequence int64 `json:"sequence"`
	// ActiveTimeout bounds the time spent working: neither queued nor parked.
	ActiveTimeout time.Duration `json:"activeTimeout"`
	// ParkTimeout is how long a dead letter waits before it is abandoned.
	ParkTimeout time.Duration `json:"parkTimeout"`
	// BuildQueue is the task queue of the hosts that build.
	BuildQueue string `json:"buildQueue"`
}

// StepInput is what every step gets.
type StepInput struct {
	Deployment DeploymentInput `json:"deployment"`
	// Results so far; a step reads those of the steps before it.
	WorkerName string      `json:"workerName,omitempty"`
	Sync       *SyncResult `json:"sync,omitempty"`
	// SandboxID is set once there is one.
	SandboxID string        `json:"sandboxId,omitempty"`
	Build     *BuildResult  `json:"build,omitempty"`
	Deploy    *DeployResult `json:"deploy,omitempty"`
	// Outcome is set for cleanup only, where it is what the deployment came to.
	Outcome Outcome `json:"outcome,omitempty"`
	// Error and ErrorCode say, for cleanup, why it failed.
	Error     string `json:"error,omitempty"`
	ErrorCode Code   `json:"errorCode,omitempty"`
	// Parking says that cleanup runs because the deployment is being parked:
	// what it holds is given back except its quota reservation.
	Parking bool `json:"parking,omitempty"`
}

// ValidateResult is the result of the step validate.
type ValidateResult struct {
	WorkerName string `json:"workerName"`
}

// SyncResult is the result of the step sync.
type SyncResult struct {
	// SourceDigest names the blob with the source's FileSet.
	SourceDigest string `json:"sourceDigest"`
	Files        int    `json:"files"`
	Bytes        int64  `json:"bytes"`
	// NeedsSandbox is false when there is nothing to run: plain files.
	NeedsSandbox bool `json:"needsSandbox"`
	// CachedOutput names the output of an earlier build of the same source with
	// the same settings and toolchain; "" when there is none.
	CachedOutput string `json:"cachedOutput,omitempty"`
	Framework    string `json:"framework,omitempty"`
	// FromReleaseID is the release that the source is of, when nothing but settings
	// changed: the one that was live.
	FromReleaseID string `json:"fromReleaseId,omitempty"`
}

// SandboxResult is the result of the step sandbox.
type SandboxResult struct {
	SandboxID string `json:"sandboxId"`
	Host      string `json:"host"`
}

// BuildResult is the result of the step build.
type BuildResult struct {
	// OutputDigest names the blob with the output's FileSet.
	OutputDigest string `json:"outputDigest"`
	Files        int    `json:"files"`
	Bytes        int64  `json:"bytes"`
	Framework    string `json:"framework,omitempty"`
	// Cached says that the result of an earlier build was used.
	Cached bool `json:"cached,omitempty"`
	// Summary is one line for the status answer.
	Summary string `json:"summary,omitempty"`
}

// DeployResult is the result of the step deploy.
type DeployResult struct {
	ReleaseID string `json:"releaseId"`
	URL       string `json:"url"`
	// Superseded says that a newer deployment was live already.
	Superseded bool `json:"superseded,omitempty"`
}

// StepFailure is what a failed activity tells the workflow: the details of its
// Temporal application error, whose type is Code.
type StepFailure struct {
	Code      Code       `json:"code"`
	Class     Class      `json:"class"`
	Message   string     `json:"message"`
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`
}

// OperatorAction is the argument of the Updates retry, abandon and cancel. The
// bare signals may come without one.
type OperatorAction struct {
	// By is a user id; it is shown in the status lines.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}
