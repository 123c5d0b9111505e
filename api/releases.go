package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Release is a release as clients see it.
type Release struct {
	ID           string    `json:"id" doc:"Release id" example:"rel_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ProjectID    string    `json:"projectId" doc:"The project"`
	DeploymentID string    `json:"deploymentId" doc:"The deployment that made it"`
	Sequence     int64     `json:"sequence" doc:"The deployment's number within the project"`
	Framework    string    `json:"framework,omitempty" doc:"What kind of project it is" example:"vite"`
	Files        int       `json:"files" doc:"How many files it serves"`
	Bytes        int64     `json:"bytes" doc:"Their size together"`
	Live         bool      `json:"live" doc:"True for the one that answers"`
	Worker       bool      `json:"worker" doc:"True when it has server code"`
	PreviewURL   string    `json:"previewUrl" doc:"Where this release answers for as long as it is kept, whatever is live" example:"http://3kq5q2n7d4--my-shop.localhost:3005/"`
	CreatedAt    time.Time `json:"createdAt" doc:"When it was made"`
}

// ReleaseList is one page of releases.
type ReleaseList struct {
	Items      []Release `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string    `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// RollbackRequest is the body of POST /projects/{id}/rollback, which may be left out.
type RollbackRequest struct {
	ReleaseID string `json:"releaseId,omitempty" maxLength:"64" doc:"The release to go back to; the one that was live before when left out"`
}

// RollbackAnswer says what is live now.
type RollbackAnswer struct {
	Success           bool      `json:"success" doc:"Always true"`
	ProjectID         string    `json:"projectId" doc:"The project"`
	ReleaseID         string    `json:"releaseId" doc:"The release that is live now"`
	PreviousReleaseID string    `json:"previousReleaseId,omitempty" doc:"The release that was live before"`
	URL               string    `json:"url" doc:"Where it answers"`
	Message           string    `json:"message" doc:"What happened" example:"Rolled back"`
	Timestamp         time.Time `json:"timestamp" doc:"When"`
}

type releasesInput struct {
	Paging
	ID string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type releasesOutput struct{ Body ReleaseList }

type rollbackInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Body *RollbackRequest
}

type rollbackOutput struct{ Body RollbackAnswer }

// rollbackAwait bounds the wait for dispatchers to take note of a rollback.
const rollbackAwait = 3 * time.Second

func (s *Server) registerReleases() {
	register(s, route{
		id: "list-releases", method: http.MethodGet, path: "/projects/{id}/releases", tag: "Releases",
		summary: "Releases of a project", errors: []models.Code{models.CodeProjectNotFound},
	}, s.releases)
	register(s, route{
		id: "rollback", method: http.MethodPost, path: "/projects/{id}/rollback", tag: "Releases", maxBody: 16 << 10,
		summary:     "Go back to an earlier release",
		description: "Takes effect at once, without a build. Deployments already under way do not go live over it; the next one does.",
		errors:      []models.Code{models.CodeProjectNotFound, models.CodeReleaseNotFound},
	}, s.rollback)
}

func (s *Server) releases(ctx context.Context, in *releasesInput) (*releasesOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	after, err := decodeCursor(models.PrefixRelease, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.opts.Store.Releases(ctx, project.ID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, positionOf)
	list := ReleaseList{Items: make([]Release, 0, len(rows)), NextCursor: next}
	for _, r := range rows {
		list.Items = append(list.Items, Release{
			ID: r.ID, ProjectID: r.ProjectID, DeploymentID: r.DeploymentID, Sequence: r.Sequence, Framework: r.Framework,
			Files: r.Files, Bytes: r.Bytes, Live: r.ID == project.LiveReleaseID, CreatedAt: stamp(r.CreatedAt),
			Worker: r.WorkerDigest != "", PreviewURL: s.opts.SiteURL(models.PreviewName(r.ID, project.WorkerName)),
		})
	}
	return &releasesOutput{list}, nil
}

// positionOf is where a release stands in the list of its project.
func positionOf(r models.Release) models.Position { return models.Position{Key: r.Sequence, ID: r.ID} }

func (s *Server) rollback(ctx context.Context, in *rollbackInput) (*rollbackOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	var wanted string
	if in.Body != nil {
		wanted = in.Body.ReleaseID
	}
	release, err := s.rollbackTarget(ctx, project, wanted)
	if err != nil {
		return nil, err
	}
	noteTarget(ctx, "releaseId", release.ID)
	if err := s.opts.Store.Rollback(ctx, release); err != nil {
		return nil, err
	}
	log := s.logOf(ctx).WithField("project", project.ID).WithField("release", release.ID)
	log.WithField("user", identityOf(ctx).UserID).Info("rolled back")
	// The rollback is done; the answer waits a moment so that whoever reads it
	// finds it done everywhere.
	await, cancel := context.WithTimeout(ctx, rollbackAwait)
	defer cancel()
	if err := s.opts.Store.AwaitRoutes(await, project.ID); err != nil {
		log.WithError(err).Warn("rolled back, but not every dispatcher has taken note of it yet")
	}
	return &rollbackOutput{RollbackAnswer{
		Success: true, ProjectID: project.ID, ReleaseID: release.ID, PreviousReleaseID: project.LiveReleaseID,
		URL: s.opts.SiteURL(project.WorkerName), Message: "Rolled back", Timestamp: now(),
	}}, nil
}

// rollbackTarget is the release asked for, or the one that was live before.
func (s *Server) rollbackTarget(ctx context.Context, project models.Project, wanted string) (models.Release, error) {
	if wanted != "" {
		if err := checkReleaseID(project.ID, wanted); err != nil {
			return models.Release{}, err
		}
		return s.opts.Store.Release(ctx, project.ID, wanted)
	}
	if project.LiveReleaseID == "" {
		return models.Release{}, models.Errorf(models.CodeReleaseNotFound, "Nothing of this project is live yet.")
	}
	return s.opts.Store.ReleaseBefore(ctx, project.ID, project.LiveReleaseID)
}

// checkReleaseID spares the database what no release has ever had for an id.
func checkReleaseID(projectID, id string) error {
	if models.ValidID(models.PrefixRelease, id) {
		return nil
	}
	return models.ReleaseNotFound(projectID, shorten(id))
}
