package models

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
)

// MaxTransferReleases is how many releases go along with a project to another
// organization: the live one and the latest of the others.
const MaxTransferReleases = 10

// Transfer is what it takes to give a project to another organization.
type Transfer struct {
	ProjectID string
	From, To  string
	// Source and Releases were copied to the scope of To. Other releases are left
	// behind, that is deleted.
	Source   string
	Releases []Release
	// Logs are the build logs of these releases.
	Logs []string
	// Versions are those that the project may have, as with ChangeProject.
	Versions []int64
}

// TransferParts says what of a project is to be copied before it is transferred:
// its latest source, the live release and the latest others.
// CodeConflict while something of it is under way.
func (s *Store) TransferParts(ctx context.Context, p Project) (Transfer, error) {
	t := Transfer{ProjectID: p.ID, From: p.OrganizationID}
	tx := s.with(ctx)
	if err := refuseUnderWay(tx, p.ID); err != nil {
		return t, dbError(err)
	}
	var err error
	if t.Source, err = latestSource(tx, p.ID); err != nil {
		return t, dbError(err)
	}
	err = tx.Raw("SELECT * FROM releases WHERE project_id = ? AND checked_at IS NOT NULL ORDER BY id = ? DESC, sequence DESC LIMIT ?",
		p.ID, p.LiveReleaseID, MaxTransferReleases).Scan(&t.Releases).Error
	if err != nil {
		return t, dbError(err)
	}
	err = tx.Model(&Deployment{}).Where("id IN ? AND log_digest <> ''", t.deployments()).Pluck("log_digest", &t.Logs).Error
	return t, dbError(err)
}

// deployments are those of the releases that go along, and one that is none: a
// list in SQL has something in it.
func (t Transfer) deployments() []string {
	ids := []string{""}
	for _, r := range t.Releases {
		ids = append(ids, r.DeploymentID)
	}
	return ids
}

// latestSource is what the next deployment would start from; see BaseSource.
func latestSource(tx *gorm.DB, projectID string) (string, error) {
	var digest string
	err := tx.Raw("SELECT source_digest FROM deployments WHERE project_id = ? AND source_digest <> '' ORDER BY sequence DESC LIMIT 1", projectID).Scan(&digest).Error
	return digest, err
}

// refuseUnderWay refuses to move a project from under its workflows.
func refuseUnderWay(tx *gorm.DB, projectID string) error {
	work, err := unfinishedOf(tx, projectID)
	switch {
	case err != nil:
		return err
	case len(work.Deployments) > 0:
		return Errorf(CodeConflict, "The project has deployments under way or parked, %s among them. Wait for them, or cancel or abandon them, first.", work.Deployments[0])
	case len(work.Rollouts) > 0:
		return Errorf(CodeConflict, "The project has the rollout %s running. Wait for its end or cancel it first.", work.Rollouts[0])
	}
	return nil
}

// TransferProject gives a project to another organization, with its domains,
// variables, deployments, key-value namespaces of its own and the releases that
// were copied. Other releases, tokens and webhooks limited to the project and
// idempotency keys stay with, and are removed from, the organization it leaves.
// All in one transaction, after which dispatchers look for its files in the new
// scope. CodeConflict when something began or went live since it was copied,
// CodeQuotaExceeded when the other organization has no room, CodeProjectNotFound.
func (s *Store) TransferProject(ctx context.Context, t Transfer) (Project, error) {
	var row Project
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		// Organizations before projects: the order of everybody.
		q, err := holdQuota(tx, t.To)
		if err != nil {
			return err
		}
		p, err := lockProjectOf(tx, t.From, t.ProjectID)
		if err != nil {
			return err
		}
		if err := CheckVersion(p, t.Versions); err != nil {
			return err
		}
		if err := refuseUnderWay(tx, p.ID); err != nil {
			return err
		}
		source, err := latestSource(tx, p.ID)
		if err != nil {
			return err
		}
		live := p.LiveReleaseID == "" || slices.ContainsFunc(t.Releases, func(r Release) bool { return r.ID == p.LiveReleaseID })
		if source != t.Source || !live {
			return Errorf(CodeConflict, "The project was deployed while it was being copied. Transfer it again.")
		}
		if err := leaveBehind(tx, t); err != nil {
			return err
		}
		if err := admitProject(tx, q, p.ID); err != nil {
			return err
		}
		if err := moveProject(tx, t, p); err != nil {
			return err
		}
		return tx.Where("id = ?", p.ID).Take(&row).Error
	})
	return row, dbError(err)
}

