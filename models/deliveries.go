package models

import (
	"context"
	"encoding/json"
	"time"

	"gorm.io/gorm"
)

// DeliveryStatus is how far a delivery has come.
type DeliveryStatus string

// A delivery is pending until its receiver has taken it or every attempt failed.
const (
	DeliveryPending   DeliveryStatus = "pending"
	DeliverySucceeded DeliveryStatus = "succeeded"
	DeliveryFailed    DeliveryStatus = "failed"
)

// Names that cross process boundaries, as in steps.go.
const (
	WorkflowWebhook = "Webhook"
	// SignalRedeliver has a delivery tried now rather than at its time.
	SignalRedeliver = "redeliver"
	// ActivitySendWebhook makes one attempt and notes what it came to.
	ActivitySendWebhook = "send-webhook"
)

// WebhookQueue is the task queue that attempts go through, beside the one given:
// receivers that take their time must not keep deployments waiting.
func WebhookQueue(queue string) string { return queue + "-webhooks" }

// DeliveryInput starts the workflow of a delivery.
type DeliveryInput struct {
	DeliveryID string `json:"deliveryId"`
	// Once says that there is one attempt alone.
	Once bool `json:"once,omitempty"`
	// Tried counts the attempts of the schedule in runs before this one, and Again
	// says that the next attempt is one that was asked for.
	Tried int  `json:"tried,omitempty"`
	Again bool `json:"again,omitempty"`
}

// DeliveryAttempt asks for one attempt.
type DeliveryAttempt struct {
	DeliveryID string `json:"deliveryId"`
	// Again says that somebody asked for it, though the delivery may have ended.
	Again bool `json:"again,omitempty"`
	// Wait is how long it will be to the next attempt; 0 says that this is the
	// last.
	Wait time.Duration `json:"wait,omitempty"`
	// Longest bounds the wait that a receiver may ask for.
	Longest time.Duration `json:"longest,omitempty"`
}

// DeliveryState is what an attempt has come to.
type DeliveryState struct {
	Status DeliveryStatus `json:"status"`
	// Wait is how long it is to the next attempt of a pending one.
	Wait time.Duration `json:"wait,omitempty"`
}

// Delivery is one event on its way to one webhook; its id is the workflow id.
type Delivery struct {
	ID             string
	WebhookID      string
	OrganizationID string
	EventID        string
	Kind           EventKind
	Payload        json.RawMessage `gorm:"type:json"`
	Status         DeliveryStatus
	Attempts       int
	// LastStatus is the status that was answered last, 0 for none; Error says what
	// was wrong with the last attempt.
	LastStatus    int
	Error         string
	WorkflowRunID string
	// DueAt is when a pending one is tried next.
	DueAt      time.Time
	CreatedAt  time.Time
	FinishedAt *time.Time
}

// TableName is the table of deliveries.
func (Delivery) TableName() string { return "webhook_deliveries" }

// Attempt is one attempt of a delivery.
type Attempt struct {
	DeliveryID string `gorm:"primaryKey"`
	// Number counts from 1.
	Number int `gorm:"primaryKey"`
	// Status is what was answered; 0 when nothing was.
	Status     int
	DurationMS int64
	// Answer is how the answer's body begins.
	Answer    string
	Error     string
	CreatedAt time.Time
}

// TableName is the table of attempts.
func (Attempt) TableName() string { return "webhook_attempts" }

func newDelivery(hook Webhook, eventID string, kind EventKind, payload json.RawMessage) Delivery {
	now := time.Now().UTC()
	return Delivery{
		ID: NewID(PrefixDelivery), WebhookID: hook.ID, OrganizationID: hook.OrganizationID, EventID: eventID, Kind: kind, Payload: payload,
		Status: DeliveryPending, DueAt: now, CreatedAt: now,
	}
}

// CreatePing writes the delivery of a ping to a webhook; CodeWebhookNotFound.
func (s *Store) CreatePing(ctx context.Context, hook Webhook) (Delivery, error) {
	data, err := json.Marshal(map[string]string{"organizationId": hook.OrganizationID, "webhookId": hook.ID})
	if err != nil {
		return Delivery{}, err
	}
	payload, err := eventPayload(EventPing, time.Now(), data)
	if err != nil {
		return Delivery{}, err
	}
	row := newDelivery(hook, NewID(PrefixEvent), EventPing, payload)
	return row, orphaned(s.with(ctx).Create(&row).Error, "webhook_deliveries_webhook_id_fkey", errNoWebhook(hook.ID))
}

