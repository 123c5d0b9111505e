package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Rollout is a rollout as clients see it.
type Rollout struct {
	ID            string               `json:"id" doc:"Rollout id; also the id of its workflow" example:"rol_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ProjectID     string               `json:"projectId" doc:"The project"`
	ReleaseID     string               `json:"releaseId" doc:"The release that takes over"`
	BaseReleaseID string               `json:"baseReleaseId" doc:"The release that was live when it began"`
	Steps         []int                `json:"steps" nullable:"false" doc:"Percentages of the visitors" example:"[1,10,50,100]"`
	Every         string               `json:"every" doc:"How long each step lasts" example:"5m0s"`
	MaxErrorRate  float64              `json:"maxErrorRate" doc:"The part of answers with a status of 500 and more that is allowed" example:"0.05"`
	Percent       int                  `json:"percent" doc:"The share of the visitors the release has, or had last"`
	Status        models.RolloutStatus `json:"status" enum:"running,completed,reverted,canceled,superseded" doc:"reverted: the release was worse; superseded: something else went live"`
	Reason        string               `json:"reason,omitempty" doc:"Why it ended" example:"The new release answered 12 % of its requests with 5xx."`
	CreatedAt     time.Time            `json:"createdAt" doc:"When it began"`
	FinishedAt    *time.Time           `json:"finishedAt,omitempty" doc:"When it ended"`
}

// RolloutList is one page of rollouts.
type RolloutList struct {
	Items      []Rollout `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string    `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// RolloutRequest is the body of POST /projects/{id}/rollouts.
type RolloutRequest struct {
	ReleaseID    string   `json:"releaseId" minLength:"1" maxLength:"64" doc:"The release to bring live"`
	Steps        []int    `json:"steps,omitempty" maxItems:"20" doc:"Rising percentages of the visitors, the last one 100; [1, 10, 50, 100] when left out" example:"[1,10,50,100]"`
	Every        string   `json:"every,omitempty" maxLength:"20" doc:"How long each step lasts, 10s to 24h; 5m when left out" example:"5m"`
	MaxErrorRate *float64 `json:"maxErrorRate,omitempty" minimum:"0" maximum:"1" doc:"It goes back when more of its answers have a status of 500 and more, and more than those of the live release; 0.05 when left out" example:"0.05"`
}

type createRolloutInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Body RolloutRequest
}

type createRolloutOutput struct {
	Location string `header:"Location" doc:"The rollout's path"`
	Body     Rollout
}

type rolloutInput struct {
	ID        string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	RolloutID string `path:"rolloutId" maxLength:"64" doc:"Rollout id" example:"rol_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type rolloutOutput struct{ Body Rollout }

type rolloutsInput struct {
	Paging
	ID string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type rolloutsOutput struct{ Body RolloutList }

func (s *Server) registerRollouts() {
	const path = "/projects/{id}/rollouts"
	known := []models.Code{models.CodeProjectNotFound, models.CodeRolloutNotFound}
	register(s, route{
		id: "create-rollout", method: http.MethodPost, path: path, tag: "Releases", status: http.StatusCreated, maxBody: 16 << 10,
		summary: "Bring a release live step by step",
		description: "The release gets a rising share of the visitors, each of whom stays with the release they got. It is watched, and goes back by itself when it " +
			"answers with more errors than allowed and than the live one. A deployment or rollback that goes live meanwhile ends it.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodeReleaseNotFound, models.CodeConflict},
	}, s.createRollout)
	register(s, route{
		id: "list-rollouts", method: http.MethodGet, path: path, tag: "Releases",
		summary: "Rollouts of a project", errors: []models.Code{models.CodeProjectNotFound},
	}, s.rollouts)
	register(s, route{
		id: "get-rollout", method: http.MethodGet, path: path + "/{rolloutId}", tag: "Releases", summary: "One rollout", errors: known,
	}, s.rollout)
	register(s, route{
		id: "cancel-rollout", method: http.MethodPost, path: path + "/{rolloutId}/cancel", tag: "Releases",
		summary: "Cancel a rollout", description: "The live release gets all visitors back.",
		errors: append(known, models.CodeNotRunning, models.CodeQueue),
	}, s.cancelRollout)
}

// Bounds and defaults of rollouts.
const (
	minRolloutStep = 10 * time.Second
	maxRolloutStep = 24 * time.Hour
)

func (s *Server) createRollout(ctx context.Context, in *createRolloutInput) (*createRolloutOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	input, err := rolloutOf(in.Body)
	if err != nil {
		return nil, err
	}
	release, err := s.rollbackTarget(ctx, project, in.Body.ReleaseID)
	switch {
	case err != nil:
		return nil, err
	case project.LiveReleaseID == "":
		return nil, models.Errorf(models.CodeConflict, "Nothing of this project is live yet; there is no one to take over from.")
	case project.LiveReleaseID == release.ID:
		return nil, models.Errorf(models.CodeConflict, "The release is live already.")
	}
	input.RolloutID, input.ProjectID, input.OrgID = models.NewID(models.PrefixRollout), project.ID, project.OrganizationID
	input.ReleaseID, input.BaseReleaseID = release.ID, project.LiveReleaseID
	row, err := s.opts.Store.CreateRollout(ctx, input, identityOf(ctx).UserID)
	if err != nil {
		return nil, err
	}
	s.startRollout(ctx, row)
	view, err := rolloutView(row)
	return &createRolloutOutput{Location: "/projects/" + project.ID + "/rollouts/" + row.ID, Body: view}, err
}

// rolloutOf checks a request and fills in the defaults.
func rolloutOf(r RolloutRequest) (models.RolloutInput, error) {
	in := models.RolloutInput{Steps: r.Steps, Every: 5 * time.Minute, MaxErrorRate: 0.05}
	var wrong []FieldError
	if in.Steps == nil {
		in.Steps = []int{1, 10, 50, 100}
	}
	before := 0
	for i, percent := range in.Steps {
		if percent <= before || percent > 100 {
			wrong = append(wrong, FieldError{Field: fmt.Sprintf("steps[%d]", i), In: "body", Message: "must be greater than the one before and at most 100"})
		}
		before = percent
	}
	if before != 100 {
		wrong = append(wrong, FieldError{Field: "steps", In: "body", Message: "must end with 100"})
	}
	if r.Every != "" {
		var err error
		if in.Every, err = time.ParseDuration(r.Every); err != nil || in.Every < minRolloutStep || in.Every > maxRolloutStep {
			wrong = append(wrong, FieldError{Field: "every", In: "body", Message: "must be a duration from 10s to 24h, such as 5m"})
		}
	}
	if r.MaxErrorRate != nil {
		in.MaxErrorRate = *r.MaxErrorRate
	}
	if len(wrong) > 0 {
		return in, invalid(wrong)
	}
	return in, nil
}

// startRollout starts the workflow; the reconciler does when this fails.
func (s *Server) startRollout(ctx context.Context, row models.Rollout) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Limits.StartTimeout)
	defer cancel()
	runID, err := s.opts.StartRollout(ctx, row)
	if err == nil {
		err = s.opts.Store.MarkRolloutStarted(ctx, row.ID, runID)
	}
	if err != nil {
		s.logOf(ctx).WithField("rollout", row.ID).WithError(err).Warn("rollout not started; the reconciler will start it")
	}
}

