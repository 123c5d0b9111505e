package models

import (
	"context"
	"encoding/json"
	"time"

	"gorm.io/gorm"
)

// Verification proves something once: a mailed link, a sign-in elsewhere under
// way. Only the SHA-256 of its secret is kept.
type Verification struct {
	Hash      []byte `gorm:"primaryKey"`
	Kind      string
	UserID    *string
	Payload   json.RawMessage `gorm:"type:jsonb"`
	CreatedAt time.Time
	ExpiresAt time.Time
}

// AddVerification keeps what secret proves until end. payload is kept as JSON.
func (s *Store) AddVerification(ctx context.Context, kind, secret string, userID *string, payload any, end time.Time) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	row := Verification{Hash: verificationHash(kind, secret), Kind: kind, UserID: userID, Payload: raw, CreatedAt: time.Now().UTC(), ExpiresAt: end}
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return sweep(tx, "verifications", "hash")
	}))
}

// verificationHash keeps the secret of one kind from being another's.
func verificationHash(kind, secret string) []byte { return HashSecret(kind + ":" + secret) }

// HasVerification says whether the secret would still prove something.
func (s *Store) HasVerification(ctx context.Context, kind, secret string) (bool, error) {
	var n int64
	err := s.with(ctx).Model(&Verification{}).Where("hash = ? AND expires_at > now()", verificationHash(kind, secret)).Count(&n).Error
	return n > 0, dbError(err)
}

// ReadVerification decodes the payload of what the secret would prove, and leaves
// it to be spent. found is false when it is unknown, spent or expired.
func (s *Store) ReadVerification(ctx context.Context, kind, secret string, payload any) (found bool, err error) {
	var row Verification
	err = s.with(ctx).Where("hash = ? AND kind = ? AND expires_at > now()", verificationHash(kind, secret), kind).Limit(1).Find(&row).Error
	if err != nil || len(row.Hash) == 0 {
		return false, dbError(err)
	}
	return true, json.Unmarshal(row.Payload, payload)
}

// SpendVerification takes what the secret proves and decodes its payload; of
// several at once one finds it. found is false when it is unknown, spent or expired.
func (s *Store) SpendVerification(ctx context.Context, kind, secret string, payload any) (found bool, err error) {
	row, found, err := spend(s.with(ctx), kind, secret)
	if err != nil || !found {
		return false, dbError(err)
	}
	return true, json.Unmarshal(row.Payload, payload)
}

func spend(tx *gorm.DB, kind, secret string) (row Verification, found bool, err error) {
	err = tx.Raw("DELETE FROM verifications WHERE hash = ? AND kind = ? AND expires_at > now() RETURNING *", verificationHash(kind, secret), kind).Scan(&row).Error
	return row, len(row.Hash) > 0, err
}
