package models

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"gorm.io/gorm"
)

// Token is an API token; only the SHA-256 of its secret is kept.
type Token struct {
	ID             string
	Hash           []byte
	OrganizationID string
	// UserID made it; it may do no more than that person's role.
	UserID string
	Name   string
	// Prefix is how the secret begins, for people to know it by.
	Prefix string
	Scope  Scope
	// ProjectID limits it to one project; nil is all.
	ProjectID  *string
	CreatedAt  time.Time
	LastUsedAt *time.Time
	ExpiresAt  *time.Time
	RevokedAt  *time.Time
}

const (
	// tokenPrefix lets people and secret scanners tell what the string is.
	tokenPrefix = "slp_"
	// shownPrefix is how much of a secret a row keeps, 36 bits of 256.
	shownPrefix = len(tokenPrefix) + 6
)

// HashSecret is what is kept of a random secret. 256 random bits need no slow hash.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// NewSecret makes a secret of 256 random bits in base64url behind a prefix.
func NewSecret(prefix string) string {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	return prefix + base64.RawURLEncoding.EncodeToString(raw[:])
}

// NewToken is what it takes to make an API token.
type NewToken struct {
	OrganizationID string
	UserID         string
	Name           string
	// Scope is ScopeAdmin when empty.
	Scope Scope
	// ProjectID limits it to one project; "" is all.
	ProjectID string
	// ExpiresAt ends it; nil is never.
	ExpiresAt *time.Time
}

// MaxTokens bounds the tokens of an organization that still count.
const MaxTokens = 1000

// CreateToken makes an API token of a member and returns its secret, which is shown
// this once. CodeQuotaExceeded with MaxTokens; the bound is not exact under
// concurrency. CodeOrganizationNotFound for who is no member, CodeProjectNotFound.
func (s *Store) CreateToken(ctx context.Context, n NewToken) (row Token, secret string, err error) {
	var count int64
	err = s.with(ctx).Model(&Token{}).Where("organization_id = ? AND "+tokenCounts, n.OrganizationID).Count(&count).Error
	if err != nil {
		return Token{}, "", dbError(err)
	}
	if count >= MaxTokens {
		return Token{}, "", Errorf(CodeQuotaExceeded, "The organization has %d tokens, the most there can be. Revoke some first.", count).
			WithDetails(map[string]any{"limit": MaxTokens, "used": count})
	}
	row, secret = newToken(n)
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// The organization first, as everywhere. Whoever removes the member waits, and
		// then revokes this token with the others.
		if err := lockOrganization(tx, n.OrganizationID, "KEY SHARE"); err != nil {
			return err
		}
		var member []string
		err := tx.Raw("SELECT user_id FROM memberships WHERE organization_id = ? AND user_id = ? FOR KEY SHARE", n.OrganizationID, n.UserID).Scan(&member).Error
		if err != nil {
			return err
		}
		if len(member) == 0 {
			return NoOrganization(n.OrganizationID)
		}
		return tx.Create(&row).Error
	})
	return row, secret, orphaned(err, "tokens_project_id_fkey", errNoProject(n.ProjectID))
}

// CheckTokenScope says whether a person of that role may give a token that scope:
// nil or CodeForbidden. A viewer's would do more as soon as they got another role.
func CheckTokenScope(role Role, scope Scope) error {
	if role == RoleViewer && scope != ScopeRead {
		return Errorf(CodeForbidden, "A viewer's tokens have the scope %s.", ScopeRead)
	}
	return nil
}

// tokenCounts is the condition of a token that still lets somebody in.
const tokenCounts = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"

func newToken(n NewToken) (row Token, secret string) {
	secret = NewSecret(tokenPrefix)
	row = Token{
		ID: NewID(PrefixToken), Hash: HashSecret(secret), OrganizationID: n.OrganizationID, UserID: n.UserID, Name: n.Name,
		Prefix: secret[:shownPrefix], Scope: n.Scope, CreatedAt: time.Now().UTC(), ExpiresAt: n.ExpiresAt,
	}
	if row.Scope == "" {
		row.Scope = ScopeAdmin
	}
	if n.ProjectID != "" {
		row.ProjectID = &n.ProjectID
	}
	return row, secret
}

// TokenFilter narrows Tokens.
type TokenFilter struct {
	OrganizationID string
	// UserID leaves those this user made; "" is all.
	UserID string
	// ProjectID leaves those limited to that project; "" is all.
	ProjectID string
	// After is where the page before ended.
	After Position
	Limit int
}

// Tokens lists an organization's tokens that are not revoked, newest first;
// expired ones are among them.
func (s *Store) Tokens(ctx context.Context, f TokenFilter) ([]Token, error) {
	query := f.narrow(s.with(ctx))
	if !f.After.Begins() {
		query = query.Where("(created_at, id) < (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []Token
	err := query.Order("created_at DESC, id DESC").Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}

// Token reads one that the filter lets through; CodeTokenNotFound.
func (s *Store) Token(ctx context.Context, id string, f TokenFilter) (Token, error) {
	var row Token
	err := f.narrow(s.with(ctx)).Where("id = ?", id).Take(&row).Error
	return row, notFound(err, errNoToken(id))
}

// RevokeToken ends a token that the filter lets through, from the next request
// on; CodeTokenNotFound.
func (s *Store) RevokeToken(ctx context.Context, id string, f TokenFilter) error {
	result := f.narrow(s.with(ctx).Model(&Token{})).Where("id = ?", id).Update("revoked_at", time.Now().UTC())
	if result.Error == nil && result.RowsAffected == 0 {
		return errNoToken(id)
	}
	return dbError(result.Error)
}

func (f TokenFilter) narrow(query *gorm.DB) *gorm.DB {
	query = query.Where("organization_id = ? AND revoked_at IS NULL", f.OrganizationID)
	if f.UserID != "" {
		query = query.Where("user_id = ?", f.UserID)
	}
	if f.ProjectID != "" {
		query = query.Where("project_id = ?", f.ProjectID)
	}
	return query
}

func errNoToken(id string) *Error { return Errorf(CodeTokenNotFound, "There is no token %q.", id) }

// Authenticate finds who a token belongs to. Unknown, expired and revoked
// tokens, and those of somebody who is no member any more, are the same
// CodeUnauthorized.
func (s *Store) Authenticate(ctx context.Context, secret string) (Identity, error) {
	var row struct {
		ID, OrganizationID, UserID, ProjectID string
		Role                                  Role
		Scope                                 Scope
		Stale                                 bool
	}
	err := s.with(ctx).Raw(`SELECT t.id, t.organization_id, t.user_id, coalesce(t.project_id, '') AS project_id, t.scope, m.role,
			t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute' AS stale
		FROM tokens t JOIN memberships m ON m.organization_id = t.organization_id AND m.user_id = t.user_id
		WHERE t.hash = ? AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())`, HashSecret(secret)).Scan(&row).Error
	if err != nil {
		return Identity{}, dbError(err)
	}
	if row.ID == "" {
		return Identity{}, Errorf(CodeUnauthorized, "The token is not valid: it is unknown, has expired or was revoked. Run `slipway login`, or make a new one.")
	}
	if row.Stale {
		// Once a minute is enough for people and costs busy tokens nothing.
		if err := s.with(ctx).Exec("UPDATE tokens SET last_used_at = now() WHERE id = ?", row.ID).Error; err != nil {
			return Identity{}, dbError(err)
		}
	}
	return Identity{
		UserID: row.UserID, OrganizationID: row.OrganizationID, Role: row.Role, TokenID: row.ID, Scope: row.Scope, ProjectID: row.ProjectID,
	}, nil
}
