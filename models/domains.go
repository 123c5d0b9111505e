package models

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// PrefixDomain is the prefix of a custom domain's id, which is also the id of
// the workflow that verifies it.
const PrefixDomain = "dom"

// DomainStatus is how far a custom domain has come.
type DomainStatus string

// A domain is pending until its TXT record proves who owns it, verified until it
// points here, and active from then on. One that proves nothing in time has
// failed; it may be checked again.
const (
	DomainPending  DomainStatus = "pending"
	DomainVerified DomainStatus = "verified"
	DomainActive   DomainStatus = "active"
	DomainFailed   DomainStatus = "failed"
)

// MaxDomains bounds the claims of a project: each is looked up in DNS for days.
const MaxDomains = 100

// ChallengeLabel is put before a host to name the TXT record that proves who
// owns it.
const ChallengeLabel = "_slipway-challenge."

// Domain is a custom host name of a project.
type Domain struct {
	ID             string
	Host           string
	ProjectID      string
	OrganizationID string
	Status         DomainStatus
	// Token is what the TXT record has to say.
	Token string
	// Reason says what is missing, for people; "" when nothing is.
	Reason        string
	WorkflowRunID string
	CreatedAt     time.Time
	UpdatedAt     time.Time
	VerifiedAt    *time.Time
	ActiveAt      *time.Time
	// CheckAt is when an active domain is looked at again, and CheckedAt when it
	// was last.
	CheckAt   time.Time
	CheckedAt *time.Time
	// FailingSince is when an active domain was first seen without an address, nil
	// while it has one, and FailedChecks how often since.
	FailingSince *time.Time
	FailedChecks int
}

// AddDomain claims a host for a project and returns the claim; claiming it again
// returns the same one, and a failed one starts anew. CodeDomainUnavailable when
// another project has proved that it owns the host, CodeValidation when the
// project would have more than MaxDomains, CodeQuotaExceeded when its
// organization would have more than it may.
func (s *Store) AddDomain(ctx context.Context, p Project, host string) (Domain, error) {
	var row Domain
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		quota, err := holdQuota(tx, p.OrganizationID)
		if err != nil {
			return err
		}
		row, err = quota.addDomain(tx, p.ID, host)
		return err
	})
	return row, dbError(err)
}

// addDomain is AddDomain while the quota of the project's organization is held.
func (q quota) addDomain(tx *gorm.DB, projectID, host string) (Domain, error) {
	if err := checkDomain(tx, projectID, host); err != nil {
		return Domain{}, err
	}
	if _, err := lockProject(tx, projectID); err != nil {
		return Domain{}, err
	}
	var known int64
	if err := tx.Model(&Domain{}).Where("project_id = ? AND host = ?", projectID, host).Count(&known).Error; err != nil {
		return Domain{}, err
	}
	if known == 0 {
		if err := q.newDomain(tx, projectID, host); err != nil {
			return Domain{}, err
		}
	}
	err := tx.Exec(`UPDATE domains SET status = 'pending', reason = '', workflow_run_id = '', updated_at = now()
		WHERE project_id = ? AND host = ? AND status = 'failed'`, projectID, host).Error
	if err != nil {
		return Domain{}, err
	}
	var row Domain
	err = tx.Where("project_id = ? AND host = ?", projectID, host).Take(&row).Error
	return row, err
}

// newDomain writes a claim that the project, which is locked, does not have.
func (q quota) newDomain(tx *gorm.DB, projectID, host string) error {
	if err := q.admit(tx, ResourceDomains, 1); err != nil {
		return err
	}
	var n int64
	if err := tx.Model(&Domain{}).Where("project_id = ?", projectID).Count(&n).Error; err != nil {
		return err
	}
	if n >= MaxDomains {
		return Errorf(CodeValidation, "A project has at most %d domains. Remove some first.", MaxDomains)
	}
	now := time.Now().UTC()
	row := Domain{
		ID: NewID(PrefixDomain), Host: host, ProjectID: projectID, OrganizationID: q.ID, Status: DomainPending,
		Token: NewID("")[1:], CreatedAt: now, UpdatedAt: now, CheckAt: now,
	}
	if err := tx.Create(&row).Error; err != nil {
		return err
	}
	return tell(tx, domainEvent(EventDomainAdded, row))
}

