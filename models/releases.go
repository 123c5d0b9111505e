package models

import (
	"context"
	"errors"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// WriteRelease stores a deployment's release and returns it. A deployment has
// one release: a second call returns the first one's. CodeProjectNotFound when
// the project was deleted meanwhile, CodeQuotaExceeded when its files are more
// than the organization may store.
func (s *Store) WriteRelease(ctx context.Context, r Release) (Release, error) {
	r.ID = NewID(PrefixRelease)
	r.CreatedAt = time.Now().UTC()
	var row Release
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		quota, err := holdQuota(tx, r.OrganizationID)
		if err != nil {
			return err
		}
		err = tx.Where("deployment_id = ?", r.DeploymentID).Take(&row).Error
		if !errors.Is(err, gorm.ErrRecordNotFound) {
			return err
		}
		if err := quota.admitRelease(tx, r); err != nil {
			return err
		}
		row = r
		return tx.Create(&row).Error
	})
	if errors.Is(err, gorm.ErrForeignKeyViolated) {
		err = errProjectDeleted(r.ProjectID)
	}
	return row, dbError(err)
}

// MarkChecked notes that a release was seen to answer. From now on it has a
// preview, so that the worker name of a project with nothing live is announced:
// nobody has heard of it yet. Idempotent.
func (s *Store) MarkChecked(ctx context.Context, id string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		err := tx.Model(&Release{}).Where("id = ? AND checked_at IS NULL", id).Update("checked_at", time.Now().UTC()).Error
		if err != nil {
			return err
		}
		return tx.Exec(`SELECT pg_notify(?, ?::text || p.worker_name) FROM releases r JOIN projects p ON p.id = r.project_id
			WHERE r.id = ? AND p.live_release_id = ''`,
			RoutesChannel, WorkerRouteKey(""), id).Error
	}))
}

// Release reads a release of a project that was seen to answer;
// CodeReleaseNotFound.
func (s *Store) Release(ctx context.Context, projectID, id string) (Release, error) {
	var row Release
	err := s.with(ctx).Where("id = ? AND project_id = ? AND checked_at IS NOT NULL", id, projectID).Take(&row).Error
	return row, notFound(err, ReleaseNotFound(projectID, id))
}

// HasRelease says whether a release is the project's, also one that was never seen
// to answer: its worker's log tells why. CodeReleaseNotFound when it is not.
func (s *Store) HasRelease(ctx context.Context, projectID, id string) error {
	var row Release
	err := s.with(ctx).Select("id").Where("id = ? AND project_id = ?", id, projectID).Take(&row).Error
	return notFound(err, ReleaseNotFound(projectID, id))
}

// ReleaseNotFound is the CodeReleaseNotFound of an id that a project has no release of.
func ReleaseNotFound(projectID, id string) *Error {
	return Errorf(CodeReleaseNotFound, "The project has no release %q. GET /projects/%s/releases lists them.", id, projectID)
}

// Releases lists a project's releases that were seen to answer, newest first.
// Their key is the sequence.
func (s *Store) Releases(ctx context.Context, projectID string, after Position, limit int) ([]Release, error) {
	query := s.with(ctx).Where("project_id = ? AND checked_at IS NOT NULL", projectID)
	if !after.Begins() {
		query = query.Where("sequence < ?", after.Key)
	}
	var rows []Release
	err := query.Order("sequence DESC").Limit(limit).Find(&rows).Error
	return rows, dbError(err)
}

// ReleaseBefore is the newest release older than the one given that was live at
// some time: previews that were never brought live, what a newer deployment was
// ahead of, and what was seen to answer and is about to go live, were not.
// CodeReleaseNotFound.
func (s *Store) ReleaseBefore(ctx context.Context, projectID, id string) (Release, error) {
	var row Release
	err := s.with(ctx).Where("project_id = ? AND live_at IS NOT NULL AND sequence < (SELECT sequence FROM releases WHERE id = ?)", projectID, id).
		Order("sequence DESC").Take(&row).Error
	return row, notFound(err, Errorf(CodeReleaseNotFound, "No release was live before the one that is; name the one to go back to."))
}

