package workflows

import (
	"context"
	"encoding/json"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

// StartOptions are the options a deployment's workflow is started with. Its id
// is the deployment's, used once and for all. There is no execution timeout: the
// workflow ends itself, after cleaning up. Tasks are shared fairly among
// organizations within a priority.
func StartOptions(d models.Deployment, taskQueue string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:                       d.ID,
		TaskQueue:                taskQueue,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			AttributeStatus.ValueSet(string(models.StatusQueued)),
			AttributeOrganization.ValueSet(d.OrganizationID),
			AttributeProject.ValueSet(d.ProjectID),
		),
		Priority:      temporal.Priority{PriorityKey: d.Priority, FairnessKey: d.OrganizationID},
		StaticSummary: fmt.Sprintf("project %s, deployment %d", d.ProjectID, d.Sequence),
	}
}

// Start starts the workflow of a deployment whose row is written, and returns
// its run id. Starting it again finds the run there is or was, so that a caller
// who died half-way, and the reconciler, may simply repeat it. CodeQueue when
// Temporal does not answer.
func Start(ctx context.Context, c client.Client, d models.Deployment, taskQueue string) (runID string, err error) {
	var input models.DeploymentInput
	if err := json.Unmarshal(d.Input, &input); err != nil {
		return "", models.Wrap(models.CodeDatabase, err, "The recorded input of the deployment is damaged.")
	}
	run, err := c.ExecuteWorkflow(ctx, StartOptions(d, taskQueue), models.WorkflowDeployment, input)
	if err != nil {
		return "", models.Wrap(models.CodeQueue, err, "The deployment could not be queued. Try again in a moment.")
	}
	return run.GetRunID(), nil
}
