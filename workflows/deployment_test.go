package workflows

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

var input = models.DeploymentInput{
	DeploymentID: "dep_1", ProjectID: "prj_1", OrgID: "org_1", UserID: "usr_1", Sequence: 7,
	ActiveTimeout: 10 * time.Minute, ParkTimeout: 7 * 24 * time.Hour, BuildQueue: "builds",
}

func heartbeatPause() <-chan time.Time { return time.After(20 * time.Millisecond) }

// stage is a deployment in the SDK's test environment, where time is skipped.
type stage struct {
	*testsuite.TestWorkflowEnvironment
	t     *testing.T
	steps *steps
}

func newStage(t *testing.T, s *steps) *stage {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{
		EnableSessionWorker: true, MaxConcurrentSessionExecutionSize: 1, MaxHeartbeatThrottleInterval: 10 * time.Millisecond,
	})
	env.SetTestTimeout(patience)
	env.RegisterWorkflowWithOptions(Deployment, workflow.RegisterOptions{Name: models.WorkflowDeployment})
	s.register(env)
	return &stage{TestWorkflowEnvironment: env, t: t, steps: s}
}

// run takes the deployment to its end and gives its last status, which the
// query and the row must show too.
func (s *stage) run() (models.Status, error) {
	s.t.Helper()
	return s.runWith(input)
}

func (s *stage) runWith(in models.DeploymentInput) (models.Status, error) {
	s.t.Helper()
	s.ExecuteWorkflow(models.WorkflowDeployment, in)
	require.True(s.t, s.IsWorkflowCompleted())
	status := s.query()
	require.Equal(s.t, status.Version, s.steps.lastRecorded().Version, "the row has the last status")
	require.Equal(s.t, status.Outcome, s.steps.lastRecorded().Outcome)
	return status, s.GetWorkflowError()
}

func (s *stage) query() models.Status {
	s.t.Helper()
	value, err := s.QueryWorkflow(models.QueryStatus)
	require.NoError(s.t, err)
	var status models.Status
	require.NoError(s.t, value.Get(&status))
	return status
}

// at runs fn in the workflow's time.
func (s *stage) at(when time.Duration, fn func()) { s.RegisterDelayedCallback(fn, when) }

func TestDeployment_runsTheSixStepsInOrder(t *testing.T) {
	s := newStage(t, &steps{})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.AllSteps(), s.steps.ran())
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Equal(t, models.StatusCompleted, status.Status)
	require.Equal(t, 100, status.Progress)
	require.Equal(t, "rel_1", status.ReleaseID)
	require.Equal(t, "http://shop.localhost/", status.URL)
	for _, step := range models.AllSteps() {
		require.Equal(t, models.StepCompleted, status.Steps.Of(step).Status, step)
		require.NotNil(t, status.Steps.Of(step).StartedAt, step)
	}
	require.Equal(t, []string{
		"Validating deployment parameters...", "Syncing project data...", "Waiting for a build slot...",
		"Creating sandbox environment...", "Building project...", "Built 3 files.", "Deploying release...",
		"Cleaning up...", "Deployed. http://shop.localhost/",
	}, status.Logs)

	in := s.steps.last(models.StepDeploy)
	require.Equal(t, "shop", in.WorkerName)
	require.Equal(t, "source", in.Sync.SourceDigest)
	require.Equal(t, "output", in.Build.OutputDigest)
	require.Equal(t, "box", s.steps.last(models.StepBuild).SandboxID)
	require.Equal(t, models.OutcomeSucceeded, s.steps.last(models.StepCleanup).Outcome)

	var result models.Status
	require.NoError(t, s.GetWorkflowResult(&result))
	require.Equal(t, status, result)
}

func TestDeployment_recordsNewerStatusesOnly(t *testing.T) {
	s := newStage(t, &steps{sync: staticSource})
	_, err := s.run()
	require.NoError(t, err)
	require.LessOrEqual(t, len(s.steps.recorded), 6, "one record for each transition at most")
	version := int64(0)
	for _, st := range s.steps.recorded {
		require.Greater(t, st.Version, version)
		version = st.Version
	}
}

