package models

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gorm.io/gorm"
)

// AuditOutcome is what an attempt to change something came to.
type AuditOutcome string

// The outcomes that are recorded. What was malformed, not found or failed
// changed nothing and is in the access log only.
const (
	// AuditSucceeded is a change that was made.
	AuditSucceeded AuditOutcome = "succeeded"
	// AuditRefused is one that somebody who is known may not make.
	AuditRefused AuditOutcome = "refused"
)

// Bounds of what callers decide in an audit entry, in bytes.
const (
	maxAuditUserAgent = 256
	maxAuditTarget    = 256
	maxAuditTargets   = 128
)

// AuditEntry says who did what, from where. It is written once; nothing in
// Slipway changes or removes it.
type AuditEntry struct {
	// ID and CreatedAt are filled in by AppendAudit.
	ID string
	// OrganizationID is nil for what a person does about themselves, and for what
	// strangers try about their account.
	OrganizationID *string
	// UserID is who did it, or whose account it was tried on.
	UserID string
	// TokenID or SessionID is what the person acted by.
	TokenID   string
	SessionID string
	// Action is the API's operation, such as "delete-project".
	Action  string
	Outcome AuditOutcome
	// Code is why it was refused.
	Code Code
	// Targets are the ids of what it was done to, by what they are: {"id": "prj_…"}.
	Targets AuditTargets `gorm:"type:jsonb;serializer:json"`
	// Address is the client's, without a port.
	Address   string
	UserAgent string
	RequestID string
	CreatedAt time.Time
}

// AuditTargets name what an action was about.
type AuditTargets map[string]string

// TableName is the table of the audit log.
func (AuditEntry) TableName() string { return "audit_log" }

// AuditBy begins the entry of somebody's action.
func AuditBy(identity Identity, action string) AuditEntry {
	e := AuditEntry{
		UserID: identity.UserID, TokenID: identity.TokenID, SessionID: identity.SessionID, Action: action, Outcome: AuditSucceeded,
	}
	if identity.OrganizationID != "" {
		e.OrganizationID = &identity.OrganizationID
	}
	return e
}

// Fields are the whole entry for a line of a log, where there is no writing it.
func (e AuditEntry) Fields() map[string]any {
	organization := ""
	if e.OrganizationID != nil {
		organization = *e.OrganizationID
	}
	return map[string]any{
		"organization": organization, "user": e.UserID, "token": e.TokenID, "session": e.SessionID, "action": e.Action, "outcome": e.Outcome,
		"audit_code": e.Code, "targets": e.Targets, "address": e.Address, "user_agent": e.UserAgent,
	}
}

// AppendAudit writes an entry and gives it its id and time. What a client chose
// is bounded, and control characters in it are escaped: a line of an export is
// one entry, and a terminal shows it as it is.
func (s *Store) AppendAudit(ctx context.Context, e AuditEntry) error {
	return dbError(appendAudit(s.with(ctx), e))
}

// AppendAuditRarely is AppendAudit for what strangers can cause on an account as
// often as they like: while there is an entry of the same user, action and outcome
// that is younger than every, none is written.
func (s *Store) AppendAuditRarely(ctx context.Context, e AuditEntry, every time.Duration) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// Attempts on one account wait for each other here.
		if err := tx.Exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "slipway.audit "+e.UserID).Error; err != nil {
			return err
		}
		var there bool
		err := tx.Raw(`SELECT EXISTS (SELECT 1 FROM audit_log WHERE organization_id IS NULL AND user_id = ? AND action = ? AND outcome = ?
			AND created_at > clock_timestamp() - make_interval(secs => ?))`, e.UserID, e.Action, e.Outcome, every.Seconds()).Scan(&there).Error
		if err != nil || there {
			return err
		}
		return appendAudit(tx, e)
	}))
}

func appendAudit(tx *gorm.DB, e AuditEntry) error {
	e.ID = NewID(PrefixAudit)
	e.UserAgent = auditText(e.UserAgent, maxAuditUserAgent)
	e.Address, e.RequestID = auditText(e.Address, maxAuditTarget), auditText(e.RequestID, maxAuditTarget)
	targets := make(AuditTargets, len(e.Targets))
	for name, value := range e.Targets {
		if len(targets) == maxAuditTargets {
			break
		}
		targets[auditText(name, maxAuditTarget)] = auditText(value, maxAuditTarget)
	}
	data, err := json.Marshal(targets)
	if err != nil {
		return err
	}
	// The database's clock orders entries of several gateways.
	return tx.Exec(`INSERT INTO audit_log
			(id, organization_id, user_id, token_id, session_id, action, outcome, code, targets, address, user_agent, request_id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?, ?, ?)`,
		e.ID, e.OrganizationID, e.UserID, e.TokenID, e.SessionID, e.Action, e.Outcome, e.Code, string(data), e.Address, e.UserAgent, e.RequestID).Error
}

// AuditFilter narrows AuditLog.
type AuditFilter struct {
	// OrganizationID is whose log it is; "" is that of the account of UserID.
	OrganizationID string
	// Action and UserID leave only those; "" is all.
	Action string
	UserID string
	// Since (inclusive) and Before (exclusive) bound the time; zero is no bound.
	Since, Before time.Time
	// After is where the page before ended.
	After Position
	// OldestFirst turns the order round.
	OldestFirst bool
	Limit       int
}

// AuditLog lists an organization's or an account's entries, newest first unless
// said otherwise.
func (s *Store) AuditLog(ctx context.Context, f AuditFilter) ([]AuditEntry, error) {
	query := s.with(ctx).Where("organization_id = ?", f.OrganizationID)
	if f.OrganizationID == "" {
		query = s.with(ctx).Where("organization_id IS NULL AND user_id = ?", f.UserID)
	} else if f.UserID != "" {
		query = query.Where("user_id = ?", f.UserID)
	}
	if f.Action != "" {
		query = query.Where("action = ?", f.Action)
	}
	if !f.Since.IsZero() {
		query = query.Where("created_at >= ?", f.Since)
	}
	if !f.Before.IsZero() {
		query = query.Where("created_at < ?", f.Before)
	}
	sign, order := "<", "created_at DESC, id DESC"
	if f.OldestFirst {
		sign, order = ">", "created_at, id"
	}
	if !f.After.Begins() {
		query = query.Where("(created_at, id) "+sign+" (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []AuditEntry
	err := query.Order(order).Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}

// auditText is text of at most so many bytes in which everything that is not to
// be seen stands as Go and JSON would write it.
func auditText(text string, most int) string {
	var b strings.Builder
	for i, c := range text {
		part := string(c)
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			part = fmt.Sprintf(`\x%02x`, text[i])
		case c == '\\':
			part = `\\`
		case !unicode.IsPrint(c):
			part = fmt.Sprintf(`\u%04x`, c)
		}
		if b.Len()+len(part) > most {
			b.WriteString("…")
			break
		}
		b.WriteString(part)
	}
	return b.String()
}