// leaveBehind removes what does not go along.
func leaveBehind(tx *gorm.DB, t Transfer) error {
	ids, deployments := []string{""}, t.deployments()
	for _, r := range t.Releases {
		ids = append(ids, r.ID)
	}
	return execAll(tx,
		statement{"DELETE FROM releases WHERE project_id = ? AND id NOT IN ?", []any{t.ProjectID, ids}},
		// Their logs and sources are in the scope that the project leaves.
		statement{"UPDATE deployments SET log_digest = '' WHERE project_id = ? AND id NOT IN ?", []any{t.ProjectID, deployments}},
		statement{"UPDATE deployments SET source_digest = '' WHERE project_id = ? AND source_digest <> ? AND id NOT IN ?", []any{t.ProjectID, t.Source, deployments}},
		statement{"DELETE FROM tokens WHERE project_id = ?", []any{t.ProjectID}},
		statement{"DELETE FROM webhooks WHERE project_id = ?", []any{t.ProjectID}},
		statement{"DELETE FROM idempotency_keys WHERE deployment_id IN (SELECT id FROM deployments WHERE project_id = ?)", []any{t.ProjectID}},
		statement{"DELETE FROM kv_namespaces WHERE organization_id = ? AND starts_with(name, ?)", []any{t.To, ownNamespaces(t.ProjectID)}},
	)
}

// admitProject holds what comes along against the quota of who gets it.
func admitProject(tx *gorm.DB, q quota, projectID string) error {
	var domains, bytes int64
	err := tx.Raw(`SELECT (SELECT count(*) FROM domains WHERE project_id = @id),
		(SELECT coalesce(sum(bytes), 0) FROM (SELECT max(bytes) AS bytes FROM releases WHERE project_id = @id GROUP BY `+releaseOutput+`) outputs)`,
		map[string]any{"id": projectID}).Row().Scan(&domains, &bytes)
	if err != nil {
		return err
	}
	if err := q.admit(tx, ResourceProjects, 1); err != nil {
		return err
	}
	if err := q.admit(tx, ResourceDomains, domains); err != nil {
		return err
	}
	return q.admit(tx, ResourceStorage, bytes)
}

// moveProject writes the new owner everywhere and announces it.
func moveProject(tx *gorm.DB, t Transfer, p Project) error {
	err := execAll(tx,
		statement{"UPDATE projects SET organization_id = ?, source_digest = ?, updated_at = ? WHERE id = ?", []any{t.To, t.Source, time.Now().UTC(), p.ID}},
		statement{"UPDATE deployments SET organization_id = ? WHERE project_id = ?", []any{t.To, p.ID}},
		statement{"UPDATE releases SET organization_id = ? WHERE project_id = ?", []any{t.To, p.ID}},
		statement{"UPDATE rollouts SET organization_id = ? WHERE project_id = ?", []any{t.To, p.ID}},
		statement{"UPDATE domains SET organization_id = ? WHERE project_id = ?", []any{t.To, p.ID}},
		statement{"UPDATE kv_namespaces SET organization_id = ? WHERE organization_id = ? AND starts_with(name, ?)", []any{t.To, t.From, ownNamespaces(p.ID)}},
	)
	if err != nil {
		return err
	}
	if err := announce(tx, PreviewsKey(p.WorkerName)); err != nil {
		return err
	}
	return moveRoutes(tx, p.ID, "organization_id = ?", t.To)
}

type statement struct {
	sql  string
	args []any
}

func execAll(tx *gorm.DB, statements ...statement) error {
	for _, s := range statements {
		if err := tx.Exec(s.sql, s.args...).Error; err != nil {
			return err
		}
	}
	return nil
}
