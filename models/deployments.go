package models

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gorm.io/gorm"
)

// NewDeployment is what it takes to write a deployment's row.
type NewDeployment struct {
	Input    DeploymentInput // Sequence is filled in
	Priority int
	// IdempotencyKey with BodyHash makes a repeated request find the first
	// one's deployment; "" for none.
	IdempotencyKey string
	BodyHash       string
}

// CreateDeployment writes the row, queued, before its workflow is started, and
// gives it the project's next sequence. The same transaction reserves it out of the
// organization's quota, CodeQuotaExceeded with the numbers, and claims its custom
// domain as AddDomain does. With an idempotency key that was used before, it returns
// the earlier deployment and created false, or CodeIdempotency when the body was
// another.
func (s *Store) CreateDeployment(ctx context.Context, n NewDeployment) (row Deployment, created bool, err error) {
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		created = false
		if n.IdempotencyKey != "" {
			if err := tx.Exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", n.Input.OrgID+"\x1f"+n.IdempotencyKey).Error; err != nil {
				return err
			}
			found, err := earlier(tx, n)
			if err != nil || found.ID != "" {
				row = found
				return err
			}
		}
		quota, err := holdQuota(tx, n.Input.OrgID)
		if err != nil {
			return err
		}
		if err := quota.reserve(tx, n.Input.DeploymentID); err != nil {
			return err
		}
		err = tx.Raw("UPDATE projects SET last_sequence = last_sequence + 1 WHERE id = ? AND organization_id = ? RETURNING last_sequence",
			n.Input.ProjectID, n.Input.OrgID).Row().Scan(&n.Input.Sequence)
		if err != nil {
			return notFound(err, Errorf(CodeProjectNotFound, "There is no project %q in this organization.", n.Input.ProjectID))
		}
		row, err = newRow(n)
		if err != nil {
			return err
		}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		if n.Input.CustomDomain != "" {
			if _, err := quota.addDomain(tx, n.Input.ProjectID, n.Input.CustomDomain); err != nil {
				return err
			}
		}
		created = true
		if err := tell(tx, queuedEvent(row, n.Input)); err != nil {
			return err
		}
		if n.IdempotencyKey == "" {
			return nil
		}
		return tx.Exec("INSERT INTO idempotency_keys (organization_id, key, body_hash, deployment_id) VALUES (?, ?, ?, ?)",
			n.Input.OrgID, n.IdempotencyKey, n.BodyHash, row.ID).Error
	})
	return row, created, dbError(err)
}

func earlier(tx *gorm.DB, n NewDeployment) (Deployment, error) {
	var key struct{ BodyHash, DeploymentID string }
	err := tx.Raw("SELECT body_hash, deployment_id FROM idempotency_keys WHERE organization_id = ? AND key = ?", n.Input.OrgID, n.IdempotencyKey).Scan(&key).Error
	if err != nil || key.DeploymentID == "" {
		return Deployment{}, err
	}
	if key.BodyHash != n.BodyHash {
		return Deployment{}, Errorf(CodeIdempotency, "This Idempotency-Key was used before with another body. Use a new key for a new request.")
	}
	var row Deployment
	err = tx.Where("id = ?", key.DeploymentID).Take(&row).Error
	return row, err
}

func newRow(n NewDeployment) (Deployment, error) {
	now := time.Now().UTC()
	state, err := json.Marshal(QueuedStatus(n.Input.DeploymentID, now))
	if err != nil {
		return Deployment{}, err
	}
	input, err := json.Marshal(n.Input)
	if err != nil {
		return Deployment{}, err
	}
	return Deployment{
		ID: n.Input.DeploymentID, ProjectID: n.Input.ProjectID, OrganizationID: n.Input.OrgID, UserID: n.Input.UserID,
		Sequence: n.Input.Sequence, Status: StatusQueued, State: state, CustomDomain: n.Input.CustomDomain,
		RequestDigest: n.Input.RequestDigest, Priority: n.Priority, Input: input, CreatedAt: now, UpdatedAt: now,
	}, nil
}

// QueuedStatus is the status of a deployment nothing has happened to yet.
func QueuedStatus(deploymentID string, now time.Time) Status {
	return Status{DeploymentID: deploymentID, Status: StatusQueued, Steps: NewSteps(), Logs: []string{}, Timestamp: now}
}

// Deployment reads one row whoever it belongs to; CodeDeploymentNotFound.
func (s *Store) Deployment(ctx context.Context, id string) (Deployment, error) {
	var row Deployment
	err := s.with(ctx).Where("id = ?", id).Take(&row).Error
	return row, notFound(err, errNoDeployment(id))
}

// DeploymentOf reads one row of an organization; another's is not found.
func (s *Store) DeploymentOf(ctx context.Context, organizationID, id string) (Deployment, error) {
	var row Deployment
	err := s.with(ctx).Where("id = ? AND organization_id = ?", id, organizationID).Take(&row).Error
	return row, notFound(err, errNoDeployment(id))
}

func errNoDeployment(id string) *Error {
	return Errorf(CodeDeploymentNotFound, "There is no deployment %q.", id)
}

// DeploymentFilter narrows Deployments.
type DeploymentFilter struct {
	OrganizationID string
	// What is empty leaves all in.
	ProjectID string
	UserID    string
	Status    DeploymentStatus
	Outcome   Outcome
	// Since (inclusive) and Before (exclusive) bound when it was queued.
	Since, Before time.Time
	// After is where the page before ended.
	After Position
	Limit int
}