func TestDeployment_ofPlainFilesNeedsNoSandbox(t *testing.T) {
	s := newStage(t, &steps{sync: staticSource})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, []models.Step{"validate", "sync", "build", "deploy", "cleanup"}, s.steps.ran())
	require.Equal(t, models.StepCompleted, status.Steps.Sandbox.Status)
	require.True(t, status.Steps.Sandbox.Skipped)
	require.NotEmpty(t, status.Steps.Sandbox.Reason)
}

func TestDeployment_endsRejectedOnAUsersFailure(t *testing.T) {
	s := newStage(t, &steps{build: func(context.Context, models.StepInput) (models.BuildResult, error) {
		return models.BuildResult{}, fault(models.CodeBuildFailed, "The build failed.")
	}})
	status, err := s.run()
	require.NoError(t, err, "a user's failure is no failure of the execution")
	require.Equal(t, models.OutcomeRejected, status.Outcome)
	require.Equal(t, models.StatusFailed, status.Status)
	require.Equal(t, models.StepBuild, status.CurrentStep)
	require.Equal(t, models.CodeBuildFailed, status.ErrorCode)
	require.Equal(t, "The build failed.", status.Error)
	require.Equal(t, "npm run build", status.Diagnosis.Command)
	require.Equal(t, models.StepFailed, status.Steps.Build.Status)
	require.Equal(t, models.StepPending, status.Steps.Deploy.Status)
	require.Equal(t, models.StepCompleted, status.Steps.Cleanup.Status)
	require.Equal(t, 1, s.steps.count(models.StepBuild), "a user's failure is not tried again")
	require.Equal(t, models.OutcomeRejected, s.steps.last(models.StepCleanup).Outcome)
}

func TestDeployment_retryResumesAtTheFailedStep(t *testing.T) {
	broken := true
	s := newStage(t, &steps{deploy: func(context.Context, models.StepInput) (models.DeployResult, error) {
		if broken {
			return models.DeployResult{}, fault(models.CodeStorage, "The blob store does not answer.")
		}
		return models.DeployResult{ReleaseID: "rel_1"}, nil
	}})
	s.at(time.Hour, func() {
		parked := s.query()
		require.Equal(t, models.OutcomeDeadLetter, parked.Outcome)
		require.Equal(t, models.StatusFailed, parked.Status)
		require.Equal(t, models.StepDeploy, parked.CurrentStep)
		require.Equal(t, models.CodeStorage, parked.ErrorCode)
		require.Equal(t, parked.Version, s.steps.lastRecorded().Version)
		require.True(t, s.steps.last(models.StepCleanup).Parking)
		require.Equal(t, 3, s.steps.count(models.StepDeploy))
		broken = false
		s.SignalWorkflow(models.SignalRetry, models.OperatorAction{By: "usr_9"})
	})
	status, err := s.run()
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, status.Outcome)
	require.Equal(t, 1, status.Retries)
	require.Empty(t, status.Error)
	require.Contains(t, status.Logs, "Retried by usr_9.")
	require.Equal(t, 1, s.steps.count(models.StepBuild), "what was built is not built again")
	require.Equal(t, 4, s.steps.count(models.StepDeploy))
	require.Equal(t, 2, s.steps.count(models.StepCleanup))
}

func TestDeployment_closesForOperators(t *testing.T) {
	var canceled *temporal.CanceledError
	var application *temporal.ApplicationError
	down := func(context.Context, models.StepInput) error { return fault(models.CodeDatabase, "Down.") }

	s := newStage(t, &steps{validate: down})
	s.at(time.Hour, func() { s.SignalWorkflow(models.SignalAbandon, nil) })
	status, err := s.run()
	require.Equal(t, models.OutcomeAbandoned, status.Outcome)
	require.True(t, errors.As(err, &application))
	require.Equal(t, string(models.CodeDatabase), application.Type())

	s = newStage(t, &steps{validate: down})
	s.at(time.Hour, func() { s.CancelWorkflow() })
	status, err = s.run()
	require.Equal(t, models.OutcomeCanceled, status.Outcome)
	require.True(t, errors.As(err, &canceled))
	var last models.Status
	require.NoError(t, canceled.Details(&last))
	require.Equal(t, status.Version, last.Version)
}
