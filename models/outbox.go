package models

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"gorm.io/gorm"
)

// OutboxChannel is where new events are announced with NOTIFY, without a payload.
const OutboxChannel = "slipway_outbox"

// OutboxEntry is an event that webhooks are to be told of. It is written in the
// transaction of the change it tells of.
type OutboxEntry struct {
	ID int64
	// Key names what happened: an event with a key that is there is not written
	// again.
	Key string
	// EventID is what receivers know the event by.
	EventID        string
	Kind           EventKind
	OrganizationID string
	ProjectID      string
	DeploymentID   string
	// Payload is the event's data.
	Payload     json.RawMessage `gorm:"type:jsonb"`
	CreatedAt   time.Time
	DeliveredAt *time.Time
}

// TableName is the table of the outbox.
func (OutboxEntry) TableName() string { return "outbox" }

// NewEvent is what it takes to write an event.
type NewEvent struct {
	Kind      EventKind
	ProjectID string
	// DeploymentID is "" for events that are not a deployment's.
	DeploymentID string
	// Of says what of that kind has happened, where it happens more than once to
	// Subject; Subject is the id of what it happened to.
	Subject, Of string
	// Data is what the event says, besides the project and the organization.
	Data EventData
	// Always has it written although no webhook asks for it now.
	Always bool
}

// EventData is what an event says of what happened. Fields that do not apply
// are left out.
type EventData struct {
	DeploymentID  string    `json:"deploymentId,omitempty"`
	Sequence      int64     `json:"sequence,omitempty"`
	Commit        string    `json:"commit,omitempty"`
	Preview       bool      `json:"preview,omitempty"`
	Step          Step      `json:"step,omitempty"`
	StepStatus    StepState `json:"stepStatus,omitempty"`
	Outcome       Outcome   `json:"outcome,omitempty"`
	DomainID      string    `json:"domainId,omitempty"`
	Host          string    `json:"host,omitempty"`
	RolloutID     string    `json:"rolloutId,omitempty"`
	BaseReleaseID string    `json:"baseReleaseId,omitempty"`
	Percent       int       `json:"percent,omitempty"`
	ReleaseID     string    `json:"releaseId,omitempty"`
	Status        string    `json:"status,omitempty"`
	Error         string    `json:"error,omitempty"`
	ErrorCode     Code      `json:"errorCode,omitempty"`
	Reason        string    `json:"reason,omitempty"`
	URL           string    `json:"url,omitempty"`
}

// maxEventText bounds the texts of an event, so that it stays far below the
// 20 KB that Standard Webhooks recommends.
const maxEventText = 4 << 10

// tell writes an event in the transaction of the change it tells of, when an
// enabled webhook asks for it. One that was written before changes nothing.
func tell(tx *gorm.DB, e NewEvent) error {
	e.Data.Error, e.Data.Reason = cutText(e.Data.Error, maxEventText), cutText(e.Data.Reason, maxEventText)
	data, err := json.Marshal(e.Data)
	if err != nil {
		return err
	}
	return tx.Exec(`WITH added AS (
			INSERT INTO outbox (key, event_id, kind, organization_id, project_id, deployment_id, payload, created_at)
			SELECT @key, @event, @kind, p.organization_id, p.id, @deployment,
				jsonb_build_object('organizationId', p.organization_id, 'projectId', p.id, 'workerName', p.worker_name) || CAST(@data AS jsonb), @at
			FROM projects p WHERE p.id = @project AND (@always OR EXISTS (
				SELECT 1 FROM webhooks w WHERE w.organization_id = p.organization_id AND w.enabled
					AND (w.project_id IS NULL OR w.project_id = p.id) AND jsonb_exists_any(w.events, string_to_array(@patterns, ' '))))
			ON CONFLICT (key) DO NOTHING RETURNING id)
		SELECT pg_notify(@channel, '') FROM added`, map[string]any{
		"key": strings.TrimSpace(e.Subject + " " + string(e.Kind) + " " + e.Of), "event": NewID(PrefixEvent), "kind": string(e.Kind), "deployment": e.DeploymentID,
		"data": string(data), "at": time.Now().UTC(), "project": e.ProjectID, "always": e.Always, "patterns": strings.Join(e.Kind.patterns(), " "),
		"channel": OutboxChannel,
	}).Error
}

