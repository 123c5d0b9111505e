package models

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
)

// MembershipOf gives the membership that a person's request goes by: of the
// organization wanted, which must be theirs, else CodeOrganizationNotFound; with
// wanted "" of the one preferred, and where they are no member of that, of the
// first they joined.
func (s *Store) MembershipOf(ctx context.Context, userID, wanted, preferred string) (Membership, error) {
	query := s.with(ctx).Where("user_id = ?", userID)
	if wanted != "" {
		query = query.Where("organization_id = ?", wanted)
	}
	var rows []Membership
	err := query.Order("created_at, organization_id").Find(&rows).Error
	if err != nil {
		return Membership{}, dbError(err)
	}
	if len(rows) == 0 && wanted != "" {
		return Membership{}, NoOrganization(wanted)
	}
	if len(rows) == 0 {
		return Membership{}, Errorf(CodeOrganizationNotFound, "You belong to no organization yet. Make one, or accept an invitation.")
	}
	for _, row := range rows {
		if row.OrganizationID == preferred {
			return row, nil
		}
	}
	return rows[0], nil
}

// Member is a person in an organization.
type Member struct {
	UserID string
	Email  string
	Name   string
	Image  string
	Role   Role
	// JoinedAt is when they became a member.
	JoinedAt time.Time
}

// MemberFilter narrows Members.
type MemberFilter struct {
	OrganizationID string
	// After is where the page before ended.
	After Position
	Limit int
}

const memberColumns = `SELECT m.user_id, u.email, u.name, u.image, m.role, m.created_at AS joined_at
	FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.organization_id = @org `

// Members lists the people of an organization, those who joined first first.
func (s *Store) Members(ctx context.Context, f MemberFilter) ([]Member, error) {
	query := memberColumns
	if !f.After.Begins() {
		query += `AND (m.created_at, m.user_id) > (@at, @after) `
	}
	var rows []Member
	err := s.with(ctx).Raw(query+`ORDER BY m.created_at, m.user_id LIMIT @limit`,
		map[string]any{"org": f.OrganizationID, "at": f.After.At(), "after": f.After.ID, "limit": f.Limit}).Scan(&rows).Error
	return rows, dbError(err)
}

// Member reads one; CodeMemberNotFound.
func (s *Store) Member(ctx context.Context, organizationID, userID string) (Member, error) {
	var rows []Member
	err := s.with(ctx).Raw(memberColumns+`AND m.user_id = @user`, map[string]any{"org": organizationID, "user": userID}).Scan(&rows).Error
	if err != nil {
		return Member{}, dbError(err)
	}
	if len(rows) == 0 {
		return Member{}, errNoMember(userID)
	}
	return rows[0], nil
}

func errNoMember(userID string) *Error {
	return Errorf(CodeMemberNotFound, "The organization has no member %q.", userID)
}

// ChangeRole gives a member another role in the name of the actor. What the
// actor may do is read with the change, so that one who loses a role at the same
// moment cannot use it any more: CodeForbidden unless an admin changes what is
// below an owner, or an owner anything. CodeMemberNotFound, and CodeLastOwner
// when nobody would own the organization.
func (s *Store) ChangeRole(ctx context.Context, organizationID, actorID, userID string, role Role) error {
	return s.changeMembers(ctx, organizationID, func(tx *gorm.DB, members map[string]Role) error {
		now, ok := members[userID]
		if !ok {
			return errNoMember(userID)
		}
		if err := mayManage(members[actorID], now, role); err != nil {
			return err
		}
		if err := keepOwner(members, userID, role); err != nil {
			return err
		}
		err := tx.Model(&Membership{}).Where("organization_id = ? AND user_id = ?", organizationID, userID).Update("role", role).Error
		if err != nil {
			return err
		}
		return withdrawInvitations(tx, organizationID, userID, role)
	})
}

// RemoveMember takes a member out of an organization in the name of the actor,
// who may be the member: whoever leaves needs no role for it. Their tokens of
// the organization are revoked, and invitations they sent withdrawn.
// CodeForbidden, CodeMemberNotFound and CodeLastOwner as with ChangeRole.
func (s *Store) RemoveMember(ctx context.Context, organizationID, actorID, userID string) error {
	return s.changeMembers(ctx, organizationID, func(tx *gorm.DB, members map[string]Role) error {
		now, ok := members[userID]
		if !ok {
			return errNoMember(userID)
		}
		if actorID != userID {
			if err := mayManage(members[actorID], now, RoleViewer); err != nil {
				return err
			}
		}
		if err := keepOwner(members, userID, ""); err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM memberships WHERE organization_id = ? AND user_id = ?",
			// Before the tokens: it waits for a device that is getting one at this moment.
			"DELETE FROM device_grants WHERE organization_id = ? AND user_id = ?",
			"UPDATE tokens SET revoked_at = now() WHERE organization_id = ? AND user_id = ? AND revoked_at IS NULL",
			"UPDATE sessions SET organization_id = '' WHERE " + amongSessions("organization_id = ? AND user_id = ?"),
		} {
			if err := tx.Exec(statement, organizationID, userID).Error; err != nil {
				return err
			}
		}
		return withdrawInvitations(tx, organizationID, userID, "")
	})
}

// changeMembers runs change with the organization's members as they are. Changes
// of one organization's members happen one after the other: two owners who leave
// at once are not both told that the other stays.
func (s *Store) changeMembers(ctx context.Context, organizationID string, change func(tx *gorm.DB, members map[string]Role) error) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := lockOrganization(tx, organizationID, "NO KEY UPDATE"); err != nil {
			return err
		}
		var rows []Membership
		if err := tx.Where("organization_id = ?", organizationID).Find(&rows).Error; err != nil {
			return err
		}
		members := make(map[string]Role, len(rows))
		for _, row := range rows {
			members[row.UserID] = row.Role
		}
		return change(tx, members)
	}))
}

// mayManage says whether an actor with that role may take somebody from one role
// to another: nil or CodeForbidden.
func mayManage(actor, from, to Role) error {
	switch {
	case actor == RoleOwner:
		return nil
	case !actor.Includes(RoleAdmin):
		return Errorf(CodeForbidden, "This needs the role %s in the organization.", RoleAdmin)
	case from == RoleOwner || to == RoleOwner:
		return Errorf(CodeForbidden, "Only an owner can make, change or remove an owner.")
	}
	return nil
}

// keepOwner refuses to leave an organization without an owner when userID gets
// that role, "" for none.
func keepOwner(members map[string]Role, userID string, role Role) error {
	if members[userID] != RoleOwner || role == RoleOwner {
		return nil
	}
	for id, other := range members {
		if id != userID && other == RoleOwner {
			return nil
		}
	}
	return Errorf(CodeLastOwner, "The organization needs an owner: make somebody else one first, or delete the organization.")
}

// withdrawInvitations deletes what a member invited to and could not any more
// with that role, "" for none.
func withdrawInvitations(tx *gorm.DB, organizationID, userID string, role Role) error {
	may := []Role{""}
	if role.Includes(RoleAdmin) {
		may = slices.DeleteFunc(Roles(), func(r Role) bool { return !role.Includes(r) })
	}
	return tx.Where("organization_id = ? AND invited_by = ? AND role NOT IN ?", organizationID, userID, may).Delete(&Invitation{}).Error
}
