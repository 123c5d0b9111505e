package activities

import (
	"context"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/webhook"
)

// WebhookSender makes one attempt at a delivery. webhook.Sender is one.
type WebhookSender interface {
	Send(ctx context.Context, m webhook.Message) webhook.Answer
}

// noteTimeout bounds the writing of what an attempt came to.
const noteTimeout = 10 * time.Second

// unopened says why nothing was sent to a webhook whose credentials were sealed with
// another key, and what to do.
const unopened = "Nothing was sent: the webhook's address and secrets do not open with the SLIPWAY_SECRET_KEY of this installation. " +
	"Whoever runs it has to restore the key that they were sealed with; otherwise remove the webhook and create it anew."

// SendWebhook makes one attempt at a delivery and notes what it came to. Running
// it twice sends twice, under the same id, by which a receiver knows it again.
func (a *Activities) SendWebhook(ctx context.Context, in models.DeliveryAttempt) (models.DeliveryState, error) {
	row, hook, err := a.Store.DeliveryToSend(ctx, in.DeliveryID)
	switch {
	case models.CodeOf(err) == models.CodeDeliveryNotFound:
		return models.DeliveryState{Status: models.DeliveryFailed}, nil // removed meanwhile
	case err != nil:
		return models.DeliveryState{}, err
	case row.Status != models.DeliveryPending && !in.Again:
		return models.DeliveryState{Status: row.Status}, nil // an earlier run of this
	}
	record := models.RecordedAttempt{Attempt: models.Attempt{DeliveryID: row.ID}, DeliveryState: models.DeliveryState{Status: models.DeliveryFailed}}
	unsent, err := a.whyNot(ctx, in, row, hook)
	if err != nil {
		return models.DeliveryState{}, err
	}
	credentials, err := a.WebhookVault.Open(hook)
	switch {
	case unsent != "":
		record.Unsent, record.Error = true, unsent
	case err != nil:
		// To try again at once opens nothing; by the schedule it may, once the key is
		// there again.
		a.Log.WithField("webhook", hook.ID).WithError(err).Error("the address of a webhook does not open; its deliveries fail")
		record.Error = unopened
		record.DeliveryState = next(in, webhook.Answer{Error: unopened})
		a.measures.attempted(record.DeliveryState.Status)
	default:
		answer := a.WebhookSender.Send(ctx, webhook.Message{ID: row.EventID, Format: hook.Format, Payload: row.Payload, Credentials: credentials})
		if err := ctx.Err(); err != nil && answer.Status == 0 {
			return models.DeliveryState{}, err // this worker stops; the receiver is not to blame
		}
		record.Attempt.Status, record.DurationMS, record.Answer, record.Error = answer.Status, answer.Duration.Milliseconds(), answer.Body, answer.Error
		record.DeliveryState, record.Gone = next(in, answer), answer.Gone()
		a.measures.attempted(record.DeliveryState.Status)
	}
	// What was sent is noted although this worker may be stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	return record.DeliveryState, a.Store.RecordAttempt(ctx, record)
}

// whyNot says why a delivery is not sent; "" when it is.
func (a *Activities) whyNot(ctx context.Context, in models.DeliveryAttempt, row models.Delivery, hook models.Webhook) (string, error) {
	if !hook.Enabled {
		return "The webhook is disabled.", nil
	}
	if hook.Format != models.WebhookGitHub || in.Again {
		return "", nil
	}
	// The last status of a commit is what shows: one that comes late would hide it.
	outdated, err := a.Store.Outdated(ctx, row)
	if outdated {
		return "A later status of the deployment takes its place.", err
	}
	return "", err
}

// next is what becomes of a delivery after an answer.
func next(in models.DeliveryAttempt, answer webhook.Answer) models.DeliveryState {
	switch {
	case answer.Error == "":
		return models.DeliveryState{Status: models.DeliverySucceeded}
	case in.Wait == 0 || answer.Gone():
		return models.DeliveryState{Status: models.DeliveryFailed}
	}
	return models.DeliveryState{Status: models.DeliveryPending, Wait: max(in.Wait, min(answer.RetryAfter, in.Longest))}
}
