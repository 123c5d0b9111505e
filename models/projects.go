package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

// CreateProject takes a worker name for a new project; CodeNameTaken when
// somebody has it. The name is folded and must have been validated.
func (s *Store) CreateProject(ctx context.Context, organizationID, name, workerName string) (Project, error) {
	now := time.Now().UTC()
	row := Project{ID: NewID(PrefixProject), OrganizationID: organizationID, Name: name, WorkerName: FoldWorkerName(workerName), CreatedAt: now, UpdatedAt: now}
	err := s.with(ctx).Create(&row).Error
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return Project{}, Errorf(CodeNameTaken, "The worker name %q is taken. Choose another.", row.WorkerName)
	}
	return row, dbError(err)
}

// Project reads one project of an organization. Another organization's project
// is the same CodeProjectNotFound as none, so that ids tell nothing.
func (s *Store) Project(ctx context.Context, organizationID, id string) (Project, error) {
	var row Project
	err := s.with(ctx).Where("id = ? AND organization_id = ?", id, organizationID).Take(&row).Error
	return row, notFound(err, Errorf(CodeProjectNotFound, "There is no project %q in this organization.", id))
}

// ProjectFilter narrows Projects.
type ProjectFilter struct {
	OrganizationID string
	// ProjectID leaves only that one; "" is all.
	ProjectID string
	// After is the id of the last one of the page before; "" from the start.
	After string
	Limit int
}

// Projects lists an organization's projects, newest first.
func (s *Store) Projects(ctx context.Context, f ProjectFilter) ([]Project, error) {
	query := s.with(ctx).Where("organization_id = ?", f.OrganizationID)
	if f.ProjectID != "" {
		query = query.Where("id = ?", f.ProjectID)
	}
	if f.After != "" {
		query = query.Where("(created_at, id) < (SELECT created_at, id FROM projects WHERE id = ?)", f.After)
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