// CheckDomain says whether a project may claim a host: nil, or
// CodeDomainUnavailable when another one has proved that it owns it.
func (s *Store) CheckDomain(ctx context.Context, projectID, host string) error {
	return dbError(checkDomain(s.with(ctx), projectID, host))
}

func checkDomain(tx *gorm.DB, projectID, host string) error {
	var row Domain
	err := tx.Where("host = ? AND status IN ?", host, []DomainStatus{DomainVerified, DomainActive}).Limit(1).Find(&row).Error
	if err != nil {
		return err
	}
	if row.ID != "" && row.ProjectID != projectID {
		return errDomainTaken(host)
	}
	return nil
}

func errDomainTaken(host string) *Error {
	return Errorf(CodeDomainUnavailable, "The domain %s is in use by another project. Remove it there first, or choose another.", host)
}

func errNoDomain(host string) *Error {
	return Errorf(CodeDomainNotFound, "The project has no domain %q.", host)
}

// Domain reads a claim by its id; CodeDomainNotFound.
func (s *Store) Domain(ctx context.Context, id string) (Domain, error) {
	var row Domain
	err := s.with(ctx).Where("id = ?", id).Take(&row).Error
	return row, notFound(err, errNoDomain(id))
}

// DomainOf reads a project's claim to a host; CodeDomainNotFound.
func (s *Store) DomainOf(ctx context.Context, projectID, host string) (Domain, error) {
	var row Domain
	err := s.with(ctx).Where("project_id = ? AND host = ?", projectID, host).Take(&row).Error
	return row, notFound(err, errNoDomain(host))
}

// Domains lists a project's claims by host.
func (s *Store) Domains(ctx context.Context, projectID string) ([]Domain, error) {
	var rows []Domain
	err := s.with(ctx).Where("project_id = ?", projectID).Order("host").Find(&rows).Error
	return rows, dbError(err)
}

// DomainServes says whether a host is an active domain: nil, or
// CodeDomainNotFound. It decides whether a certificate may be had for it.
func (s *Store) DomainServes(ctx context.Context, host string) error {
	var n int64
	if err := s.with(ctx).Model(&Domain{}).Where("host = ? AND status = ?", host, DomainActive).Count(&n).Error; err != nil {
		return dbError(err)
	}
	if n == 0 {
		return Errorf(CodeDomainNotFound, "The domain %s is not active.", host)
	}
	return nil
}

// UnstartedDomains lists claims whose workflow was not started although they
// are older than grace.
func (s *Store) UnstartedDomains(ctx context.Context, grace time.Duration, limit int) ([]Domain, error) {
	var rows []Domain
	err := s.with(ctx).Where("workflow_run_id = '' AND status IN ? AND updated_at < now() - make_interval(secs => ?)",
		[]DomainStatus{DomainPending, DomainVerified}, grace.Seconds()).Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// MarkDomainStarted notes the run that verifies a domain.
func (s *Store) MarkDomainStarted(ctx context.Context, id, runID string) error {
	return dbError(s.with(ctx).Model(&Domain{}).Where("id = ?", id).Update("workflow_run_id", runID).Error)
}

// NoteDomain says what a domain still lacks.
func (s *Store) NoteDomain(ctx context.Context, id, reason string) error {
	return dbError(s.with(ctx).Model(&Domain{}).Where("id = ? AND status IN ?", id, []DomainStatus{DomainPending, DomainVerified}).
		Updates(map[string]any{"reason": reason, "updated_at": time.Now().UTC()}).Error)
}

// FailDomain ends a claim that has proved nothing in time. Idempotent.
func (s *Store) FailDomain(ctx context.Context, id, reason string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		return moveDomain(tx, id, EventDomainFailed, []DomainStatus{DomainPending, DomainVerified},
			map[string]any{"status": DomainFailed, "reason": reason, "updated_at": time.Now().UTC()})
	}))
}