// GoLive flips the project's pointer and routes to a release in one transaction
// and announces it. Only forward: when the project's mark is past the release's
// sequence, nothing changes and live is false. Running it again is harmless:
// the release that is live stays live, and one that was replaced since is not
// brought back.
func (s *Store) GoLive(ctx context.Context, r Release) (live bool, err error) {
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		live = false
		p, err := lockProject(tx, r.ProjectID)
		if err != nil {
			return err
		}
		if p.LiveReleaseID == r.ID {
			live = true
			return nil
		}
		if p.HighWaterMark >= r.Sequence {
			return nil
		}
		live = true
		return flip(tx, p, r, r.Sequence)
	})
	return live, dbError(err)
}

// GoLiveAfter brings a release live that was made of another one, with nothing but
// its settings changed: only while that one is still live, or one of the same code
// with settings older than this one's, and without raising the mark, so that new
// code which was under way meanwhile goes live all the same. Running it again is
// harmless.
func (s *Store) GoLiveAfter(ctx context.Context, r Release, baseID string) (live bool, err error) {
	err = s.with(ctx).Transaction(func(tx *gorm.DB) error {
		live = false
		p, err := lockProject(tx, r.ProjectID)
		if err != nil {
			return err
		}
		if p.LiveReleaseID == r.ID {
			live = true
			return nil
		}
		if live = p.LiveReleaseID == baseID; !live {
			// Two changes of settings at once are both made of what was live before.
			var current Release
			if err := tx.Where("id = ?", p.LiveReleaseID).Limit(1).Find(&current).Error; err != nil {
				return err
			}
			live = current.ID != "" && current.SourceDigest == r.SourceDigest && current.OutputDigest == r.OutputDigest &&
				current.Sequence < r.Sequence && p.HighWaterMark < r.Sequence
		}
		if !live {
			return nil
		}
		return flip(tx, p, r, p.HighWaterMark)
	})
	return live, dbError(err)
}

// RepeatSettings queues a deployment of changed settings once more, when code that
// was queued before it went live meanwhile: that may have been made with the
// settings of before. It queues one however often it is asked, and none after a
// rollback, which is to bring the settings of then back. CodeQuotaExceeded.
func (s *Store) RepeatSettings(ctx context.Context, in DeploymentInput) error {
	row, err := s.Deployment(ctx, in.DeploymentID)
	if err != nil {
		return err
	}
	project, err := s.Project(ctx, in.OrgID, in.ProjectID)
	if err != nil {
		return err
	}
	live, err := s.Release(ctx, in.ProjectID, project.LiveReleaseID)
	if err != nil || live.Sequence > in.Sequence || project.HighWaterMark > in.Sequence {
		return err
	}
	return s.queueSettings(ctx, in, row.Priority, live.ID)
}

// RenewSettings queues a deployment that makes a release of the one given, which a
// deployment of code has just brought live, with the settings of now. It queues
// one however often it is asked. CodeQuotaExceeded.
func (s *Store) RenewSettings(ctx context.Context, in DeploymentInput, releaseID string) error {
	row, err := s.Deployment(ctx, in.DeploymentID)
	if err != nil {
		return err
	}
	return s.queueSettings(ctx, in, row.Priority, releaseID)
}

// queueSettings queues a deployment of settings on behalf of another deployment.
func (s *Store) queueSettings(ctx context.Context, of DeploymentInput, priority int, releaseID string) error {
	_, _, err := s.CreateDeployment(ctx, NewDeployment{
		Input: DeploymentInput{
			DeploymentID: NewID(PrefixDeployment), ProjectID: of.ProjectID, OrgID: of.OrgID, UserID: of.UserID, FromReleaseID: releaseID,
			ActiveTimeout: of.ActiveTimeout, ParkTimeout: of.ParkTimeout, BuildQueue: of.BuildQueue,
		},
		Priority:       priority,
		IdempotencyKey: " settings of " + of.DeploymentID, BodyHash: of.DeploymentID, // no client's key begins with a space
	})
	return err
}

// Rollback flips the project's pointer back to an earlier release. The mark is
// raised to the last sequence given out, so that no deployment under way then
// overwrites the choice.
func (s *Store) Rollback(ctx context.Context, r Release) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		p, err := lockProject(tx, r.ProjectID)
		if err != nil {
			return err
		}
		return flip(tx, p, r, p.LastSequence)
	}))
}

func lockProject(tx *gorm.DB, id string) (Project, error) {
	var p Project
	err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Where("id = ?", id).Take(&p).Error
	return p, notFound(err, errProjectDeleted(id))
}

