package models

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"gorm.io/gorm"
)

const (
	// DeviceTTL is how long a device's codes count.
	DeviceTTL = 15 * time.Minute
	// DeviceTokenTTL is how long a token counts that a device was given.
	DeviceTokenTTL = 90 * 24 * time.Hour
	devicePrefix   = "sld_"
	// userCodeLetters are consonants, so that codes spell no words, without Y, which
	// keyboards have in different places (RFC 8628 §6.1).
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength  = 8
)

// DeviceStatus is what has become of a device's request.
type DeviceStatus string

// A request is pending until its person answers.
const (
	DevicePending  DeviceStatus = "pending"
	DeviceApproved DeviceStatus = "approved"
	DeviceDenied   DeviceStatus = "denied"
)

// DeviceGrant is a program that asks to act for a person who confirms it in a
// browser (RFC 8628); only the SHA-256 of the device code is kept.
type DeviceGrant struct {
	Hash []byte `gorm:"primaryKey"`
	// UserCode is what the person compares or types, without a hyphen.
	UserCode   string
	ClientName string
	IPAddress  string `gorm:"column:ip_address"`
	Status     DeviceStatus
	// UserID and OrganizationID are of who approved it; nil until then.
	UserID         *string
	OrganizationID *string
	// Scope is what was asked for, from the approval on what was given.
	Scope     Scope
	PolledAt  *time.Time
	CreatedAt time.Time
	ExpiresAt time.Time
}

// FoldUserCode gives a user code as people may type it in the form it is kept
// in; not ok means that it can be none.
func FoldUserCode(typed string) (code string, ok bool) {
	code = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(typed))
	if len(code) != userCodeLength || strings.Trim(code, userCodeLetters) != "" {
		return "", false
	}
	return code, true
}

// ShowUserCode gives a user code as it is shown, BCDF-GHJK.
func ShowUserCode(code string) string {
	return code[:userCodeLength/2] + "-" + code[userCodeLength/2:]
}

// RequestDevice begins a device's request and returns the device code, which
// only the program knows. Requests that have ended are removed along the way.
func (s *Store) RequestDevice(ctx context.Context, clientName, address string, scope Scope) (row DeviceGrant, secret string, err error) {
	if err := s.with(ctx).Exec("DELETE FROM device_grants WHERE expires_at <= now()").Error; err != nil {
		return row, "", dbError(err)
	}
	secret = NewSecret(devicePrefix)
	now := time.Now().UTC()
	row = DeviceGrant{
		Hash: HashSecret(secret), ClientName: clientName, IPAddress: address, Status: DevicePending, Scope: scope, CreatedAt: now, ExpiresAt: now.Add(DeviceTTL),
	}
	for range 5 {
		row.UserCode = newUserCode()
		err = s.with(ctx).Create(&row).Error
		if !violates(err, "device_grants_user_code_key") {
			break
		}
	}
	return row, secret, dbError(err)
}

func newUserCode() string {
	// Each letter is chosen evenly: 240 of 256 values are used, 12 for each of 20.
	const even = 256 - 256%len(userCodeLetters)
	code := make([]byte, 0, userCodeLength)
	for len(code) < userCodeLength {
		var raw [16]byte
		_, _ = rand.Read(raw[:])
		for _, b := range raw {
			if int(b) < even && len(code) < userCodeLength {
				code = append(code, userCodeLetters[int(b)%len(userCodeLetters)])
			}
		}
	}
	return string(code)
}

// DeviceByCode reads the request with that user code, in the form of
// FoldUserCode; CodeNotFound when there is none that still counts.
func (s *Store) DeviceByCode(ctx context.Context, userCode string) (DeviceGrant, error) {
	var row DeviceGrant
	err := s.with(ctx).Where("user_code = ? AND expires_at > now()", userCode).Take(&row).Error
	return row, notFound(err, errNoDevice())
}