// Delivery reads a delivery of a webhook; CodeDeliveryNotFound.
func (s *Store) Delivery(ctx context.Context, webhookID, id string) (Delivery, error) {
	var row Delivery
	err := s.with(ctx).Where("id = ? AND webhook_id = ?", id, webhookID).Take(&row).Error
	return row, notFound(err, errNoDelivery(id))
}

func errNoDelivery(id string) *Error {
	return Errorf(CodeDeliveryNotFound, "The webhook has no delivery %q. Deliveries are kept for 30 days.", id)
}

// DeliveryToSend reads a delivery with its webhook; CodeDeliveryNotFound when
// either is gone.
func (s *Store) DeliveryToSend(ctx context.Context, id string) (Delivery, Webhook, error) {
	var row Delivery
	var hook Webhook
	if err := s.with(ctx).Where("id = ?", id).Take(&row).Error; err != nil {
		return row, hook, notFound(err, errNoDelivery(id))
	}
	err := s.with(ctx).Where("id = ?", row.WebhookID).Take(&hook).Error
	return row, hook, notFound(err, errNoDelivery(id))
}

// Outdated says whether a later event of the same deployment is, or was, on its
// way to the same webhook: of statuses that replace each other only the newest
// counts. Later is what happened later; what several workers took out of the
// outbox at once may have become deliveries in any order.
func (s *Store) Outdated(ctx context.Context, d Delivery) (bool, error) {
	var outdated bool
	// Through the outbox, whose events of a deployment are few; those of a webhook
	// may be very many.
	err := s.with(ctx).Raw(`SELECT EXISTS (SELECT 1 FROM webhook_deliveries d
		JOIN outbox o ON o.deployment_id = d.payload -> 'data' ->> 'deploymentId'
		JOIN webhook_deliveries n ON n.webhook_id = d.webhook_id AND n.event_id = o.event_id
		WHERE d.id = ? AND ((n.payload ->> 'timestamp')::timestamptz, n.created_at) > ((d.payload ->> 'timestamp')::timestamptz, d.created_at))`,
		d.ID).Scan(&outdated).Error
	return outdated, dbError(err)
}

// Attempts lists the attempts of a delivery, oldest first.
func (s *Store) Attempts(ctx context.Context, deliveryID string) ([]Attempt, error) {
	var rows []Attempt
	err := s.with(ctx).Where("delivery_id = ?", deliveryID).Order("number").Find(&rows).Error
	return rows, dbError(err)
}

// DeliveryFilter narrows Deliveries.
type DeliveryFilter struct {
	WebhookID string
	// Status leaves those with it; "" is all.
	Status DeliveryStatus
	// After is where the page before ended.
	After Position
	Limit int
}

