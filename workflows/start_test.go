package workflows

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/slipwayhq/slipway/models"
)

func TestStart_findsTheRunThereIsOrWas(t *testing.T) {
	r := start(t, scene{steps: &steps{sync: staticSource}})
	first, err := Start(t.Context(), r.client, r.row, r.queue)
	require.NoError(t, err)
	again, err := Start(t.Context(), r.client, r.row, r.queue)
	require.NoError(t, err)
	require.Equal(t, first, again)

	require.NoError(t, r.client.GetWorkflow(t.Context(), r.row.ID, "").Get(t.Context(), nil))
	after, err := Start(t.Context(), r.client, r.row, r.queue)
	require.NoError(t, err)
	require.Equal(t, first, after, "a deployment runs once and for all")
	require.Equal(t, 1, r.steps.count(models.StepDeploy))
}

func TestStart_saysWhenTemporalDoesNotAnswer(t *testing.T) {
	c, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: quiet{}})
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	encoded, err := json.Marshal(input)
	require.NoError(t, err)
	_, err = Start(ctx, c, models.Deployment{ID: "dep_1", Input: encoded}, "queue")
	require.Equal(t, models.CodeQueue, models.CodeOf(err))

	_, err = Start(t.Context(), c, models.Deployment{ID: "dep_1", Input: json.RawMessage("{")}, "queue")
	require.Equal(t, models.CodeDatabase, models.CodeOf(err))
}

func TestStartOptions_shareTheWorkersFairly(t *testing.T) {
	options := StartOptions(models.Deployment{ID: "dep_1", OrganizationID: "org_1", ProjectID: "prj_1", Priority: 2, Sequence: 7}, "queue")
	require.Equal(t, "dep_1", options.ID)
	require.Equal(t, 2, options.Priority.PriorityKey)
	require.Equal(t, "org_1", options.Priority.FairnessKey)
	require.Zero(t, options.WorkflowExecutionTimeout, "cleanup must always run")
	organization, ok := options.TypedSearchAttributes.GetKeyword(AttributeOrganization)
	require.True(t, ok)
	require.Equal(t, "org_1", organization)
}
