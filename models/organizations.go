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
		org, err := createOrganization(tx, organizationName, user.ID)
		id = Identity{UserID: user.ID, OrganizationID: org.ID}
		return err
	})
	return id, dbError(err)
}

// CreateOrganization makes an organization that the user owns.
func (s *Store) CreateOrganization(ctx context.Context, name, ownerID string) (Organization, error) {
	var org Organization
	err := s.with(ctx).Transaction(func(tx *gorm.DB) (err error) {
		org, err = createOrganization(tx, name, ownerID)
		return err
	})
	return org, dbError(err)
}

// createOrganization is the one place where organizations come to be.
func createOrganization(tx *gorm.DB, name, ownerID string) (Organization, error) {
	org := Organization{ID: NewID(PrefixOrganization), Name: name}
	if err := tx.Clauses(clause.Returning{}).Select("ID", "Name").Create(&org).Error; err != nil {
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

// SetDeploymentsLimit sets how many deployments an organization has in a period.
func (s *Store) SetDeploymentsLimit(ctx context.Context, id string, limit int64) error {
	return dbError(s.with(ctx).Model(&Organization{}).Where("id = ?", id).Update("deployments_limit", limit).Error)
}

// CheckQuota says, without reserving, whether a deployment would be let in now:
// nil or CodeQuotaExceeded with the numbers.
func (s *Store) CheckQuota(ctx context.Context, organizationID string) error {
	org, err := s.Organization(ctx, organizationID)
	if err != nil {
		return err
	}
	if org.DeploymentsUsed >= org.DeploymentsLimit && time.Now().Before(org.PeriodEnd) {
		return quotaExceeded(org)
	}
	return nil
}

// ReserveQuota takes one deployment out of the organization's quota, in one
// statement and once per deployment however often it is called. It returns
// CodeQuotaExceeded with the numbers when none is left.
func (s *Store) ReserveQuota(ctx context.Context, organizationID, deploymentID string) error {
	// Two overlapping calls for one deployment both pass NOT EXISTS; the second
	// then violates the primary key, which undoes its count as well.
	const statement = `
WITH taken AS (
    UPDATE organizations SET
        deployments_used = CASE WHEN period_end <= now() THEN 1 ELSE deployments_used + 1 END,
        period_start = CASE WHEN period_end <= now() THEN date_trunc('month', now()) ELSE period_start END,
        period_end = CASE WHEN period_end <= now() THEN date_trunc('month', now()) + interval '1 month' ELSE period_end END
    WHERE id = @org AND (deployments_used < deployments_limit OR (period_end <= now() AND deployments_limit > 0))
        AND NOT EXISTS (SELECT 1 FROM quota_reservations WHERE deployment_id = @deployment)
    RETURNING id, period_start)
INSERT INTO quota_reservations (deployment_id, organization_id, period_start)
SELECT @deployment, id, period_start FROM taken`
	args := map[string]any{"org": organizationID, "deployment": deploymentID}
	result := s.with(ctx).Exec(statement, args)
	if result.Error != nil && !violates(result.Error, "quota_reservations_pkey") {
		return dbError(result.Error)
	}
	if result.Error == nil && result.RowsAffected == 1 {
		return nil
	}
	var reserved int64
	if err := s.with(ctx).Table("quota_reservations").Where("deployment_id = ?", deploymentID).Count(&reserved).Error; err != nil {
		return dbError(err)
	}
	if reserved > 0 {
		return nil
	}
	org, err := s.Organization(ctx, organizationID)
	if err != nil {
		return err
	}
	return quotaExceeded(org)
}

func quotaExceeded(org Organization) error {
	return Errorf(CodeQuotaExceeded, "The organization has used %d of its %d deployments; the count starts anew on %s.",
		org.DeploymentsUsed, org.DeploymentsLimit, org.PeriodEnd.UTC().Format("2006-01-02")).
		WithDetails(map[string]any{"limit": org.DeploymentsLimit, "used": org.DeploymentsUsed, "resetsAt": org.PeriodEnd.UTC()})
}

// SettleQuota makes a reservation final: the deployment counts. Idempotent.
func (s *Store) SettleQuota(ctx context.Context, deploymentID string) error {
	return dbError(s.with(ctx).Exec("UPDATE quota_reservations SET state = 'settled' WHERE deployment_id = ? AND state = 'reserved'", deploymentID).Error)
}

// RefundQuota gives a reservation back, unless it is settled. Idempotent. A
// reservation of an earlier period is not added to the current one.
func (s *Store) RefundQuota(ctx context.Context, deploymentID string) error {
	const statement = `
WITH given AS (
    UPDATE quota_reservations SET state = 'refunded' WHERE deployment_id = ? AND state = 'reserved'
    RETURNING organization_id, period_start)
UPDATE organizations o SET deployments_used = greatest(o.deployments_used - 1, 0)
FROM given WHERE o.id = given.organization_id AND o.period_start = given.period_start`
	return dbError(s.with(ctx).Exec(statement, deploymentID).Error)
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