func errProjectDeleted(id string) *Error {
	return Errorf(CodeProjectNotFound, "The project %q was deleted meanwhile.", id)
}

func flip(tx *gorm.DB, p Project, r Release, mark int64) error {
	now := time.Now().UTC()
	err := tx.Model(&Project{}).Where("id = ?", p.ID).
		Updates(map[string]any{"live_release_id": r.ID, "high_water_mark": gorm.Expr("greatest(high_water_mark, ?)", mark), "updated_at": now}).Error
	if err != nil {
		return err
	}
	// Whatever else goes live ends a rollout, also the release that is live already.
	var ended []Rollout
	err = tx.Model(&ended).Clauses(clause.Returning{}).Where("project_id = ? AND status = ? AND release_id <> ?", p.ID, RolloutRunning, r.ID).
		Updates(map[string]any{"status": RolloutSuperseded, "reason": "Something else went live meanwhile.", "updated_at": now, "finished_at": now}).Error
	for _, row := range ended {
		err = errors.Join(err, tell(tx, rolloutEvent(EventRolloutSuperseded, row)))
	}
	if err != nil {
		return err
	}
	err = tx.Exec(`INSERT INTO routes (key, project_id, organization_id, worker_name, release_id, manifest_digest, generation)
		VALUES (?, ?, ?, ?, ?, '', 0) ON CONFLICT (key) DO NOTHING`,
		WorkerRouteKey(p.WorkerName), p.ID, p.OrganizationID, p.WorkerName, r.ID).Error
	if err != nil {
		return err
	}
	if err := routeDomains(tx, p); err != nil {
		return err
	}
	return moveRoutes(tx, p.ID, `release_id = ?, manifest_digest = ?, worker_digest = ?,
		canary_release_id = '', canary_manifest_digest = '', canary_worker_digest = '', canary_percent = 0`,
		r.ID, r.ManifestDigest, r.WorkerDigest)
}

// Route reads the route with that key; CodeNotFound when nothing answers there.
// A worker name of the form <release>--<worker> that is nobody's own is the
// preview of that release.
func (s *Store) Route(ctx context.Context, key string) (Route, error) {
	var row Route
	err := s.with(ctx).Where("key = ?", key).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		if worker, ok := strings.CutPrefix(key, WorkerRouteKey("")); ok && strings.Contains(worker, "--") {
			return s.previewRoute(ctx, key, worker)
		}
	}
	return row, notFound(err, errNothingDeployed())
}

func errNothingDeployed() *Error { return Errorf(CodeNotFound, "Nothing is deployed there.") }

const (
	// shortReleaseLength is how much of a release's id its preview address shows:
	// 50 random bits.
	shortReleaseLength = 10
	minShortRelease    = 8
)

// ShortReleaseID is a release as it stands in its preview address.
func ShortReleaseID(id string) string {
	return strings.TrimPrefix(id, PrefixRelease+"_")[:shortReleaseLength]
}

// PreviewName is the worker name under which one release always answers.
func PreviewName(releaseID, workerName string) string {
	return ShortReleaseID(releaseID) + "--" + workerName
}

// previewRoute finds the release whose id begins as the name does.
func (s *Store) previewRoute(ctx context.Context, key, name string) (Route, error) {
	short, worker, _ := strings.Cut(name, "--")
	if len(short) < minShortRelease || strings.ContainsFunc(short, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '2' || c > '7') }) {
		return Route{}, errNothingDeployed()
	}
	var rows []Release
	err := s.with(ctx).Select("releases.*").Joins("JOIN projects p ON p.id = releases.project_id").
		Where("p.worker_name = ? AND releases.id LIKE ? AND checked_at IS NOT NULL", worker, PrefixRelease+`\_`+short+"%").
		Limit(2).Find(&rows).Error
	if err != nil {
		return Route{}, dbError(err)
	}
	if len(rows) != 1 {
		return Route{}, errNothingDeployed()
	}
	r := rows[0]
	return Route{
		Key: key, ProjectID: r.ProjectID, OrganizationID: r.OrganizationID, WorkerName: worker, ReleaseID: r.ID,
		ManifestDigest: r.ManifestDigest, WorkerDigest: r.WorkerDigest, Preview: true, UpdatedAt: r.CreatedAt,
	}, nil
}