// cutText shortens a text to so many bytes, at the end of a character.
func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// WriteOutbox writes an event by itself. One that was written before changes
// nothing.
func (s *Store) WriteOutbox(ctx context.Context, e NewEvent) error {
	return dbError(tell(s.with(ctx), e))
}

// Outbox lists the events of a deployment, oldest first.
func (s *Store) Outbox(ctx context.Context, deploymentID string) ([]OutboxEntry, error) {
	var rows []OutboxEntry
	err := s.with(ctx).Where("deployment_id = ?", deploymentID).Order("id").Find(&rows).Error
	return rows, dbError(err)
}

// wanted says whether an enabled webhook asks for any of a project's events of
// the deployment group, which spares most deployments the work of finding them.
func wantsSteps(tx *gorm.DB, deploymentID string) (bool, error) {
	var wants bool
	err := tx.Raw(`SELECT EXISTS (SELECT 1 FROM deployments d JOIN webhooks w ON w.organization_id = d.organization_id
		WHERE d.id = ? AND w.enabled AND (w.project_id IS NULL OR w.project_id = d.project_id)
			AND jsonb_exists_any(w.events, ARRAY['*', 'deployment.*', ?, ?, ?]))`, deploymentID,
		EventDeploymentStarted, EventDeploymentStep, EventDeploymentDeadLettered).Scan(&wants).Error
	return wants, err
}

// FanOut takes up to limit events out of the outbox and writes a delivery for
// each webhook that asks for one, in one transaction: a crash leaves both or
// neither. Several may do it at once; each takes others. taken is the number of
// events, deliveries those that were written.
func (s *Store) FanOut(ctx context.Context, limit int) (taken int, deliveries []Delivery, err error) {
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		taken, deliveries = 0, nil
		var events []OutboxEntry
		err := tx.Raw("SELECT * FROM outbox WHERE delivered_at IS NULL ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED", limit).Scan(&events).Error
		if err != nil || len(events) == 0 {
			return err
		}
		ids := make([]int64, 0, len(events))
		for _, e := range events {
			made, err := fanOut(tx, e)
			if err != nil {
				return err
			}
			deliveries, ids = append(deliveries, made...), append(ids, e.ID)
		}
		taken = len(events)
		return tx.Exec("UPDATE outbox SET delivered_at = now() WHERE id IN ?", ids).Error
	})
	return taken, deliveries, dbError(err)
}

func fanOut(tx *gorm.DB, e OutboxEntry) ([]Delivery, error) {
	var hooks []Webhook
	err := tx.Where("organization_id = ? AND enabled AND (project_id IS NULL OR project_id = ?) AND jsonb_exists_any(events, string_to_array(?, ' '))",
		e.OrganizationID, e.ProjectID, strings.Join(e.Kind.patterns(), " ")).Order("id").Find(&hooks).Error
	if err != nil || len(hooks) == 0 {
		return nil, err
	}
	payload, err := eventPayload(e.Kind, e.CreatedAt, e.Payload)
	if err != nil {
		return nil, err
	}
	var made []Delivery
	for _, hook := range hooks {
		if !hook.Format.carries(e) {
			continue
		}
		d := newDelivery(hook, e.EventID, e.Kind, payload)
		made = append(made, d)
	}
	if len(made) == 0 {
		return nil, nil
	}
	return made, tx.Create(&made).Error
}

// eventPayload is the body of an event as Standard Webhooks recommends it.
func eventPayload(kind EventKind, at time.Time, data json.RawMessage) (json.RawMessage, error) {
	return json.Marshal(struct {
		Type      EventKind       `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{kind, at.UTC().Truncate(time.Millisecond), data})
}
