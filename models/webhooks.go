package models

import (
	"context"
	"encoding/json"
	"time"

	"gorm.io/gorm"
)

// WebhookFormat is how a webhook is told.
type WebhookFormat string

// The formats of webhooks.
const (
	// WebhookStandard is signed JSON by the Standard Webhooks specification
	// (https://www.standardwebhooks.com).
	WebhookStandard WebhookFormat = "standard"
	// WebhookSlack is a message to an incoming webhook of Slack or of what takes
	// the same (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
	WebhookSlack WebhookFormat = "slack"
	// WebhookGitHub is a commit status
	// (https://docs.github.com/en/rest/commits/statuses#create-a-commit-status).
	WebhookGitHub WebhookFormat = "github"
)

// carries says whether the format has a way to tell an event: a commit status
// needs a commit, and a deployment that it is about.
func (f WebhookFormat) carries(e OutboxEntry) bool {
	if f != WebhookGitHub {
		return true
	}
	var data EventData
	if json.Unmarshal(e.Payload, &data) != nil || data.Commit == "" {
		return false
	}
	switch e.Kind {
	case EventDeploymentQueued, EventDeploymentStarted, EventDeploymentSucceeded, EventDeploymentFailed, EventDeploymentDeadLettered:
		return true
	}
	return false
}

// MaxWebhooks bounds the webhooks of an organization: each event is delivered to
// all of them.
const MaxWebhooks = 50

// WebhookPatience is how long nothing may have arrived before a webhook is
// disabled.
const WebhookPatience = 5 * 24 * time.Hour

// Webhook is who is told of an organization's events, and how.
type Webhook struct {
	ID             string
	OrganizationID string
	// ProjectID leaves only that project's events; nil is all.
	ProjectID *string
	Format    WebhookFormat
	// Events are patterns, see ValidEventPattern.
	Events []string `gorm:"serializer:json;type:jsonb"`
	// Shown is the address without what gives access in it.
	Shown string
	// Sealed is the whole address and the secrets; see webhook.Vault.
	Sealed  []byte
	Enabled bool
	// DisabledReason says why it was disabled by itself.
	DisabledReason string
	// FailingSince is since when no delivery has arrived; nil when the last has.
	FailingSince *time.Time
	CreatedBy    string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// CreateWebhook writes a webhook. CodeConflict when the organization would have
// more than MaxWebhooks.
func (s *Store) CreateWebhook(ctx context.Context, row Webhook) (Webhook, error) {
	row.Enabled, row.CreatedAt = true, time.Now().UTC()
	row.UpdatedAt = row.CreatedAt
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("SELECT pg_advisory_xact_lock(hashtextextended('slipway.webhooks ' || ?, 0))", row.OrganizationID).Error; err != nil {
			return err
		}
		var n int64
		if err := tx.Model(&Webhook{}).Where("organization_id = ?", row.OrganizationID).Count(&n).Error; err != nil {
			return err
		}
		if n >= MaxWebhooks {
			return Errorf(CodeConflict, "An organization has at most %d webhooks. Remove one first.", MaxWebhooks)
		}
		return tx.Create(&row).Error
	})
	if row.ProjectID != nil && violates(err, "webhooks_project_id_fkey") {
		err = errNoProject(*row.ProjectID)
	}
	return row, orphaned(err, "webhooks_organization_id_fkey", NoOrganization(row.OrganizationID))
}

// Webhook reads a webhook of an organization; another's is CodeWebhookNotFound.
func (s *Store) Webhook(ctx context.Context, organizationID, id string) (Webhook, error) {
	var row Webhook
	err := s.with(ctx).Where("id = ? AND organization_id = ?", id, organizationID).Take(&row).Error
	return row, notFound(err, errNoWebhook(id))
}

func errNoWebhook(id string) *Error {
	return Errorf(CodeWebhookNotFound, "There is no webhook %q in this organization.", id)
}

// WebhookFilter narrows Webhooks.
type WebhookFilter struct {
	OrganizationID string
	// ProjectID leaves those that hear of that project's events alone; "" is all.
	ProjectID string
	// After is where the page before ended.
	After Position
	Limit int
}

// Webhooks lists an organization's webhooks, newest first.
func (s *Store) Webhooks(ctx context.Context, f WebhookFilter) ([]Webhook, error) {
	query := s.with(ctx).Where("organization_id = ?", f.OrganizationID)
	if f.ProjectID != "" {
		query = query.Where("project_id = ?", f.ProjectID)
	}
	if !f.After.Begins() {
		query = query.Where("(created_at, id) < (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []Webhook
	err := query.Order("created_at DESC, id DESC").Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}

// ChangeWebhook changes a webhook under a lock: change gets the row as it is and
// leaves it as it shall be. CodeWebhookNotFound.
func (s *Store) ChangeWebhook(ctx context.Context, organizationID, id string, change func(*Webhook) error) (Webhook, error) {
	var row Webhook
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		row = Webhook{}
		err := tx.Raw("SELECT id FROM webhooks WHERE id = ? AND organization_id = ? FOR UPDATE", id, organizationID).Row().Scan(&row.ID)
		if err != nil {
			return notFound(err, errNoWebhook(id))
		}
		if err := tx.Where("id = ?", id).Take(&row).Error; err != nil {
			return err
		}
		if err := change(&row); err != nil {
			return err
		}
		row.UpdatedAt = time.Now().UTC()
		return tx.Select("*").Omit("id", "organization_id", "created_at", "created_by").Updates(&row).Error
	})
	return row, dbError(err)
}

// DeleteWebhook removes a webhook and what is known of its deliveries.
// CodeWebhookNotFound.
func (s *Store) DeleteWebhook(ctx context.Context, organizationID, id string) error {
	result := s.with(ctx).Where("id = ? AND organization_id = ?", id, organizationID).Delete(&Webhook{})
	if result.Error == nil && result.RowsAffected == 0 {
		return errNoWebhook(id)
	}
	return dbError(result.Error)
}
