package workflows

import (
	"context"
	"hash/fnv"
	"strconv"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// attemptsPerRun bounds a run's history.
const attemptsPerRun = 50

// Webhook delivers one event to one webhook: it tries until the receiver has taken
// it or the schedule is at its end. The signal redeliver has it tried at once,
// besides the schedule; the query status tells how far it is.
func Webhook(ctx workflow.Context, in models.DeliveryInput) (models.DeliveryState, error) {
	state := models.DeliveryState{Status: models.DeliveryPending}
	if err := workflow.SetQueryHandler(ctx, models.QueryStatus, func() (models.DeliveryState, error) { return state, nil }); err != nil {
		return state, err
	}
	asked := workflow.GetSignalChannel(ctx, models.SignalRedeliver)
	for range attemptsPerRun {
		in.Again = drain(asked) || in.Again
		attempt := models.DeliveryAttempt{DeliveryID: in.DeliveryID, Again: in.Again, Wait: deliveryWait(in), Longest: longestDeliveryWait}
		if err := sendWebhook(ctx, attempt, &state); err != nil {
			return state, err
		}
		in.Again = false
		if state.Status != models.DeliveryPending {
			if !drain(asked) {
				return state, nil
			}
			// It was asked for again meanwhile, as if after the end.
			in.Tried, in.Again = 0, true
			continue
		}
		again, err := pause(ctx, asked, state.Wait)
		if err != nil {
			return state, err
		}
		if in.Again = again; !again {
			in.Tried++
		}
	}
	return state, workflow.NewContinueAsNewError(ctx, Webhook, in)
}

// sendWebhook makes one attempt, on the queue of webhooks.
func sendWebhook(ctx workflow.Context, attempt models.DeliveryAttempt, state *models.DeliveryState) error {
	options := workflow.GetActivityOptions(table.webhook.activity(ctx))
	options.TaskQueue = models.WebhookQueue(workflow.GetInfo(ctx).TaskQueueName)
	var came models.DeliveryState
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), models.ActivitySendWebhook, attempt).Get(ctx, &came)
	if err == nil {
		*state = came
	}
	return err
}

// deliveryWait is how long to wait after the next attempt has failed, up to a
// tenth more than the schedule says, so that what failed together does not come
// back together; 0 when that attempt is the last.
func deliveryWait(in models.DeliveryInput) time.Duration {
	if in.Once || in.Tried >= len(deliverySchedule) {
		return 0
	}
	wait := deliverySchedule[in.Tried]
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(in.DeliveryID + strconv.Itoa(in.Tried)))
	return wait + wait/10*time.Duration(hash.Sum32()%1000)/1000
}

// StartDelivery starts the workflow of a delivery whose row is written, and
// returns its run id. Starting it again finds the run there is; a run too many
// finds the delivery done. CodeQueue when Temporal does not answer.
func StartDelivery(ctx context.Context, c client.Client, d models.Delivery, taskQueue string) (runID string, err error) {
	run, err := c.ExecuteWorkflow(ctx, deliveryOptions(d, taskQueue), models.WorkflowWebhook, deliveryInput(d))
	if err != nil {
		return "", models.Wrap(models.CodeQueue, err, "The delivery could not be queued. Try again in a moment.")
	}
	return run.GetRunID(), nil
}

// Redeliver has a delivery sent now, whether it is under way or has ended, and
// returns the run's id. CodeQueue when Temporal does not answer.
func Redeliver(ctx context.Context, c client.Client, d models.Delivery, taskQueue string) (runID string, err error) {
	run, err := c.SignalWithStartWorkflow(ctx, d.ID, models.SignalRedeliver, nil, deliveryOptions(d, taskQueue), models.WorkflowWebhook, deliveryInput(d))
	if err != nil {
		return "", models.Wrap(models.CodeQueue, err, "The delivery could not be queued. Try again in a moment.")
	}
	return run.GetRunID(), nil
}

// deliveryPriority is below that of deployments, 1 to 5 with 3 as the default.
const deliveryPriority = 4

func deliveryOptions(d models.Delivery, taskQueue string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: d.ID, TaskQueue: taskQueue,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		TypedSearchAttributes:    temporal.NewSearchAttributes(AttributeOrganization.ValueSet(d.OrganizationID)),
		Priority:                 temporal.Priority{PriorityKey: deliveryPriority, FairnessKey: d.OrganizationID},
		StaticSummary:            string(d.Kind) + " to " + d.WebhookID,
	}
}

func deliveryInput(d models.Delivery) models.DeliveryInput {
	return models.DeliveryInput{DeliveryID: d.ID, Once: d.Kind == models.EventPing}
}
