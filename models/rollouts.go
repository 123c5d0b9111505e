package models

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// PrefixRollout is the prefix of a rollout's id, which is also that of its
// workflow.
const PrefixRollout = "rol"

// RolloutStatus is how far a rollout has come.
type RolloutStatus string

// A rollout runs until its release has all visitors (completed), it was worse
// than the live one (reverted), somebody stopped it (canceled), or something else
// went live meanwhile (superseded).
const (
	RolloutRunning    RolloutStatus = "running"
	RolloutCompleted  RolloutStatus = "completed"
	RolloutReverted   RolloutStatus = "reverted"
	RolloutCanceled   RolloutStatus = "canceled"
	RolloutSuperseded RolloutStatus = "superseded"
)

// Names that cross process boundaries, as in steps.go.
const (
	WorkflowRollout = "Rollout"
	// ActivityWeighRollout gives the release a share of the visitors,
	// ActivityMeasureRollout looks at how it does, ActivityEndRollout ends it.
	ActivityWeighRollout   = "weigh-rollout"
	ActivityMeasureRollout = "measure-rollout"
	ActivityEndRollout     = "end-rollout"
)

// RolloutInput starts the workflow of a rollout.
type RolloutInput struct {
	RolloutID     string `json:"rolloutId"`
	ProjectID     string `json:"projectId"`
	OrgID         string `json:"orgId"`
	ReleaseID     string `json:"releaseId"`
	BaseReleaseID string `json:"baseReleaseId"`
	// Steps are rising percentages, the last one 100.
	Steps []int `json:"steps"`
	// Every is how long each step lasts.
	Every time.Duration `json:"every"`
	// MaxErrorRate is the part of answers with a status of 500 and more above
	// which the release is worse, if the live one's is lower: 0 to 1.
	MaxErrorRate float64 `json:"maxErrorRate"`
}

// RolloutWeight asks for a share of the visitors.
type RolloutWeight struct {
	Rollout RolloutInput `json:"rollout"`
	Percent int          `json:"percent"`
}

// RolloutWindow asks how a rollout does since a time.
type RolloutWindow struct {
	Rollout RolloutInput `json:"rollout"`
	Since   time.Time    `json:"since"`
}

// RolloutMeasure is what visitors of both releases were answered.
type RolloutMeasure struct {
	// Superseded says that something else went live meanwhile.
	Superseded   bool  `json:"superseded,omitempty"`
	Requests     int64 `json:"requests"`
	Errors       int64 `json:"errors"`
	BaseRequests int64 `json:"baseRequests"`
	BaseErrors   int64 `json:"baseErrors"`
}

// minRolloutRequests is how many answers it takes to judge a release by.
const minRolloutRequests = 10

// Worse says whether a release has more errors than allowed and than the live
// one, and why in words.
func (m RolloutMeasure) Worse(maxErrorRate float64) (reason string, worse bool) {
	if m.Requests < minRolloutRequests {
		return "", false
	}
	rate := float64(m.Errors) / float64(m.Requests)
	base := 0.0
	if m.BaseRequests > 0 {
		base = float64(m.BaseErrors) / float64(m.BaseRequests)
	}
	if rate <= maxErrorRate || rate <= base {
		return "", false
	}
	return fmt.Sprintf("%.1f %% of its %d answers were errors, %.1f %% of the live release's %d; %.1f %% are allowed.",
		100*rate, m.Requests, 100*base, m.BaseRequests, 100*maxErrorRate), true
}

// RolloutEnd ends a rollout.
type RolloutEnd struct {
	Rollout RolloutInput  `json:"rollout"`
	Status  RolloutStatus `json:"status"`
	Reason  string        `json:"reason,omitempty"`
}

// RolloutState is what a rollout has come to.
type RolloutState struct {
	Status  RolloutStatus `json:"status"`
	Percent int           `json:"percent"`
	Reason  string        `json:"reason,omitempty"`
}

// Rollout is the row of a rollout.
type Rollout struct {
	ID             string
	ProjectID      string
	OrganizationID string
	UserID         string
	ReleaseID      string
	BaseReleaseID  string
	Input          json.RawMessage `gorm:"type:jsonb"`
	Percent        int
	Status         RolloutStatus
	Reason         string
	WorkflowRunID  string
	CreatedAt      time.Time
	UpdatedAt      time.Time
	FinishedAt     *time.Time
}