// Deliveries lists a webhook's deliveries, newest first, without their payload.
func (s *Store) Deliveries(ctx context.Context, f DeliveryFilter) ([]Delivery, error) {
	query := s.with(ctx).Omit("payload").Where("webhook_id = ?", f.WebhookID)
	if f.Status != "" {
		query = query.Where("status = ?", f.Status)
	}
	if !f.After.Begins() {
		query = query.Where("(created_at, id) < (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []Delivery
	err := query.Order("created_at DESC, id DESC").Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}

// UnstartedDeliveries lists pending deliveries that nobody seems to be about:
// never started although older than grace, or lost, that is due for longer than
// lost.
func (s *Store) UnstartedDeliveries(ctx context.Context, grace, lost time.Duration, limit int) ([]Delivery, error) {
	var rows []Delivery
	err := s.with(ctx).Omit("payload").Where(`status = 'pending' AND due_at < now() - make_interval(secs => ?)
			AND (workflow_run_id = '' OR due_at < now() - make_interval(secs => ?))`, grace.Seconds(), lost.Seconds()).
		Order("due_at").Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// MarkDeliveryStarted notes the run of a delivery, and puts it at the end of
// UnstartedDeliveries.
func (s *Store) MarkDeliveryStarted(ctx context.Context, id, runID string) error {
	return dbError(s.with(ctx).Model(&Delivery{}).Where("id = ? AND status = 'pending'", id).
		Updates(map[string]any{"workflow_run_id": runID, "due_at": gorm.Expr("greatest(due_at, now())")}).Error)
}

// RenewDelivery makes a delivery pending again, to be sent now. CodeDeliveryNotFound.
func (s *Store) RenewDelivery(ctx context.Context, webhookID, id string) (Delivery, error) {
	result := s.with(ctx).Model(&Delivery{}).Where("id = ? AND webhook_id = ?", id, webhookID).
		Updates(map[string]any{"status": DeliveryPending, "workflow_run_id": "", "due_at": time.Now().UTC(), "finished_at": nil})
	if result.Error != nil {
		return Delivery{}, dbError(result.Error)
	}
	return s.Delivery(ctx, webhookID, id)
}

// RecordedAttempt is what an attempt came to, and what becomes of its delivery
// and its webhook.
type RecordedAttempt struct {
	Attempt
	DeliveryState
	// Gone says that the receiver wants to hear nothing more: the webhook is
	// disabled.
	Gone bool
	// Unsent says that there was no attempt, only a reason against one.
	Unsent bool
}

// RecordAttempt notes an attempt, numbers it, and moves its delivery on. A webhook
// that is gone is disabled, and so is one when a delivery comes to nothing and none
// has arrived for WebhookPatience.
func (s *Store) RecordAttempt(ctx context.Context, a RecordedAttempt) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		now := time.Now().UTC()
		// The webhook before its deliveries: the order of who removes it.
		var hook string
		err := tx.Raw("SELECT id FROM webhooks WHERE id = (SELECT webhook_id FROM webhook_deliveries WHERE id = ?) FOR KEY SHARE", a.DeliveryID).Scan(&hook).Error
		if err != nil {
			return err
		}
		var row Delivery
		err = tx.Raw("SELECT id, webhook_id, kind, attempts FROM webhook_deliveries WHERE id = ? FOR UPDATE", a.DeliveryID).Scan(&row).Error
		if err != nil || row.ID == "" {
			return err // its webhook was removed meanwhile
		}
		values := map[string]any{"status": a.DeliveryState.Status, "last_status": a.Attempt.Status, "error": a.Error}
		if !a.Unsent {
			a.Number, a.CreatedAt = row.Attempts+1, now.Add(-time.Duration(a.DurationMS)*time.Millisecond)
			if err := tx.Create(&a.Attempt).Error; err != nil {
				return err
			}
			values["attempts"] = a.Number
		}
		if a.DeliveryState.Status == DeliveryPending {
			values["due_at"] = now.Add(a.Wait)
		} else {
			values["finished_at"] = now
		}
		if err := tx.Model(&Delivery{}).Where("id = ?", row.ID).Updates(values).Error; err != nil || a.Unsent {
			return err
		}
		return judgeWebhook(tx, row, a, now)
	}))
}

// judgeWebhook keeps since when a webhook fails, and disables one that has for
// too long. One attempt is no reason: a receiver may have been quiet for a month
// since the one before, and a ping is tried but once.
func judgeWebhook(tx *gorm.DB, row Delivery, a RecordedAttempt, now time.Time) error {
	id := row.WebhookID
	if a.DeliveryState.Status == DeliverySucceeded {
		return tx.Exec("UPDATE webhooks SET failing_since = NULL WHERE id = ? AND failing_since IS NOT NULL", id).Error
	}
	if a.Gone {
		return tx.Exec(`UPDATE webhooks SET enabled = false, disabled_reason = 'The receiver answered 410 Gone.', updated_at = ?
			WHERE id = ? AND enabled`, now, id).Error
	}
	if err := tx.Exec("UPDATE webhooks SET failing_since = ? WHERE id = ? AND failing_since IS NULL", now, id).Error; err != nil {
		return err
	}
	if a.DeliveryState.Status == DeliveryPending || row.Kind == EventPing {
		return nil
	}
	return tx.Exec(`UPDATE webhooks SET enabled = false, updated_at = ?,
			disabled_reason = 'No delivery has arrived since ' || to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC.'
		WHERE id = ? AND enabled AND failing_since < ?`, now, id, now.Add(-WebhookPatience)).Error
}

// DeliveryAge is how long deliveries, and events that were delivered, are kept.
const DeliveryAge = 30 * 24 * time.Hour

// SweepDeliveries removes up to limit deliveries, and as many events, that are
// older than DeliveryAge, and says how many there were of both.
func (s *Store) SweepDeliveries(ctx context.Context, limit int) (int64, error) {
	before := time.Now().UTC().Add(-DeliveryAge)
	deliveries := s.with(ctx).Exec(`DELETE FROM webhook_deliveries WHERE id IN (
		SELECT id FROM webhook_deliveries WHERE created_at < ? AND status <> 'pending' LIMIT ?)`, before, limit)
	if deliveries.Error != nil {
		return 0, dbError(deliveries.Error)
	}
	events := s.with(ctx).Exec("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE created_at < ? AND delivered_at IS NOT NULL LIMIT ?)", before, limit)
	return deliveries.RowsAffected + events.RowsAffected, dbError(events.Error)
}
