package models

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// MaxOwned bounds the organizations one person owns: each has quotas of its own.
const MaxOwned = 20

// OwnOrganization is an organization as one of its members sees it.
type OwnOrganization struct {
	ID        string
	Name      string
	Role      Role
	CreatedAt time.Time
	// JoinedAt is when the person became a member.
	JoinedAt time.Time
}

// NoOrganization is the CodeOrganizationNotFound of everything that is asked of an
// organization one does not belong to, whether or not there is one.
func NoOrganization(id string) *Error {
	return Errorf(CodeOrganizationNotFound, "There is no organization %q that you belong to.", id)
}

// FoundOrganization makes an organization that the user owns.
// CodeQuotaExceeded when they own MaxOwned already.
func (s *Store) FoundOrganization(ctx context.Context, userID, name string) (Organization, error) {
	var row Organization
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// Two requests of one person wait for each other here.
		if err := tx.Exec("SELECT 1 FROM users WHERE id = ? FOR NO KEY UPDATE", userID).Error; err != nil {
			return err
		}
		var owned int64
		if err := tx.Model(&Membership{}).Where("user_id = ? AND role = ?", userID, RoleOwner).Count(&owned).Error; err != nil {
			return err
		}
		if owned >= MaxOwned {
			return Errorf(CodeQuotaExceeded, "A person owns at most %d organizations.", MaxOwned).
				WithDetails(map[string]any{"limit": MaxOwned, "used": owned})
		}
		var err error
		row, err = s.createOrganization(tx, name, userID)
		return err
	})
	return row, dbError(err)
}

// OwnFilter narrows OrganizationsOf.
type OwnFilter struct {
	UserID string
	// OrganizationID leaves only that one; "" is all.
	OrganizationID string
	// After is where the page before ended.
	After Position
	Limit int
}

// OrganizationsOf lists a person's organizations, those joined first first.
func (s *Store) OrganizationsOf(ctx context.Context, f OwnFilter) ([]OwnOrganization, error) {
	query := s.with(ctx).Table("memberships m").Joins("JOIN organizations o ON o.id = m.organization_id").
		Select("o.id, o.name, m.role, o.created_at, m.created_at AS joined_at").Where("m.user_id = ?", f.UserID)
	if f.OrganizationID != "" {
		query = query.Where("o.id = ?", f.OrganizationID)
	}
	if !f.After.Begins() {
		query = query.Where("(m.created_at, o.id) > (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []OwnOrganization
	err := query.Order("m.created_at, o.id").Limit(f.Limit).Scan(&rows).Error
	return rows, dbError(err)
}

// RenameOrganization gives it another name. With versions only while it has one
// of them, else CodePreconditionFailed; CodeOrganizationNotFound.
func (s *Store) RenameOrganization(ctx context.Context, id, name string, versions []int64) (Organization, error) {
	var row Organization
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := lockOrganization(tx, id, "NO KEY UPDATE"); err != nil {
			return err
		}
		if err := tx.Where("id = ?", id).Take(&row).Error; err != nil {
			return err
		}
		if versions != nil && !slices.Contains(versions, row.Version) {
			return Errorf(CodePreconditionFailed, "The organization has changed since you read it. Read it again and repeat this if it still makes sense.")
		}
		// The database counts the version.
		return tx.Model(&row).Clauses(clause.Returning{}).Where("id = ?", id).Update("name", name).Error
	})
	return row, dbError(err)
}

// DeleteOrganization ends an organization with its members, tokens and
// invitations. CodeConflict while it has projects: a project's end is a deletion
// of its own, with what it runs. CodeOrganizationNotFound.
func (s *Store) DeleteOrganization(ctx context.Context, id string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// A project made at this moment refers to the row and waits.
		if err := lockOrganization(tx, id, "UPDATE"); err != nil {
			return err
		}
		var projects int64
		if err := tx.Model(&Project{}).Where("organization_id = ?", id).Count(&projects).Error; err != nil {
			return err
		}
		if projects > 0 {
			return Errorf(CodeConflict, "The organization has %d projects. Delete or transfer them first.", projects).
				WithDetails(map[string]any{"projects": projects})
		}
		if err := tx.Exec("UPDATE sessions SET organization_id = '' WHERE "+amongSessions("organization_id = ?"), id).Error; err != nil {
			return err
		}
		return tx.Where("id = ?", id).Delete(&Organization{}).Error
	}))
}

// lockOrganization holds an organization's row until the transaction ends, with
// the strength of FOR; CodeOrganizationNotFound.
func lockOrganization(tx *gorm.DB, id, strength string) error {
	var found []string
	if err := tx.Raw("SELECT id FROM organizations WHERE id = ? FOR "+strength, id).Scan(&found).Error; err != nil {
		return err
	}
	if len(found) == 0 {
		return NoOrganization(id)
	}
	return nil
}
