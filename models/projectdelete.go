package models

import (
	"context"

	"gorm.io/gorm"
)

// UnfinishedWork is what of a project is under way.
type UnfinishedWork struct {
	// Deployments and Rollouts are ids, which are those of their workflows too.
	Deployments []string
	Rollouts    []string
	// Domains are those that are being verified.
	Domains []Domain
}

// UnfinishedOf lists what of a project is under way.
func (s *Store) UnfinishedOf(ctx context.Context, projectID string) (UnfinishedWork, error) {
	work, err := unfinishedOf(s.with(ctx), projectID)
	return work, dbError(err)
}

func unfinishedOf(tx *gorm.DB, projectID string) (UnfinishedWork, error) {
	var work UnfinishedWork
	err := tx.Model(&Deployment{}).Where("project_id = ? AND finished_at IS NULL", projectID).Order("sequence").Pluck("id", &work.Deployments).Error
	if err != nil {
		return work, err
	}
	err = tx.Model(&Rollout{}).Where("project_id = ? AND status = ?", projectID, RolloutRunning).Pluck("id", &work.Rollouts).Error
	if err != nil {
		return work, err
	}
	return work, tx.Where("project_id = ? AND status IN ?", projectID, []DomainStatus{DomainPending, DomainVerified}).Find(&work.Domains).Error
}

// DeleteProject removes an organization's project with everything that is its
// own: routes, domains and their certificates, releases, deployments with their
// logs and notices, variables, rollouts, key-value namespaces that no other
// project can name, what its workers said, and the tokens limited to it. Its
// addresses stop answering at once; its worker name stays the organization's for
// a while. Objects in blob storage are shared by content: those that nothing refers
// to any more are collected later.
//
// It returns what was under way, whose workflows find the project gone when they
// next look. versions are as with ChangeProject. CodeProjectNotFound when there is
// none (any more).
func (s *Store) DeleteProject(ctx context.Context, organizationID, id string, versions []int64) (UnfinishedWork, error) {
	var work UnfinishedWork
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		p, err := lockProjectOf(tx, organizationID, id)
		if err != nil {
			return err
		}
		if err := CheckVersion(p, versions); err != nil {
			return err
		}
		if work, err = unfinishedOf(tx, id); err != nil {
			return err
		}
		if err := forgetRoutes(tx, p); err != nil {
			return err
		}
		if err := dropCertificates(tx, id); err != nil {
			return err
		}
		if err := tx.Exec("DELETE FROM kv_namespaces WHERE organization_id = ? AND starts_with(name, ?)", organizationID, ownNamespaces(id)).Error; err != nil {
			return err
		}
		if err := holdName(tx, organizationID, p.WorkerName); err != nil {
			return err
		}
		err = tx.Exec("DELETE FROM outbox WHERE project_id = ?", id).Error
		if err != nil {
			return err
		}
		// Everything else refers to the project and goes with it.
		return tx.Exec("DELETE FROM projects WHERE id = ?", id).Error
	})
	return work, dbError(err)
}

// ownNamespaces begins the names of the key-value namespaces that belong to one
// project; see WorkerBundle.ForProject. Others are their organization's.
func ownNamespaces(projectID string) string { return projectID + "-" }

// forgetRoutes removes a project's routes and announces that they are gone.
func forgetRoutes(tx *gorm.DB, p Project) error {
	err := tx.Exec(`WITH gone AS (DELETE FROM routes WHERE project_id = ? RETURNING key) SELECT pg_notify(?, key) FROM gone`, p.ID, RoutesChannel).Error
	if err != nil {
		return err
	}
	return announce(tx, WorkerRouteKey(p.WorkerName), PreviewsKey(p.WorkerName))
}

// dropCertificates removes what HTTPS of a project's own hosts was served with.
// Hosts that another project has proved to own are not the project's.
func dropCertificates(tx *gorm.DB, projectID string) error {
	var hosts []string
	err := tx.Model(&Domain{}).Where("project_id = ? AND status IN ?", projectID, []DomainStatus{DomainVerified, DomainActive}).Pluck("host", &hosts).Error
	if err != nil || len(hosts) == 0 {
		return err
	}
	// certificates/<authority>/<host>/<file>
	return tx.Exec(`DELETE FROM certificate_storage WHERE key >= 'certificates/' AND key < 'certificates0' AND split_part(key, '/', 3) IN ?`, hosts).Error
}