func errNoDevice() *Error {
	return Errorf(CodeNotFound, "There is no such code. It counts for %d minutes; begin again where you got it.", int(DeviceTTL.Minutes()))
}

// ApproveDevice lets a device act for a person, who must be a member of the
// organization: CodeOrganizationNotFound, and of a role that gives that scope:
// CodeForbidden. CodeNotFound when there is no such code, CodeConflict when it has
// been answered already.
func (s *Store) ApproveDevice(ctx context.Context, userCode, userID, organizationID string, scope Scope) error {
	member, err := s.MembershipOf(ctx, userID, organizationID, "")
	if err != nil {
		return err
	}
	if err := CheckTokenScope(member.Role, scope); err != nil {
		return err
	}
	err = s.answerDevice(ctx, userCode, map[string]any{"status": DeviceApproved, "user_id": userID, "organization_id": organizationID, "scope": scope})
	return orphaned(err, "device_grants_organization_id_fkey", NoOrganization(organizationID))
}

// DenyDevice refuses a device. CodeNotFound and CodeConflict as with ApproveDevice.
func (s *Store) DenyDevice(ctx context.Context, userCode string) error {
	return s.answerDevice(ctx, userCode, map[string]any{"status": DeviceDenied})
}

func (s *Store) answerDevice(ctx context.Context, userCode string, answer map[string]any) error {
	result := s.with(ctx).Model(&DeviceGrant{}).Where("user_code = ? AND status = ? AND expires_at > now()", userCode, DevicePending).Updates(answer)
	if result.Error != nil || result.RowsAffected > 0 {
		return dbError(result.Error)
	}
	if _, err := s.DeviceByCode(ctx, userCode); err != nil {
		return err
	}
	return Errorf(CodeConflict, "The request has been answered already.")
}

// RedeemDevice answers a device that asks whether it was approved, which it may
// once in every. The first time after the approval it gives the token, and the
// request is gone. Until then CodeAuthorizationPending, CodeSlowDown when asked
// too often, CodeAccessDenied when the person refused, and CodeExpiredToken when
// the code is unknown, used or over.
func (s *Store) RedeemDevice(ctx context.Context, deviceCode string, every time.Duration) (row Token, secret string, err error) {
	hash := HashSecret(deviceCode)
	// The outcome is kept apart from err, which would undo what was noted.
	var outcome error
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		var grant DeviceGrant
		err := tx.Raw("SELECT * FROM device_grants WHERE hash = ? AND expires_at > now() FOR UPDATE", hash).Scan(&grant).Error
		if err != nil {
			return err
		}
		switch {
		case grant.UserCode == "":
			outcome = Errorf(CodeExpiredToken, "The code is unknown, was used or is over. Begin again.")
			return nil
		case grant.Status == DevicePending && grant.PolledAt != nil && time.Since(*grant.PolledAt) < every:
			outcome = Errorf(CodeSlowDown, "Ask less often: wait five seconds longer each time.")
			return nil
		case grant.Status == DevicePending:
			outcome = Errorf(CodeAuthorizationPending, "Nobody has confirmed the code yet. Ask again.")
			return tx.Exec("UPDATE device_grants SET polled_at = ? WHERE hash = ?", time.Now().UTC(), hash).Error
		}
		if err := tx.Exec("DELETE FROM device_grants WHERE hash = ?", hash).Error; err != nil {
			return err
		}
		if grant.Status != DeviceApproved || grant.UserID == nil || grant.OrganizationID == nil {
			outcome = Errorf(CodeAccessDenied, "The request was refused in the browser.")
			return nil
		}
		ends := time.Now().UTC().Add(DeviceTokenTTL)
		row, secret = newToken(NewToken{
			OrganizationID: *grant.OrganizationID, UserID: *grant.UserID, Name: strings.TrimSpace("slipway login " + grant.ClientName), Scope: grant.Scope, ExpiresAt: &ends,
		})
		return tx.Create(&row).Error
	})
	if err == nil {
		err = outcome
	}
	return row, secret, dbError(err)
}
