package models

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// EnsureOwner makes, once, an organization with one user who owns it, and
// returns both. It is how a first start gets somebody to act as.
func (s *Store) EnsureOwner(ctx context.Context, organizationName, email string) (Identity, error) {
	var id Identity
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// Two first starts at once wait for each other here.
		if err := tx.Exec("SELECT pg_advisory_xact_lock(hashtext('slipway.owner'))").Error; err != nil {
			return err
		}
		var member Membership
		err := tx.Joins("JOIN users ON users.id = memberships.user_id").Where("users.email = ? AND role = 'owner'", email).
			Order("memberships.created_at").Limit(1).Find(&member).Error
		if err != nil {
			return err
		}
		if member.UserID != "" {
			id = Identity{UserID: member.UserID, OrganizationID: member.OrganizationID}
			return nil
		}
		user := User{ID: NewID(PrefixUser), Email: email, CreatedAt: time.Now().UTC()}
		if err := tx.Create(&user).Error; err != nil {
			return err
		}
		org, err := s.createOrganization(tx, organizationName, user.ID)
		id = Identity{UserID: user.ID, OrganizationID: org.ID}
		return err
	})
	return id, dbError(err)
}

// createOrganization is the one place where organizations come to be.
func (s *Store) createOrganization(tx *gorm.DB, name, ownerID string) (Organization, error) {
	org := Organization{
		ID: NewID(PrefixOrganization), Name: name, DeploymentsLimit: s.quotas.Deployments, BuildMinutesLimit: s.quotas.BuildMinutes,
		ProjectsLimit: s.quotas.Projects, DomainsLimit: s.quotas.Domains, StorageLimit: s.quotas.StorageBytes,
	}
	given := []string{"ID", "Name", "DeploymentsLimit", "BuildMinutesLimit", "ProjectsLimit", "DomainsLimit", "StorageLimit"}
	if err := tx.Clauses(clause.Returning{}).Select(given).Create(&org).Error; err != nil {
		return Organization{}, err
	}
	member := Membership{OrganizationID: org.ID, UserID: ownerID, Role: RoleOwner, CreatedAt: time.Now().UTC()}
	return org, tx.Create(&member).Error
}

// Organization reads one row; CodeNotFound when there is none.
func (s *Store) Organization(ctx context.Context, id string) (Organization, error) {
	var row Organization
	err := s.with(ctx).Where("id = ?", id).Take(&row).Error
	return row, notFound(err, Errorf(CodeNotFound, "There is no organization %q.", id))
}

// UIDSlot gives the organization's slot of host user ids, taking the lowest free
// one the first time. A slot is never given to another organization.
func (s *Store) UIDSlot(ctx context.Context, organizationID string) (int, error) {
	var slot int
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		err := tx.Raw("SELECT slot FROM uid_slots WHERE organization_id = ?", organizationID).Row().Scan(&slot)
		if err == nil {
			return nil
		}
		if err := tx.Exec("SELECT pg_advisory_xact_lock(hashtext('slipway.uid_slots'))").Error; err != nil {
			return err
		}
		return tx.Raw(`INSERT INTO uid_slots (organization_id, slot)
			SELECT ?, coalesce(max(slot) + 1, 0) FROM uid_slots
			ON CONFLICT (organization_id) DO UPDATE SET slot = uid_slots.slot RETURNING slot`, organizationID).Row().Scan(&slot)
	})
	return slot, dbError(err)
}

// CheckMember says whether a user belongs to an organization: nil or CodeForbidden.
func (s *Store) CheckMember(ctx context.Context, organizationID, userID string) error {
	var n int64
	err := s.with(ctx).Model(&Membership{}).Where("organization_id = ? AND user_id = ?", organizationID, userID).Count(&n).Error
	if err != nil {
		return dbError(err)
	}
	if n == 0 {
		return Errorf(CodeForbidden, "The user %q is not a member of the organization %q.", userID, organizationID)
	}
	return nil
}
