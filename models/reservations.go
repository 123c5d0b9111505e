package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// CheckQuota says, without reserving, whether a deployment would be let in now:
// nil or CodeQuotaExceeded with the numbers. builds says that it may need build
// minutes; one that changes nothing but variables does not.
func (s *Store) CheckQuota(ctx context.Context, organizationID string, builds bool) error {
	tx := s.with(ctx)
	q, err := readQuota(tx, organizationID, "")
	if err != nil {
		return dbError(err)
	}
	return dbError(q.admitDeployment(tx, builds))
}

// ReserveQuota takes one deployment out of the organization's quota, once per
// deployment however often it is called; CreateDeployment has done so already
// for whatever it wrote. CodeQuotaExceeded with the numbers when none is left, or
// no build minute.
func (s *Store) ReserveQuota(ctx context.Context, organizationID, deploymentID string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		return reserve(tx, organizationID, deploymentID, true)
	}))
}

// reserve is ReserveQuota within a transaction. builds says that the deployment
// may need build minutes.
func reserve(tx *gorm.DB, organizationID, deploymentID string, builds bool) error {
	q, err := holdQuota(tx, organizationID)
	if err != nil {
		return err
	}
	var reserved int64
	if err := tx.Table("quota_reservations").Where("deployment_id = ?", deploymentID).Count(&reserved).Error; err != nil || reserved > 0 {
		return err
	}
	if err := q.admitDeployment(tx, builds); err != nil {
		return err
	}
	err = tx.Exec("INSERT INTO quota_reservations (deployment_id, organization_id, period_start) VALUES (?, ?, ?)",
		deploymentID, organizationID, q.PeriodStart).Error
	if err != nil {
		return err
	}
	return tx.Exec("UPDATE organizations SET deployments_used = deployments_used + 1 WHERE id = ?", organizationID).Error
}

// admitDeployment is admit for one deployment.
func (q quota) admitDeployment(tx *gorm.DB, builds bool) error {
	if err := q.admit(tx, ResourceDeployments, 1); err != nil || !builds {
		return err
	}
	return q.admit(tx, ResourceBuildMinutes, 1)
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
