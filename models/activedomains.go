package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// DomainLook is what a look at the DNS of an active domain came to.
type DomainLook struct {
	// Lacks says, for people, why requests for it do not come here; "" when they do.
	Lacks string
	// Unsure says that DNS did not answer all it was asked. That is held against
	// nobody.
	Unsure bool
	// NextAt is when to look again.
	NextAt time.Time
}

// DueDomains takes up to limit active domains whose time has come to be looked at
// again. Whoever takes them has lease to do so before they are due once more;
// several may take some at once, each others.
func (s *Store) DueDomains(ctx context.Context, lease time.Duration, limit int) ([]Domain, error) {
	var rows []Domain
	err := s.with(ctx).Raw(`UPDATE domains SET check_at = now() + make_interval(secs => ?) WHERE id IN (
			SELECT id FROM domains WHERE status = 'active' AND check_at <= now() ORDER BY check_at LIMIT ? FOR UPDATE SKIP LOCKED)
		RETURNING *`, lease.Seconds(), limit).Scan(&rows).Error
	return rows, dbError(err)
}

// NoteLook notes a look at an active domain, and returns the domain as it stands
// after it. CodeDomainNotFound when there is no active one with that id (any more).
func (s *Store) NoteLook(ctx context.Context, id string, look DomainLook) (Domain, error) {
	now := time.Now().UTC()
	values := map[string]any{"reason": look.Lacks, "checked_at": now, "check_at": look.NextAt}
	switch {
	case look.Lacks == "":
		values["failing_since"], values["failed_checks"] = nil, 0
	case !look.Unsure:
		values["failing_since"], values["failed_checks"] = gorm.Expr("coalesce(failing_since, ?)", now), gorm.Expr("failed_checks + 1")
	}
	result := s.with(ctx).Model(&Domain{}).Where("id = ? AND status = ?", id, DomainActive).Updates(values)
	if result.Error != nil {
		return Domain{}, dbError(result.Error)
	}
	if result.RowsAffected == 0 {
		return Domain{}, errNoDomain(id)
	}
	return s.Domain(ctx, id)
}

// LoseDomain ends an active domain that has not pointed here for too long: it
// answers no more, and whoever proves now that they own the host has it.
// Idempotent.
func (s *Store) LoseDomain(ctx context.Context, d Domain, reason string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// A flip under way may have read the domain and be about to show its route.
		if _, err := lockProject(tx, d.ProjectID); err != nil {
			return err
		}
		err := moveDomain(tx, d.ID, EventDomainFailed, []DomainStatus{DomainActive},
			map[string]any{"status": DomainFailed, "reason": reason, "updated_at": time.Now().UTC()})
		if err != nil {
			return err
		}
		return unrouteDomain(tx, d.ProjectID, d.Host)
	}))
}
