package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Deployment is a deployment as lists show it.
type Deployment struct {
	ID           string                  `json:"id" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ProjectID    string                  `json:"projectId" doc:"The project"`
	OrgID        string                  `json:"orgId" doc:"The organization"`
	UserID       string                  `json:"userId" doc:"Who asked for it"`
	Sequence     int64                   `json:"sequence" doc:"Its number within the project, from 1"`
	Status       models.DeploymentStatus `json:"status" enum:"queued,in_progress,completed,failed" doc:"Overall status"`
	Outcome      models.Outcome          `json:"outcome,omitempty" enum:"succeeded,superseded,rejected,dead_letter,abandoned,canceled" doc:"How it ended, or dead_letter while parked"`
	CurrentStep  models.Step             `json:"currentStep,omitempty" doc:"The step that runs, or at which it stopped"`
	Progress     int                     `json:"progress" doc:"Percentage"`
	Error        string                  `json:"error,omitempty" doc:"Why it failed"`
	ErrorCode    models.Code             `json:"errorCode,omitempty" doc:"Code of the error"`
	CustomDomain string                  `json:"customDomain,omitempty" doc:"The host name asked for"`
	ReleaseID    string                  `json:"releaseId,omitempty" doc:"The release it made"`
	Priority     int                     `json:"priority" doc:"1 is the most urgent"`
	CreatedAt    time.Time               `json:"createdAt" doc:"When it was queued"`
	UpdatedAt    time.Time               `json:"updatedAt" doc:"When it last changed"`
	FinishedAt   *time.Time              `json:"finishedAt,omitempty" doc:"When it ended"`
}

// DeploymentDetail is a deployment with its steps.
type DeploymentDetail struct {
	Deployment
	Steps     models.Steps      `json:"steps"`
	Logs      []string          `json:"logs" nullable:"false" doc:"Step lines, newest last, at most 100"`
	Diagnosis *models.Diagnosis `json:"diagnosis,omitempty" doc:"What went wrong in a failing build, and what to do"`
	URL       string            `json:"url,omitempty" doc:"Where the release answers"`
	Retries   int               `json:"retries" doc:"How often it was retried by hand"`
	Stale     bool              `json:"stale,omitempty" doc:"True when no worker answered and this is the last recorded state"`
}

func deploymentOf(row models.Deployment) Deployment {
	d := Deployment{
		ID: row.ID, ProjectID: row.ProjectID, OrgID: row.OrganizationID, UserID: row.UserID, Sequence: row.Sequence,
		Status: row.Status, Outcome: row.Outcome, CurrentStep: row.CurrentStep, Progress: row.Progress,
		Error: row.Error, ErrorCode: row.ErrorCode, CustomDomain: row.CustomDomain, ReleaseID: row.ReleaseID,
		Priority: row.Priority, CreatedAt: stamp(row.CreatedAt), UpdatedAt: stamp(row.UpdatedAt),
	}
	if row.FinishedAt != nil {
		finished := stamp(*row.FinishedAt)
		d.FinishedAt = &finished
	}
	return d
}

// detailOf is the row brought up to date by the status, which may be newer.
func detailOf(row models.Deployment, st models.Status) DeploymentDetail {
	d := deploymentOf(row)
	d.Status, d.Outcome, d.CurrentStep, d.Progress = st.Status, st.Outcome, st.CurrentStep, st.Progress
	d.Error, d.ErrorCode = st.Error, st.ErrorCode
	if st.ReleaseID != "" {
		d.ReleaseID = st.ReleaseID
	}
	logs := st.Logs
	if logs == nil {
		logs = []string{}
	}
	return DeploymentDetail{
		Deployment: d, Steps: st.Steps, Logs: logs, Diagnosis: st.Diagnosis,
		URL: st.URL, Retries: st.Retries, Stale: st.Stale,
	}
}

// DeploymentList is one page of deployments.
type DeploymentList struct {
	Items      []Deployment `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string       `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

type deploymentsInput struct {
	Paging
	ProjectID string                  `query:"projectId" maxLength:"64" doc:"Only this project's"`
	UserID    string                  `query:"userId" maxLength:"64" doc:"Only what this user asked for"`
	Status    models.DeploymentStatus `query:"status" enum:"queued,in_progress,completed,failed" doc:"Only those with this status" example:"failed"`
	Outcome   models.Outcome          `query:"outcome" enum:"succeeded,superseded,rejected,dead_letter,abandoned,canceled" doc:"Only those that ended like this, or are parked" example:"rejected"`
	TimeRange
}

type deploymentInput struct {
	ID string `path:"id" maxLength:"64" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type deploymentsOutput struct{ Body DeploymentList }

type deploymentOutput struct{ Body DeploymentDetail }

func (s *Server) registerDeployments() {
	register(s, route{
		id: "list-deployments", method: http.MethodGet, path: "/deployments", tag: "Deployments",
		summary: "Deployments of the organization", description: "Narrowed by any of the parameters together.", errors: []models.Code{models.CodeProjectNotFound},
	}, s.deployments)
	register(s, route{
		id: "get-deployment", method: http.MethodGet, path: "/deployments/{id}", tag: "Deployments",
		summary: "One deployment with its steps", errors: []models.Code{models.CodeDeploymentNotFound},
	}, s.deployment)
	register(s, route{
		id: "list-dead-letters", method: http.MethodGet, path: "/dead-letters", tag: "Deployments",
		summary:     "Parked deployments",
		description: "Deployments that failed for a reason of the platform's and wait for `POST /deployments/{id}/retry` or `/abandon`.",
	}, s.deadLetters)
}

func (s *Server) deployments(ctx context.Context, in *deploymentsInput) (*deploymentsOutput, error) {
	if in.ProjectID != "" {
		if _, err := s.projectOf(ctx, in.ProjectID); err != nil {
			return nil, err
		}
	}
	return s.listDeployments(ctx, models.DeploymentFilter{
		ProjectID: in.ProjectID, UserID: in.UserID, Status: in.Status, Outcome: in.Outcome, Since: in.CreatedAfter, Before: in.CreatedBefore,
	}, in.Paging)
}

func (s *Server) deadLetters(ctx context.Context, in *Paging) (*deploymentsOutput, error) {
	return s.listDeployments(ctx, models.DeploymentFilter{Outcome: models.OutcomeDeadLetter}, *in)
}

func (s *Server) listDeployments(ctx context.Context, filter models.DeploymentFilter, p Paging) (*deploymentsOutput, error) {
	after, err := decodeCursor(models.PrefixDeployment, p.Cursor)
	if err != nil {
		return nil, err
	}
	identity := identityOf(ctx)
	filter.OrganizationID, filter.After, filter.Limit = identity.OrganizationID, after, p.Limit+1
	if identity.ProjectID != "" {
		filter.ProjectID = identity.ProjectID
	}
	rows, err := s.opts.Store.Deployments(ctx, filter)
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, p.Limit, func(d models.Deployment) models.Position { return models.PositionAt(d.CreatedAt, d.ID) })
	list := DeploymentList{Items: make([]Deployment, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, deploymentOf(row))
	}
	return &deploymentsOutput{list}, nil
}

func (s *Server) deployment(ctx context.Context, in *deploymentInput) (*deploymentOutput, error) {
	row, err := s.rowOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	status, err := s.currentStatus(ctx, row)
	if err != nil {
		return nil, err
	}
	return &deploymentOutput{detailOf(row, status)}, nil
}

// rowOf reads a deployment of the caller's organization.
func (s *Server) rowOf(ctx context.Context, id string) (models.Deployment, error) {
	if err := checkDeploymentID(id); err != nil {
		return models.Deployment{}, err
	}
	identity := identityOf(ctx)
	row, err := s.opts.Store.DeploymentOf(ctx, identity.OrganizationID, id)
	if err == nil && !identity.MayUseProject(row.ProjectID) {
		return models.Deployment{}, models.Errorf(models.CodeDeploymentNotFound, "There is no deployment %q.", id)
	}
	return row, err
}