// CreateRollout writes the row before the workflow is started. CodeConflict when
// the project has one running.
func (s *Store) CreateRollout(ctx context.Context, in RolloutInput, userID string) (Rollout, error) {
	input, err := json.Marshal(in)
	if err != nil {
		return Rollout{}, err
	}
	now := time.Now().UTC()
	row := Rollout{
		ID: in.RolloutID, ProjectID: in.ProjectID, OrganizationID: in.OrgID, UserID: userID, ReleaseID: in.ReleaseID,
		BaseReleaseID: in.BaseReleaseID, Input: input, Status: RolloutRunning, CreatedAt: now, UpdatedAt: now,
	}
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return tell(tx, rolloutEvent(EventRolloutStarted, row))
	})
	if violates(err, "rollouts_running") {
		return Rollout{}, Errorf(CodeConflict, "The project has a rollout running. Wait for its end or cancel it first.")
	}
	return row, dbError(err)
}

// Rollout reads a rollout of a project; CodeRolloutNotFound.
func (s *Store) Rollout(ctx context.Context, projectID, id string) (Rollout, error) {
	var row Rollout
	err := s.with(ctx).Where("id = ? AND project_id = ?", id, projectID).Take(&row).Error
	return row, notFound(err, Errorf(CodeRolloutNotFound, "The project has no rollout %q.", id))
}

// Rollouts lists a project's rollouts, newest first.
func (s *Store) Rollouts(ctx context.Context, projectID string, after Position, limit int) ([]Rollout, error) {
	query := s.with(ctx).Where("project_id = ?", projectID)
	if !after.Begins() {
		query = query.Where("(created_at, id) < (?, ?)", after.At(), after.ID)
	}
	var rows []Rollout
	err := query.Order("created_at DESC, id DESC").Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// UnstartedRollouts lists those whose workflow was not started although they are
// older than grace.
func (s *Store) UnstartedRollouts(ctx context.Context, grace time.Duration, limit int) ([]Rollout, error) {
	var rows []Rollout
	err := s.with(ctx).Where("workflow_run_id = '' AND status = ? AND created_at < now() - make_interval(secs => ?)", RolloutRunning, grace.Seconds()).
		Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// QuietRollouts lists running ones of which nothing was heard for a while: most
// wait for their next step, some have lost their workflow.
func (s *Store) QuietRollouts(ctx context.Context, quiet time.Duration, limit int) ([]Rollout, error) {
	var rows []Rollout
	err := s.with(ctx).Where("workflow_run_id <> '' AND status = ? AND updated_at < now() - make_interval(secs => ?)", RolloutRunning, quiet.Seconds()).
		Order("updated_at").Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// TouchRollout puts a rollout at the end of QuietRollouts.
func (s *Store) TouchRollout(ctx context.Context, id string) error {
	return dbError(s.with(ctx).Model(&Rollout{}).Where("id = ?", id).Update("updated_at", time.Now().UTC()).Error)
}

// MarkRolloutStarted notes the run of a rollout.
func (s *Store) MarkRolloutStarted(ctx context.Context, id, runID string) error {
	return dbError(s.with(ctx).Model(&Rollout{}).Where("id = ?", id).Update("workflow_run_id", runID).Error)
}

// WeighRollout gives a rollout's release a share of the visitors, all of them at
// 100. superseded says that something else went live meanwhile or that the
// rollout has ended, and then nothing changes. Idempotent.
func (s *Store) WeighRollout(ctx context.Context, in RolloutInput, percent int) (superseded bool, err error) {
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		superseded = false
		p, err := lockProject(tx, in.ProjectID)
		if err != nil {
			return err
		}
		var r Release
		if err := tx.Where("id = ? AND project_id = ?", in.ReleaseID, in.ProjectID).Take(&r).Error; err != nil {
			return notFound(err, Errorf(CodeReleaseNotFound, "The release of the rollout is gone."))
		}
		if p.LiveReleaseID == in.ReleaseID && percent == 100 {
			return noteWeight(tx, in.RolloutID, percent) // an earlier attempt
		}
		var running int64
		if err := tx.Model(&Rollout{}).Where("id = ? AND status = ?", in.RolloutID, RolloutRunning).Count(&running).Error; err != nil {
			return err
		}
		if superseded = running == 0 || p.LiveReleaseID != in.BaseReleaseID; superseded {
			return nil
		}
		if err := noteWeight(tx, in.RolloutID, percent); err != nil {
			return err
		}
		switch percent {
		case 100:
			return flip(tx, p, r, p.LastSequence)
		case 0:
			return moveRoutes(tx, p.ID, "canary_release_id = '', canary_manifest_digest = '', canary_worker_digest = '', canary_percent = 0")
		}
		return moveRoutes(tx, p.ID, "canary_release_id = ?, canary_manifest_digest = ?, canary_worker_digest = ?, canary_percent = ?",
			r.ID, r.ManifestDigest, r.WorkerDigest, percent)
	})
	return superseded, dbError(err)
}

func noteWeight(tx *gorm.DB, id string, percent int) error {
	var row Rollout
	noted := tx.Model(&row).Clauses(clause.Returning{}).Where("id = ? AND status = ?", id, RolloutRunning).
		Updates(map[string]any{"percent": percent, "updated_at": time.Now().UTC()})
	if noted.Error != nil || noted.RowsAffected == 0 || percent == 0 {
		return noted.Error // at 0 the visitors are given back, which its end tells
	}
	return tell(tx, rolloutEvent(EventRolloutProgressed, row))
}

// EndRollout notes what a rollout came to. Idempotent.
func (s *Store) EndRollout(ctx context.Context, id string, status RolloutStatus, reason string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		now := time.Now().UTC()
		var row Rollout
		ended := tx.Model(&row).Clauses(clause.Returning{}).Where("id = ? AND status = ?", id, RolloutRunning).
			Updates(map[string]any{"status": status, "reason": reason, "updated_at": now, "finished_at": now})
		if ended.Error != nil || ended.RowsAffected == 0 {
			return ended.Error
		}
		return tell(tx, rolloutEvent(EventKind("rollout."+string(status)), row))
	}))
}

