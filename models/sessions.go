package models

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// maxSessions is how many sessions a user keeps; the oldest go first.
const maxSessions = 100

// Session is a sign-in of a user in one browser; only the SHA-256 of its token
// is kept.
type Session struct {
	ID     string
	Hash   []byte
	UserID string
	// OrganizationID is the one last acted in, "" at first.
	OrganizationID string
	IPAddress      string
	UserAgent      string
	// Remembered sessions outlive the browser and are renewed.
	Remembered bool
	CreatedAt  time.Time
	UpdatedAt  time.Time
	ExpiresAt  time.Time
}

// CreateSession makes a session of n's user and returns its token, which is
// known to nobody else.
func (s *Store) CreateSession(ctx context.Context, n Session) (row Session, token string, err error) {
	token = NewSecret("")
	now := time.Now().UTC()
	n.ID, n.Hash, n.CreatedAt, n.UpdatedAt = NewID(PrefixSession), HashSecret(token), now, now
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&n).Error; err != nil {
			return err
		}
		var old []string
		if err := tx.Raw("SELECT id FROM sessions WHERE user_id = ? ORDER BY created_at DESC, id OFFSET ?", n.UserID, maxSessions).Scan(&old).Error; err != nil {
			return err
		}
		if len(old) > 0 {
			if err := endSessions(tx, "id IN ?", old); err != nil {
				return err
			}
		}
		return sweep(tx, "sessions", "id")
	})
	return n, token, dbError(err)
}

// sweep removes a few rows that have expired. Whoever adds a row calls it, so
// that there are never many.
func sweep(tx *gorm.DB, table, key string) error {
	return tx.Exec("DELETE FROM " + table + " WHERE " + key + " IN (SELECT " + key + " FROM " + table +
		" WHERE expires_at <= now() ORDER BY expires_at LIMIT 50 FOR UPDATE SKIP LOCKED)").Error
}

// SessionsByToken finds the sessions that live of these tokens, with whose they
// are, in no order.
func (s *Store) SessionsByToken(ctx context.Context, tokens []string) ([]Session, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	hashes := make([][]byte, len(tokens))
	for i, token := range tokens {
		hashes[i] = HashSecret(token)
	}
	var rows []Session
	err := s.with(ctx).Where("hash IN ? AND expires_at > now()", hashes).Find(&rows).Error
	return rows, dbError(err)
}

// ListSessions gives the sessions of a user that live, the newest first.
func (s *Store) ListSessions(ctx context.Context, userID string) ([]Session, error) {
	var rows []Session
	err := s.with(ctx).Where("user_id = ? AND expires_at > now()", userID).Order("created_at DESC, id").Limit(maxSessions).Find(&rows).Error
	return rows, dbError(err)
}

// RenewSession lets a session live until end; found is false when it has ended
// in the meantime.
func (s *Store) RenewSession(ctx context.Context, id string, end time.Time) (row Session, found bool, err error) {
	err = s.with(ctx).Model(&row).Clauses(clause.Returning{}).Where("id = ?", id).
		Updates(map[string]any{"expires_at": end, "updated_at": time.Now().UTC()}).Error
	return row, row.ID != "", dbError(err)
}

// EndSession ends a session of a user and says whether there was one; one that is
// not theirs stays.
func (s *Store) EndSession(ctx context.Context, userID, id string) (ended bool, err error) {
	done := s.with(ctx).Exec("DELETE FROM sessions WHERE user_id = ? AND id = ?", userID, id)
	return done.RowsAffected > 0, dbError(done.Error)
}

// EndSessions ends all sessions of a user but one; "" spares none.
func (s *Store) EndSessions(ctx context.Context, userID, except string) error {
	return dbError(endSessions(s.with(ctx), "user_id = ? AND id <> ?", userID, except))
}

// endSessions ends those of which the condition is true.
func endSessions(tx *gorm.DB, condition string, args ...any) error {
	return tx.Exec("DELETE FROM sessions WHERE "+amongSessions(condition), args...).Error
}

// amongSessions is the condition of a statement that changes several sessions. It
// locks them in the order of their ids: two that change the same ones at once would
// otherwise wait for each other.
func amongSessions(condition string) string {
	return "id IN (SELECT id FROM sessions WHERE " + condition + " ORDER BY id FOR UPDATE)"
}

// ActIn keeps the organization that a session acts in from now on, for requests
// that name none.
func (s *Store) ActIn(ctx context.Context, sessionID, organizationID string) error {
	return dbError(s.with(ctx).Exec("UPDATE sessions SET organization_id = ? WHERE id = ?", organizationID, sessionID).Error)
}
