package tracing_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/tracing/tracingtest"
	"github.com/slipwayhq/slipway/workflows"
)

func TestWorkflows_replayWithTracesWhatRanWithout(t *testing.T) {
	traces := open(t, tracingtest.NewReceiver(t).URL, 1)
	defer func() { _ = traces.Shutdown(context.Background()) }()
	interceptors, err := traces.Workflows()
	require.NoError(t, err)
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: interceptors})
	require.NoError(t, err)
	for name, code := range map[string]any{
		models.WorkflowDeployment: workflows.Deployment, models.WorkflowDomain: workflows.Domain,
		models.WorkflowRollout: workflows.Rollout, models.WorkflowWebhook: workflows.Webhook,
	} {
		replayer.RegisterWorkflowWithOptions(code, workflow.RegisterOptions{Name: name})
	}
	histories, err := filepath.Glob("../workflows/testdata/histories/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, histories)
	for _, file := range histories {
		require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(quiet{}, file), file)
	}
}

// quiet is a logger for replays, which have much to say.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