// moveDomain changes a claim that has one of the statuses, and tells of it.
func moveDomain(tx *gorm.DB, id string, kind EventKind, from []DomainStatus, values map[string]any) error {
	var row Domain
	moved := tx.Model(&row).Clauses(clause.Returning{}).Where("id = ? AND status IN ?", id, from).Updates(values)
	if moved.Error != nil || moved.RowsAffected == 0 {
		return moved.Error
	}
	return tell(tx, domainEvent(kind, row))
}

// VerifyDomain notes that the project owns the host. CodeDomainUnavailable when
// another project was first.
func (s *Store) VerifyDomain(ctx context.Context, id string) error {
	now := time.Now().UTC()
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		return moveDomain(tx, id, EventDomainVerified, []DomainStatus{DomainPending},
			map[string]any{"status": DomainVerified, "verified_at": now, "updated_at": now})
	})
	if violates(err, "domains_owned") {
		return Errorf(CodeDomainUnavailable, "Another project has proved that it owns this domain.")
	}
	return dbError(err)
}

// ActivateDomain lets a verified domain answer with the project's live release,
// now and after every later flip; it is looked at again at its CheckAt. Idempotent.
func (s *Store) ActivateDomain(ctx context.Context, d Domain) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		p, err := lockProject(tx, d.ProjectID)
		if err != nil {
			return err
		}
		now := time.Now().UTC()
		err = moveDomain(tx, d.ID, EventDomainActive, []DomainStatus{DomainVerified},
			map[string]any{"status": DomainActive, "reason": "", "active_at": now, "checked_at": now, "check_at": d.CheckAt,
				"failing_since": nil, "failed_checks": 0, "updated_at": now})
		if err != nil {
			return err
		}
		return routeDomains(tx, p)
	}))
}

// routeDomains gives every active domain of a project the route of its worker
// name, where it has none yet.
func routeDomains(tx *gorm.DB, p Project) error {
	return tx.Exec(`WITH added AS (
			INSERT INTO routes (key, project_id, organization_id, worker_name, release_id, manifest_digest, worker_digest,
				canary_release_id, canary_manifest_digest, canary_worker_digest, canary_percent, generation)
			SELECT 'h:' || d.host, r.project_id, r.organization_id, r.worker_name, r.release_id, r.manifest_digest, r.worker_digest,
				r.canary_release_id, r.canary_manifest_digest, r.canary_worker_digest, r.canary_percent, nextval('route_generations')
			FROM domains d JOIN routes r ON r.key = ? WHERE d.project_id = ? AND d.status = 'active'
			ON CONFLICT (key) DO NOTHING RETURNING key, generation)
		SELECT pg_notify(?, key || ' ' || generation) FROM added`, WorkerRouteKey(p.WorkerName), p.ID, RoutesChannel).Error
}

// RemoveDomain gives a claim up; the host stops answering. CodeDomainNotFound.
func (s *Store) RemoveDomain(ctx context.Context, projectID, host string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// A flip under way may have read the claim and be about to show its route.
		if _, err := lockProject(tx, projectID); err != nil {
			return err
		}
		var row Domain
		result := tx.Clauses(clause.Returning{}).Where("project_id = ? AND host = ?", projectID, host).Delete(&row)
		switch {
		case result.Error != nil:
			return result.Error
		case result.RowsAffected == 0:
			return errNoDomain(host)
		}
		if err := tell(tx, domainEvent(EventDomainRemoved, row)); err != nil {
			return err
		}
		return unrouteDomain(tx, projectID, host)
	}))
}

// unrouteDomain takes the route of a host away, unless it is an active domain of
// the project, which is locked.
func unrouteDomain(tx *gorm.DB, projectID, host string) error {
	return tx.Exec(`WITH gone AS (DELETE FROM routes WHERE key = ? AND project_id = ?
			AND NOT EXISTS (SELECT 1 FROM domains WHERE host = ? AND project_id = ? AND status = 'active') RETURNING key)
		SELECT pg_notify(?, key) FROM gone`, HostRouteKey(host), projectID, host, projectID, RoutesChannel).Error
}