// Deployments lists deployments, newest first.
func (s *Store) Deployments(ctx context.Context, f DeploymentFilter) ([]Deployment, error) {
	query := s.with(ctx).Where("organization_id = ?", f.OrganizationID)
	if f.ProjectID != "" {
		query = query.Where("project_id = ?", f.ProjectID)
	}
	if f.UserID != "" {
		query = query.Where("user_id = ?", f.UserID)
	}
	if f.Status != "" {
		query = query.Where("status = ?", f.Status)
	}
	if f.Outcome != OutcomeNone {
		query = query.Where("outcome = ?", f.Outcome)
	}
	if !f.Since.IsZero() {
		query = query.Where("created_at >= ?", f.Since)
	}
	if !f.Before.IsZero() {
		query = query.Where("created_at < ?", f.Before)
	}
	if !f.After.Begins() {
		query = query.Where("(created_at, id) < (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []Deployment
	err := query.Order("created_at DESC, id DESC").Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}

// RecordedStatus is the status as last recorded on the row.
func (d Deployment) RecordedStatus() (Status, error) {
	var st Status
	if err := json.Unmarshal(d.State, &st); err != nil {
		return st, Wrap(CodeDatabase, err, "The recorded status is damaged.")
	}
	return st, nil
}

// RecordStatus projects a status onto its row, and tells webhooks that ask for it
// what has changed. A version that is not newer than the row's changes nothing,
// so late and repeated calls are harmless.
func (s *Store) RecordStatus(ctx context.Context, st Status) error {
	wants, err := wantsSteps(s.with(ctx), st.DeploymentID)
	if err != nil {
		return dbError(err)
	}
	if !wants {
		return dbError(recordStatus(s.with(ctx), st))
	}
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		var row Deployment
		err := tx.Raw("SELECT * FROM deployments WHERE id = ? AND state_version < ? AND finished_at IS NULL FOR UPDATE", st.DeploymentID, st.Version).Scan(&row).Error
		if err != nil || row.ID == "" {
			return err
		}
		if err := recordStatus(tx, st); err != nil {
			return err
		}
		events, err := statusEvents(row, st)
		for _, e := range events {
			err = errors.Join(err, tell(tx, e))
		}
		return err
	}))
}

func recordStatus(tx *gorm.DB, st Status) error {
	state, err := json.Marshal(st)
	if err != nil {
		return err
	}
	values := map[string]any{
		"status": st.Status, "outcome": st.Outcome, "current_step": st.CurrentStep, "progress": st.Progress,
		"error": st.Error, "error_code": st.ErrorCode, "release_id": st.ReleaseID,
		"state": string(state), "state_version": st.Version, "updated_at": st.Timestamp,
	}
	if st.Outcome.Final() && st.Progress == ProgressDone {
		values["finished_at"] = st.Timestamp
	}
	return tx.Model(&Deployment{}).Where("id = ? AND state_version < ? AND finished_at IS NULL", st.DeploymentID, st.Version).
		Updates(values).Error
}

// MarkStarted notes the run id of the workflow, so that the reconciler lets it be.
func (s *Store) MarkStarted(ctx context.Context, id, runID string) error {
	return dbError(s.with(ctx).Model(&Deployment{}).Where("id = ?", id).Update("workflow_run_id", runID).Error)
}

// Unstarted lists deployments whose workflow was not seen started, written
// longer than age ago.
func (s *Store) Unstarted(ctx context.Context, age time.Duration, limit int) ([]Deployment, error) {
	var rows []Deployment
	err := s.with(ctx).Where("workflow_run_id = '' AND finished_at IS NULL AND created_at < now() - make_interval(secs => ?)", age.Seconds()).
		Order("created_at").Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// Unfinished lists deployments that are not final and have not changed for age.
func (s *Store) Unfinished(ctx context.Context, age time.Duration, limit int) ([]Deployment, error) {
	var rows []Deployment
	err := s.with(ctx).Where("workflow_run_id <> '' AND finished_at IS NULL AND updated_at < now() - make_interval(secs => ?)", age.Seconds()).
		Order("updated_at").Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// CachedOutput finds the output of an earlier build with that key; "" for none.
func (s *Store) CachedOutput(ctx context.Context, organizationID, key string) (string, error) {
	var digest string
	err := s.with(ctx).Raw("SELECT output_digest FROM build_cache WHERE organization_id = ? AND key = ?", organizationID, key).Scan(&digest).Error
	return digest, dbError(err)
}

// CacheOutput remembers the output of a build under its key.
func (s *Store) CacheOutput(ctx context.Context, organizationID, key, outputDigest string) error {
	return dbError(s.with(ctx).Exec(`INSERT INTO build_cache (organization_id, key, output_digest) VALUES (?, ?, ?)
		ON CONFLICT (organization_id, key) DO UPDATE SET output_digest = excluded.output_digest, created_at = now()`, organizationID, key, outputDigest).Error)
}

// ForgetOutput drops a cached output that turned out to be incomplete.
func (s *Store) ForgetOutput(ctx context.Context, organizationID, key string) error {
	return dbError(s.with(ctx).Exec("DELETE FROM build_cache WHERE organization_id = ? AND key = ?", organizationID, key).Error)
}

// Touch notes that a deployment's workflow was seen running.
func (s *Store) Touch(ctx context.Context, id string) error {
	return dbError(s.with(ctx).Model(&Deployment{}).Where("id = ?", id).Update("updated_at", time.Now().UTC()).Error)
}
