package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// CheckQuota says, without reserving, whether a deployment would be let in now:
// nil or CodeQuotaExceeded with the numbers.
func (s *Store) CheckQuota(ctx context.Context, organizationID string) error {
	return s.checkQuota(ctx, organizationID, ResourceDeployments)
}

func (s *Store) checkQuota(ctx context.Context, organizationID string, resource Resource) error {
	tx := s.with(ctx)
	q, err := readQuota(tx, organizationID, "")
	if err != nil {
		return dbError(err)
	}
	return dbError(q.admit(tx, resource, 1))
}

// ReserveQuota takes one deployment out of the organization's quota, once per
// deployment however often it is called; CreateDeployment has done so already
// for whatever it wrote. CodeQuotaExceeded with the numbers when none is left.
func (s *Store) ReserveQuota(ctx context.Context, organizationID, deploymentID string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		q, err := holdQuota(tx, organizationID)
		if err != nil {
			return err
		}
		return q.reserve(tx, deploymentID)
	}))
}

// reserve is ReserveQuota while the quota is held.
func (q quota) reserve(tx *gorm.DB, deploymentID string) error {
	var reserved int64
	if err := tx.Table("quota_reservations").Where("deployment_id = ?", deploymentID).Count(&reserved).Error; err != nil || reserved > 0 {
		return err
	}
	if err := q.admit(tx, ResourceDeployments, 1); err != nil {
		return err
	}
	err := tx.Exec("INSERT INTO quota_reservations (deployment_id, organization_id, period_start) VALUES (?, ?, ?)",
		deploymentID, q.ID, q.PeriodStart).Error
	if err != nil {
		return err
	}
	return tx.Exec("UPDATE organizations SET deployments_used = deployments_used + 1 WHERE id = ?", q.ID).Error
}

// CheckBuild says whether a build of the organization would be let begin now: nil,
// or CodeQuotaExceeded with the numbers when no build minute is left. AdmitBuild
// decides.
func (s *Store) CheckBuild(ctx context.Context, organizationID string) error {
	return s.checkQuota(ctx, organizationID, ResourceBuildMinutes)
}

// AdmitBuild lets the build of a deployment begin: nil, or CodeQuotaExceeded with
// the numbers when no build minute is left. A build that was let in stays so, on
// another host and after an operator's retry too.
func (s *Store) AdmitBuild(ctx context.Context, organizationID, deploymentID string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// Held, so that a build that ends at the same moment is charged before or
		// after, and the month is the one that is now.
		q, err := holdQuota(tx, organizationID)
		if err != nil {
			return err
		}
		var admitted bool
		err = tx.Raw("SELECT build_admitted FROM quota_reservations WHERE deployment_id = ?", deploymentID).Scan(&admitted).Error
		if err != nil || admitted {
			return err
		}
		if err := q.admit(tx, ResourceBuildMinutes, 1); err != nil {
			return err
		}
		return tx.Exec("UPDATE quota_reservations SET build_admitted = true WHERE deployment_id = ?", deploymentID).Error
	}))
}

// NoteBuildTime notes how long a step of a deployment (StepSandbox or StepBuild)
// worked in a sandbox. The last word on a step counts, so a step that the platform
// made run again counts once. It is charged when the reservation is settled.
func (s *Store) NoteBuildTime(ctx context.Context, deploymentID string, step Step, worked time.Duration) error {
	column := "build_ms"
	if step == StepSandbox {
		column = "sandbox_ms"
	}
	return dbError(s.with(ctx).Exec("UPDATE quota_reservations SET "+column+" = ? WHERE deployment_id = ? AND state = 'reserved'",
		worked.Milliseconds(), deploymentID).Error)
}

// SettleQuota makes a reservation final: the deployment counts, and the time its
// build took. Idempotent.
func (s *Store) SettleQuota(ctx context.Context, deploymentID string) error {
	// A build that ends in another month than it began in is charged to that one.
	return s.endReservation(ctx, deploymentID, `
WITH done AS (
    UPDATE quota_reservations SET state = 'settled' WHERE deployment_id = ? AND state = 'reserved'
    RETURNING organization_id, ceil((sandbox_ms + build_ms) / 1000.0)::bigint AS seconds)
UPDATE organizations o SET build_seconds_used = o.build_seconds_used + done.seconds FROM done WHERE o.id = done.organization_id`)
}

// RefundQuota gives a reservation back, unless it is settled. Idempotent. A
// reservation of an earlier period is not added to the current one.
func (s *Store) RefundQuota(ctx context.Context, deploymentID string) error {
	return s.endReservation(ctx, deploymentID, `
WITH given AS (
    UPDATE quota_reservations SET state = 'refunded' WHERE deployment_id = ? AND state = 'reserved'
    RETURNING organization_id, period_start)
UPDATE organizations o SET deployments_used = greatest(o.deployments_used - 1, 0)
FROM given WHERE o.id = given.organization_id AND o.period_start = given.period_start`)
}

func (s *Store) endReservation(ctx context.Context, deploymentID, statement string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		var organizationID string
		err := tx.Raw("SELECT organization_id FROM quota_reservations WHERE deployment_id = ? AND state = 'reserved'", deploymentID).Scan(&organizationID).Error
		if err != nil || organizationID == "" {
			return err
		}
		// The period may have to be begun before anything is charged to it.
		if _, err := holdQuota(tx, organizationID); err != nil {
			return err
		}
		return tx.Exec(statement, deploymentID).Error
	}))
}