// ReleaseCount is what visitors were answered by a release.
type ReleaseCount struct {
	ReleaseID        string
	Requests, Errors int64
}

// countBucket is the time one row of counts covers.
const countBucket = 10 * time.Second

// AddReleaseCounts adds what a dispatcher has answered to the present bucket.
func (s *Store) AddReleaseCounts(ctx context.Context, counts []ReleaseCount) error {
	if len(counts) == 0 {
		return nil
	}
	bucket := time.Now().UTC().Truncate(countBucket)
	rows, args := make([]string, 0, len(counts)), make([]any, 0, 3*len(counts)+1)
	for _, c := range counts {
		rows = append(rows, "(?::text, ?::bigint, ?::bigint)")
		args = append(args, c.ReleaseID, c.Requests, c.Errors)
	}
	return dbError(s.with(ctx).Exec(`INSERT INTO release_counts (release_id, bucket, requests, errors)
		SELECT v.id, ?::timestamptz, v.requests, v.errors FROM (VALUES `+strings.Join(rows, ", ")+`) AS v (id, requests, errors) JOIN releases r ON r.id = v.id
		ORDER BY v.id -- two dispatchers must not lock the same rows in different orders
		ON CONFLICT (release_id, bucket) DO UPDATE SET requests = release_counts.requests + excluded.requests, errors = release_counts.errors + excluded.errors`,
		append([]any{bucket}, args...)...).Error)
}

// MeasureRollout says how both releases of a rollout have done since a time, to
// the bucket, and removes counts that nobody needs any more.
func (s *Store) MeasureRollout(ctx context.Context, in RolloutInput, since time.Time) (RolloutMeasure, error) {
	var m RolloutMeasure
	err := s.with(ctx).Raw(`SELECT
			coalesce(sum(requests) FILTER (WHERE release_id = @new), 0) AS requests, coalesce(sum(errors) FILTER (WHERE release_id = @new), 0) AS errors,
			coalesce(sum(requests) FILTER (WHERE release_id = @old), 0) AS base_requests, coalesce(sum(errors) FILTER (WHERE release_id = @old), 0) AS base_errors
		FROM release_counts WHERE release_id IN (@new, @old) AND bucket >= @since`,
		map[string]any{"new": in.ReleaseID, "old": in.BaseReleaseID, "since": since.UTC().Truncate(countBucket)}).Scan(&m).Error
	if err != nil {
		return m, dbError(err)
	}
	var live string
	if err := s.with(ctx).Model(&Project{}).Select("live_release_id").Where("id = ?", in.ProjectID).Scan(&live).Error; err != nil {
		return m, dbError(err)
	}
	m.Superseded = live != in.BaseReleaseID
	return m, dbError(s.with(ctx).Exec("DELETE FROM release_counts WHERE bucket < now() - interval '1 day'").Error)
}
