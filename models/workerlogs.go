package models

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"gorm.io/gorm"
)

// WorkerLogRow is a line of a worker's log as it is kept.
type WorkerLogRow struct {
	// ID orders the lines of all releases.
	ID        int64
	ProjectID string
	ReleaseID string
	Line      json.RawMessage `gorm:"type:jsonb"`
}

// TableName is where the rows are.
func (WorkerLogRow) TableName() string { return "worker_logs" }

// AppendWorkerLog adds lines. Ids become visible in their order, so that a
// reader who goes on after the last one it saw misses none. Lines of a release
// that was deleted meanwhile are dropped.
func (s *Store) AppendWorkerLog(ctx context.Context, rows []WorkerLogRow) error {
	if len(rows) == 0 {
		return nil
	}
	values := make([]string, 0, len(rows))
	args := make([]any, 0, 4*len(rows))
	for i, r := range rows {
		values = append(values, "(?::int, ?::text, ?::text, ?::jsonb)")
		args = append(args, i, r.ProjectID, r.ReleaseID, string(r.Line))
	}
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// Who writes takes turns: ids are given out in here.
		if err := tx.Exec("SELECT pg_advisory_xact_lock(hashtext('slipway.worker_logs'))").Error; err != nil {
			return err
		}
		return tx.Exec(`INSERT INTO worker_logs (project_id, release_id, line)
			SELECT v.project_id, v.release_id, v.line FROM (VALUES `+strings.Join(values, ", ")+`) AS v (n, project_id, release_id, line)
			JOIN releases r ON r.id = v.release_id ORDER BY v.n`, args...).Error
	}))
}

// TrimWorkerLog keeps the latest lines of a release, as many as keep and about as
// large as keepBytes together, and drops the others.
func (s *Store) TrimWorkerLog(ctx context.Context, releaseID string, keep int, keepBytes int64) error {
	return dbError(s.with(ctx).Exec(`DELETE FROM worker_logs w USING (
			SELECT id, row_number() OVER latest AS n, sum(pg_column_size(line)) OVER latest AS bytes
			FROM worker_logs WHERE release_id = ? WINDOW latest AS (ORDER BY id DESC)) kept
		WHERE w.id = kept.id AND (kept.n > ? OR kept.bytes > ?)`, releaseID, keep, keepBytes).Error)
}

// SweepWorkerLog removes up to limit of the oldest lines, those that were said
// before a time, and tells how many; fewer than limit means that no more are left.
// Several processes may sweep at once.
func (s *Store) SweepWorkerLog(ctx context.Context, before time.Time, limit int) (int, error) {
	// Ids are nearly in the order of time: only the first are looked at.
	swept := s.with(ctx).Exec(`DELETE FROM worker_logs WHERE id IN (
			SELECT id FROM (SELECT id, line FROM worker_logs ORDER BY id LIMIT ?) oldest WHERE (line->>'time')::timestamptz < ?)`, limit, before)
	return int(swept.RowsAffected), dbError(swept.Error)
}

// WorkerLog lists a project's lines after the one with the id given, oldest
// first. releaseID narrows it to one release; "" is all.
func (s *Store) WorkerLog(ctx context.Context, projectID, releaseID string, after int64, limit int) ([]WorkerLogRow, error) {
	query := s.with(ctx).Where("project_id = ? AND id > ?", projectID, after)
	if releaseID != "" {
		query = query.Where("release_id = ?", releaseID)
	}
	var rows []WorkerLogRow
	err := query.Order("id").Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// WorkerLogTail is the id after which the latest n lines come.
func (s *Store) WorkerLogTail(ctx context.Context, projectID, releaseID string, n int) (int64, error) {
	query := s.with(ctx).Model(&WorkerLogRow{}).Select("id").Where("project_id = ?", projectID)
	if releaseID != "" {
		query = query.Where("release_id = ?", releaseID)
	}
	var ids []int64
	err := query.Order("id DESC").Offset(n).Limit(1).Find(&ids).Error
	if err != nil || len(ids) == 0 {
		return 0, dbError(err)
	}
	return ids[0], nil
}
