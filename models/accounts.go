package models

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Providers of accounts.
const (
	// ProviderCredential is a password kept here.
	ProviderCredential = "credential"
	ProviderGitHub     = "github"
)

// Account is a way a user signs in.
type Account struct {
	ID         string
	UserID     string
	ProviderID string
	// AccountID is the user's id at the provider; of ProviderCredential our own.
	AccountID    string
	PasswordHash string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// NewUser is what it takes to make a user with one way to sign in.
type NewUser struct {
	// Email is normalized by the caller; it is compared without regard to case.
	Email         string
	EmailVerified bool
	Name, Image   string
	ProviderID    string
	// AccountID is the id at the provider; empty is the user's own.
	AccountID    string
	PasswordHash string
	// OrganizationName is of the organization that the user gets and owns.
	OrganizationName string
}

// CreateUser makes the user, the account and the organization, or nothing.
// CodeConflict when somebody has the address or the account already.
func (s *Store) CreateUser(ctx context.Context, n NewUser) (User, error) {
	now := time.Now().UTC()
	user := User{ID: NewID(PrefixUser), Email: n.Email, EmailVerified: n.EmailVerified, Name: n.Name, Image: n.Image, CreatedAt: now, UpdatedAt: now}
	account := Account{ID: NewID(PrefixAccount), UserID: user.ID, ProviderID: n.ProviderID, AccountID: n.AccountID, PasswordHash: n.PasswordHash, CreatedAt: now, UpdatedAt: now}
	if account.AccountID == "" {
		account.AccountID = user.ID
	}
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&user).Error; err != nil {
			return taken(err)
		}
		if err := tx.Create(&account).Error; err != nil {
			return taken(err)
		}
		_, err := s.createOrganization(tx, n.OrganizationName, user.ID)
		return err
	})
	return user, dbError(err)
}

func taken(err error) error {
	for _, constraint := range []string{"users_email_key", "accounts_provider_id_account_id_key", "accounts_user_id_provider_id_key"} {
		if violates(err, constraint) {
			return Wrap(CodeConflict, err, "There is an account with this address already.")
		}
	}
	return err
}

// User reads one; found is false when there is none.
func (s *Store) User(ctx context.Context, id string) (user User, found bool, err error) {
	err = s.with(ctx).Where("id = ?", id).Limit(1).Find(&user).Error
	return user, user.ID != "", dbError(err)
}

// UserByEmail finds the user with an address and the hash of their password: ""
// when they have none. found is false when nobody has the address. It is one
// query whether or not there is somebody.
func (s *Store) UserByEmail(ctx context.Context, email string) (user User, passwordHash string, found bool, err error) {
	var row struct {
		User
		PasswordHash string
	}
	err = s.with(ctx).Raw(`SELECT u.*, coalesce(a.password_hash, '') AS password_hash
		FROM users u LEFT JOIN accounts a ON a.user_id = u.id AND a.provider_id = ? WHERE u.email = ?`, ProviderCredential, email).Scan(&row).Error
	return row.User, row.PasswordHash, row.User.ID != "", dbError(err)
}

// PasswordHash is of a user's password, "" without one.
func (s *Store) PasswordHash(ctx context.Context, userID string) (string, error) {
	var hash string
	err := s.with(ctx).Raw("SELECT password_hash FROM accounts WHERE user_id = ? AND provider_id = ?", userID, ProviderCredential).Scan(&hash).Error
	return hash, dbError(err)
}

// UserOfAccount finds whose account at a provider it is.
func (s *Store) UserOfAccount(ctx context.Context, provider, accountID string) (user User, found bool, err error) {
	err = s.with(ctx).Raw(`SELECT u.* FROM users u JOIN accounts a ON a.user_id = u.id
		WHERE a.provider_id = ? AND a.account_id = ?`, provider, accountID).Scan(&user).Error
	return user, user.ID != "", dbError(err)
}