func (s *Server) rollouts(ctx context.Context, in *rolloutsInput) (*rolloutsOutput, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	after, err := decodeCursor(models.PrefixRollout, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.opts.Store.Rollouts(ctx, project.ID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(r models.Rollout) models.Position { return models.PositionAt(r.CreatedAt, r.ID) })
	list := RolloutList{Items: make([]Rollout, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		view, err := rolloutView(row)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, view)
	}
	return &rolloutsOutput{list}, nil
}

func (s *Server) rolloutRow(ctx context.Context, in *rolloutInput) (models.Rollout, error) {
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return models.Rollout{}, err
	}
	if !models.ValidID(models.PrefixRollout, in.RolloutID) {
		return models.Rollout{}, models.Errorf(models.CodeRolloutNotFound, "The project has no rollout %q.", shorten(in.RolloutID))
	}
	return s.opts.Store.Rollout(ctx, project.ID, in.RolloutID)
}

func (s *Server) rollout(ctx context.Context, in *rolloutInput) (*rolloutOutput, error) {
	row, err := s.rolloutRow(ctx, in)
	if err != nil {
		return nil, err
	}
	view, err := rolloutView(row)
	return &rolloutOutput{view}, err
}

func (s *Server) cancelRollout(ctx context.Context, in *rolloutInput) (*rolloutOutput, error) {
	row, err := s.rolloutRow(ctx, in)
	if err != nil {
		return nil, err
	}
	if row.Status != models.RolloutRunning {
		return nil, models.Errorf(models.CodeNotRunning, "The rollout has ended already: it is %s.", row.Status)
	}
	err = s.opts.CancelRollout(ctx, row.ID)
	if models.CodeOf(err) == models.CodeNotRunning && row.WorkflowRunID == "" {
		// Its workflow has yet to be started, and then finds nothing left to do.
		if err = s.opts.Store.EndRollout(ctx, row.ID, models.RolloutCanceled, "It was canceled before it began."); err == nil {
			row, err = s.opts.Store.Rollout(ctx, row.ProjectID, row.ID)
		}
	}
	if err != nil {
		return nil, err
	}
	s.logOf(ctx).WithField("rollout", row.ID).WithField("user", identityOf(ctx).UserID).Info("rollout canceled")
	view, err := rolloutView(row)
	return &rolloutOutput{view}, err
}

func rolloutView(row models.Rollout) (Rollout, error) {
	var in models.RolloutInput
	if err := json.Unmarshal(row.Input, &in); err != nil {
		return Rollout{}, models.Wrap(models.CodeDatabase, err, "The recorded input of the rollout is damaged.")
	}
	view := Rollout{
		ID: row.ID, ProjectID: row.ProjectID, ReleaseID: row.ReleaseID, BaseReleaseID: row.BaseReleaseID, Steps: in.Steps,
		Every: in.Every.String(), MaxErrorRate: in.MaxErrorRate, Percent: row.Percent, Status: row.Status, Reason: row.Reason, CreatedAt: stamp(row.CreatedAt),
	}
	if row.FinishedAt != nil {
		at := stamp(*row.FinishedAt)
		view.FinishedAt = &at
	}
	return view, nil
}
