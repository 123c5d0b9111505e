package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// CreateProject takes a worker name for a new project; CodeNameTaken when
// somebody has it, or gave it up lately, CodeQuotaExceeded when the organization has as
// many projects as it may. The name is folded and must have been validated.
func (s *Store) CreateProject(ctx context.Context, organizationID, name, workerName string) (Project, error) {
	now := time.Now().UTC()
	row := Project{ID: NewID(PrefixProject), OrganizationID: organizationID, Name: name, WorkerName: FoldWorkerName(workerName), CreatedAt: now, UpdatedAt: now}
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if err := admitTo(tx, organizationID, ResourceProjects, 1); err != nil {
			return err
		}
		if err := tx.Create(&row).Error; err != nil {
			return nameTaken(err, row.WorkerName)
		}
		return takeHeldName(tx, organizationID, row.WorkerName)
	})
	if err != nil {
		return Project{}, dbError(err)
	}
	return row, nil
}

// Project reads one project of an organization. Another organization's project
// is the same CodeProjectNotFound as none, so that ids tell nothing.
func (s *Store) Project(ctx context.Context, organizationID, id string) (Project, error) {
	var row Project
	err := s.with(ctx).Where("id = ? AND organization_id = ?", id, organizationID).Take(&row).Error
	return row, notFound(err, errNoProject(id))
}

// ProjectFilter narrows Projects.
type ProjectFilter struct {
	OrganizationID string
	// ProjectID leaves only that one; "" is all.
	ProjectID string
	// Query leaves those whose name or worker name begins with it, whatever its
	// case; "" is all.
	Query string
	// After is where the page before ended.
	After Position
	Limit int
}

// Projects lists an organization's projects, newest first.
func (s *Store) Projects(ctx context.Context, f ProjectFilter) ([]Project, error) {
	query := s.with(ctx).Where("organization_id = ?", f.OrganizationID)
	if f.ProjectID != "" {
		query = query.Where("id = ?", f.ProjectID)
	}
	if f.Query != "" {
		query = query.Where("(starts_with(lower(name), lower(?)) OR starts_with(worker_name::text, lower(?)))", f.Query, f.Query)
	}
	if !f.After.Begins() {
		query = query.Where("(created_at, id) < (?, ?)", f.After.At(), f.After.ID)
	}
	var rows []Project
	err := query.Order("created_at DESC, id DESC").Limit(f.Limit).Find(&rows).Error
	return rows, dbError(err)
}

// AcceptSource makes a source the project's latest, unless a newer deployment's
// source is already: then it is left, and the project's stays.
func (s *Store) AcceptSource(ctx context.Context, projectID, deploymentID string, sequence int64, digest string) error {
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		err := tx.Model(&Project{}).Where("id = ? AND source_sequence <= ?", projectID, sequence).
			Updates(map[string]any{"source_digest": digest, "source_sequence": sequence, "updated_at": time.Now().UTC()}).Error
		if err != nil {
			return err
		}
		return tx.Model(&Deployment{}).Where("id = ?", deploymentID).Update("source_digest", digest).Error
	})
	return dbError(err)
}

// BaseSource is the source a deployment of that sequence starts from: that of
// the latest earlier deployment whose source was accepted; "" for none.
// It reads the deployments rather than the project's pointer, so that running
// sync a second time, after its source was accepted, gives the same answer.
func (s *Store) BaseSource(ctx context.Context, projectID string, sequence int64) (string, error) {
	var rows []Deployment
	err := s.with(ctx).Select("source_digest").
		Where("project_id = ? AND sequence < ? AND source_digest <> ''", projectID, sequence).
		Order("sequence DESC").Limit(1).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return "", dbError(err)
	}
	return rows[0].SourceDigest, nil
}
