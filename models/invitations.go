package models

import (
	"context"
	"strings"
	"time"

	"gorm.io/gorm"
)

const (
	// InvitationTTL is how long an invitation counts.
	InvitationTTL = 7 * 24 * time.Hour
	// MaxInvitations bounds the open invitations of an organization: each is a mail
	// to somebody who did not ask for it.
	MaxInvitations = 100
	// invitationPrefix begins the token in an invitation's link.
	invitationPrefix = "sli_"
)

// Invitation asks somebody to join an organization; only the SHA-256 of the
// mailed token is kept.
type Invitation struct {
	ID             string
	OrganizationID string
	Email          string
	Role           Role
	Hash           []byte
	// InvitedBy is the user who sent it.
	InvitedBy string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Invite invites an address in the name of a member and returns the secret for
// the mail. Inviting an address again replaces its invitation, whose link is
// dead from then on. The role is at most the inviter's own, and only an owner
// replaces an invitation of an owner: CodeForbidden. CodeConflict when the
// address is a member's already, CodeQuotaExceeded with MaxInvitations open.
func (s *Store) Invite(ctx context.Context, organizationID, inviterID, email string, role Role) (row Invitation, secret string, err error) {
	secret = NewSecret(invitationPrefix)
	now := time.Now().UTC()
	row = Invitation{
		ID: NewID(PrefixInvitation), OrganizationID: organizationID, Email: email, Role: role, Hash: HashSecret(secret),
		InvitedBy: inviterID, CreatedAt: now, ExpiresAt: now.Add(InvitationTTL),
	}
	err = s.changeMembers(ctx, organizationID, func(tx *gorm.DB, members map[string]Role) error {
		var former Invitation
		if err := tx.Where("organization_id = ? AND email = ?", organizationID, email).Limit(1).Find(&former).Error; err != nil {
			return err
		}
		if err := mayManage(members[inviterID], former.Role, role); err != nil {
			return err
		}
		var joined, open int64
		err := tx.Table("memberships m").Joins("JOIN users u ON u.id = m.user_id").
			Where("m.organization_id = ? AND u.email = ?", organizationID, email).Count(&joined).Error
		if err != nil {
			return err
		}
		if joined > 0 {
			return Errorf(CodeConflict, "%s is a member already. Change the role instead.", email)
		}
		err = tx.Where("organization_id = ? AND (email = ? OR expires_at <= now())", organizationID, email).Delete(&Invitation{}).Error
		if err != nil {
			return err
		}
		if err := tx.Model(&Invitation{}).Where("organization_id = ?", organizationID).Count(&open).Error; err != nil {
			return err
		}
		if open >= MaxInvitations {
			return Errorf(CodeQuotaExceeded, "The organization has %d open invitations, the most there can be. Withdraw some first.", open).
				WithDetails(map[string]any{"limit": MaxInvitations, "used": open})
		}
		return tx.Create(&row).Error
	})
	return row, secret, err
}

// InvitationFilter narrows Invitations.
type InvitationFilter struct {
	OrganizationID string
	// After is where the page before ended.
	After Position
	Limit int
}

// Invitations lists the open invitations of an organization, newest first.
func (s *Store) Invitations(ctx context.Context, f InvitationFilter) ([]Invitation, error) {
	query := s.with(ctx).Where("organization_id = ? AND expires_at > now()", f.OrganizationID)
	if !f.After.Begins() {
		query = query.Where("(created_at, id) < (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []Invitation
	err := query.Order("created_at DESC, id DESC").Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}

// OwnInvitation is an invitation as the person invited sees it.
type OwnInvitation struct {
	Invitation
	OrganizationName string
	// InviterName is of who sent it: their name, else their address.
	InviterName string
}

// InvitationsOf lists what a person is invited to, newest first. Only a verified
// address counts: anybody can sign up with somebody else's.
func (s *Store) InvitationsOf(ctx context.Context, userID string, after Position, limit int) ([]OwnInvitation, error) {
	var rows []OwnInvitation
	err := s.with(ctx).Raw(`SELECT i.*, o.name AS organization_name, coalesce(nullif(b.name, ''), b.email, '') AS inviter_name
		FROM users u JOIN invitations i ON i.email = u.email JOIN organizations o ON o.id = i.organization_id
		LEFT JOIN users b ON b.id = i.invited_by
		WHERE u.id = @user AND u.email_verified AND i.expires_at > now() AND (@begins OR (i.created_at, i.id) < (@at, @after))
		ORDER BY i.created_at DESC, i.id DESC LIMIT @limit`,
		map[string]any{"user": userID, "begins": after.Begins(), "at": after.At(), "after": after.ID, "limit": limit}).Scan(&rows).Error
	return rows, dbError(err)
}

// Withdraw deletes an invitation in the name of a member; only an owner one of
// an owner: CodeForbidden. CodeInvitationNotFound.
func (s *Store) Withdraw(ctx context.Context, organizationID, actorID, id string) error {
	return s.changeMembers(ctx, organizationID, func(tx *gorm.DB, members map[string]Role) error {
		var row Invitation
		err := tx.Where("organization_id = ? AND id = ?", organizationID, id).Take(&row).Error
		if err != nil {
			return notFound(err, errNoInvitation())
		}
		if err := mayManage(members[actorID], row.Role, RoleViewer); err != nil {
			return err
		}
		return tx.Where("id = ?", id).Delete(&Invitation{}).Error
	})
}

func errNoInvitation() *Error {
	return Errorf(CodeInvitationNotFound, "There is no such invitation: it is unknown, was used, withdrawn or replaced, or is older than %d days. Ask for a new one.", int(InvitationTTL.Hours()/24))
}

// AcceptInvitation makes a person a member by the token mailed to them, once.
// Having it proves that the address is theirs, which becomes verified.
// CodeInvitationNotFound; CodeForbidden when it was sent to another address.
func (s *Store) AcceptInvitation(ctx context.Context, userID, secret string) (Membership, error) {
	return s.accept(ctx, userID, func(tx *gorm.DB) *gorm.DB { return tx.Where("hash = ?", HashSecret(secret)) }, true)
}

// AcceptInvitationID is AcceptInvitation for somebody whose address is verified
// already, by the invitation's id. CodeInvitationNotFound when it is not theirs.
func (s *Store) AcceptInvitationID(ctx context.Context, userID, id string) (Membership, error) {
	return s.accept(ctx, userID, func(tx *gorm.DB) *gorm.DB { return tx.Where("id = ?", id) }, false)
}

// accept uses an invitation up. mailed says that who accepts has the mail.
func (s *Store) accept(ctx context.Context, userID string, which func(*gorm.DB) *gorm.DB, mailed bool) (Membership, error) {
	var member Membership
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		var user User
		if err := tx.Where("id = ?", userID).Take(&user).Error; err != nil {
			return err
		}
		var row Invitation
		if err := which(tx).Where("expires_at > now()").Take(&row).Error; err != nil {
			return notFound(err, errNoInvitation())
		}
		theirs := strings.EqualFold(row.Email, user.Email)
		switch {
		case mailed && !theirs:
			return Errorf(CodeForbidden, "The invitation was sent to another address than the one you are signed in with.")
		case !mailed && !(theirs && user.EmailVerified):
			return errNoInvitation()
		}
		// The organization first, as everywhere, then the invitation: one that is
		// withdrawn or used at this moment is gone by then.
		if err := lockOrganization(tx, row.OrganizationID, "NO KEY UPDATE"); err != nil {
			return errNoInvitation()
		}
		used := tx.Where("id = ? AND hash = ?", row.ID, row.Hash).Delete(&Invitation{})
		if used.Error != nil {
			return used.Error
		}
		if used.RowsAffected == 0 {
			return errNoInvitation()
		}
		if err := tx.Exec("UPDATE users SET email_verified = true WHERE id = ? AND NOT email_verified", userID).Error; err != nil {
			return err
		}
		err := tx.Exec(`INSERT INTO memberships (organization_id, user_id, role, created_at) VALUES (?, ?, ?, now()) ON CONFLICT DO NOTHING`,
			row.OrganizationID, userID, row.Role).Error
		if err != nil {
			return err
		}
		return tx.Where("organization_id = ? AND user_id = ?", row.OrganizationID, userID).Take(&member).Error
	})
	return member, dbError(err)
}