// LinkAccount gives a user another way to sign in. CodeConflict when the account
// is somebody's already, or the user has another one at the provider.
func (s *Store) LinkAccount(ctx context.Context, userID, provider, accountID string) error {
	now := time.Now().UTC()
	row := Account{ID: NewID(PrefixAccount), UserID: userID, ProviderID: provider, AccountID: accountID, CreatedAt: now, UpdatedAt: now}
	return dbError(taken(s.with(ctx).Create(&row).Error))
}

// SetPassword gives a user a password, or another one. Links to a new password
// that were mailed before are of no use any more.
func (s *Store) SetPassword(ctx context.Context, userID, hash string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := setPassword(tx, userID, hash); err != nil {
			return err
		}
		return tx.Exec("DELETE FROM verifications WHERE user_id = ?", userID).Error
	}))
}

func setPassword(tx *gorm.DB, userID, hash string) error {
	now := time.Now().UTC()
	row := Account{ID: NewID(PrefixAccount), UserID: userID, ProviderID: ProviderCredential, AccountID: userID, PasswordHash: hash, CreatedAt: now, UpdatedAt: now}
	return tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "user_id"}, {Name: "provider_id"}},
		DoUpdates: clause.AssignmentColumns([]string{"password_hash", "updated_at"}),
	}).Create(&row).Error
}

// ResetPassword spends a verification of the kind and gives its user a new
// password; all their sessions end, and devices that were let in but have no token
// yet get none. Their address counts as verified, as the link came by mail; when
// it did not before, whoever signed up may have been somebody else, whose tokens
// are revoked. found is false when the secret is unknown, spent or expired.
func (s *Store) ResetPassword(ctx context.Context, kind, secret, hash string) (userID string, found bool, err error) {
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		row, ok, err := spend(tx, kind, secret)
		if err != nil || !ok || row.UserID == nil {
			return err
		}
		userID, found = *row.UserID, true
		if err := setPassword(tx, userID, hash); err != nil {
			return err
		}
		for _, statement := range []string{
			// Before the tokens: it waits for a device that is getting one at this moment.
			"DELETE FROM device_grants WHERE user_id = ?",
			`UPDATE tokens SET revoked_at = now() WHERE user_id = ? AND revoked_at IS NULL
				AND EXISTS (SELECT 1 FROM users u WHERE u.id = tokens.user_id AND NOT u.email_verified)`,
			"UPDATE users SET email_verified = true, updated_at = now() WHERE id = ?",
			"DELETE FROM sessions WHERE " + amongSessions("user_id = ?"),
			// What was mailed before is of no use any more.
			"DELETE FROM verifications WHERE user_id = ?",
		} {
			if err := tx.Exec(statement, userID).Error; err != nil {
				return err
			}
		}
		return nil
	})
	return userID, found, dbError(err)
}

// UpdateUser changes what is not nil of how a user is shown.
func (s *Store) UpdateUser(ctx context.Context, id string, name, image *string) (User, error) {
	change := map[string]any{"updated_at": time.Now().UTC()}
	if name != nil {
		change["name"] = *name
	}
	if image != nil {
		change["image"] = *image
	}
	var user User
	err := s.with(ctx).Model(&user).Clauses(clause.Returning{}).Where("id = ?", id).Updates(change).Error
	return user, dbError(err)
}

// InvitedBy says whether secret is the token of an invitation that was mailed to
// the address. It stays as it is: AcceptInvitation uses it up.
func (s *Store) InvitedBy(ctx context.Context, secret, email string) (bool, error) {
	var n int64
	err := s.with(ctx).Table("invitations").Where("hash = ? AND email = ? AND expires_at > now()", HashSecret(secret), email).Count(&n).Error
	return n > 0, dbError(err)
}

// Invited says whether an invitation waits for somebody with this address.
func (s *Store) Invited(ctx context.Context, email string) (bool, error) {
	var n int64
	err := s.with(ctx).Table("invitations").Where("email = ? AND expires_at > now()", email).Count(&n).Error
	return n > 0, dbError(err)
}
