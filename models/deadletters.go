package models

import (
	"context"
	"time"
)

// DeadLetterFilter narrows DeadLetters; what is empty leaves all in.
type DeadLetterFilter struct {
	OrganizationID string
	ProjectID      string
	// ErrorCode is what they failed with, Step where.
	ErrorCode Code
	Step      Step
	// Before leaves those that were parked before this time.
	Before time.Time
	Limit  int
}

// DeadLetters lists parked deployments, those that wait longest first.
func (s *Store) DeadLetters(ctx context.Context, f DeadLetterFilter) ([]Deployment, error) {
	query := s.with(ctx).Where("organization_id = ? AND outcome = ?", f.OrganizationID, OutcomeDeadLetter)
	if f.ProjectID != "" {
		query = query.Where("project_id = ?", f.ProjectID)
	}
	if f.ErrorCode != "" {
		query = query.Where("error_code = ?", f.ErrorCode)
	}
	if f.Step != "" {
		query = query.Where("current_step = ?", f.Step)
	}
	if !f.Before.IsZero() {
		query = query.Where("updated_at < ?", f.Before)
	}
	var rows []Deployment
	err := query.Order("updated_at, id").Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}
