package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Project is a project as clients see it.
type Project struct {
	ID            string    `json:"id" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	OrgID         string    `json:"orgId" doc:"The organization"`
	Name          string    `json:"name" doc:"Its name, for people" example:"My shop"`
	WorkerName    string    `json:"workerName" doc:"The label it answers under" example:"my-shop"`
	URL           string    `json:"url" doc:"Where it answers once something is live" example:"http://my-shop.localhost:3005/"`
	LiveReleaseID string    `json:"liveReleaseId,omitempty" doc:"The release that is live"`
	CreatedAt     time.Time `json:"createdAt" doc:"When it was made"`
	UpdatedAt     time.Time `json:"updatedAt" doc:"When it last changed"`
}

// ProjectRequest is the body of POST /projects.
type ProjectRequest struct {
	Name       string `json:"name" minLength:"1" maxLength:"1600" doc:"Its name, for people: one line of at most 100 characters" example:"My shop"`
	WorkerName string `json:"workerName,omitempty" maxLength:"63" doc:"The label it answers under, at most 40 letters, digits and single hyphens; made from the name when left out" example:"my-shop"`
}

// ProjectList is one page of projects.
type ProjectList struct {
	Items      []Project `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string    `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

type createProjectInput struct{ Body ProjectRequest }

type createProjectOutput struct {
	Location string `header:"Location" doc:"The project's path"`
	ETag     string `header:"ETag" doc:"Names this state of the project; send it as If-Match to change just this one"`
	Body     Project
}

type getProjectInput struct {
	ID string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	IfNoneMatch
}

type projectOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"Names this state of the project; send it as If-Match to change just this one"`
	Body   Project
}

type projectsInput struct {
	Paging
	Query string `query:"q" maxLength:"100" doc:"Only those whose name or worker name begins like this, in any case" example:"my-"`
}

type projectsOutput struct{ Body ProjectList }

func (s *Server) registerProjects() {
	register(s, route{
		id: "create-project", method: http.MethodPost, path: "/projects", tag: "Projects", status: http.StatusCreated,
		summary: "Make a project", maxBody: 16 << 10, errors: []models.Code{models.CodeNameTaken},
	}, s.createProject)
	register(s, route{
		id: "list-projects", method: http.MethodGet, path: "/projects", tag: "Projects",
		summary: "Projects of the organization",
	}, s.projects)
	register(s, route{
		id: "get-project", method: http.MethodGet, path: "/projects/{id}", tag: "Projects",
		summary: "One project", errors: []models.Code{models.CodeProjectNotFound},
		responses: notModified(),
	}, s.project)
}

func (s *Server) createProject(ctx context.Context, in *createProjectInput) (*createProjectOutput, error) {
	name, err := models.CleanDisplayName(in.Body.Name)
	if err != nil {
		return nil, invalid([]FieldError{{Field: "name", In: "body", Message: models.MessageOf(err)}})
	}
	row, err := s.takeName(ctx, identityOf(ctx).OrganizationID, name, in.Body.WorkerName)
	if err != nil {
		return nil, err
	}
	return &createProjectOutput{Location: "/projects/" + row.ID, ETag: entityTag(row.Version), Body: s.projectView(row)}, nil
}

// takeName creates the project under the worker name asked for, or under one
// made from its name, with something random at the end when that is not free.
func (s *Server) takeName(ctx context.Context, organizationID, name, workerName string) (models.Project, error) {
	if workerName != "" {
		if err := models.ValidateNewWorkerName(workerName, s.opts.Reserved); err != nil {
			return models.Project{}, invalid([]FieldError{{Field: "workerName", In: "body", Message: models.MessageOf(err)}})
		}
		return s.opts.Store.CreateProject(ctx, organizationID, name, workerName)
	}
	base := slug(name)
	candidate := base
	for attempt := 0; ; attempt++ {
		if models.ValidateNewWorkerName(candidate, s.opts.Reserved) == nil {
			row, err := s.opts.Store.CreateProject(ctx, organizationID, name, candidate)
			if models.CodeOf(err) != models.CodeNameTaken || err == nil || attempt == 4 {
				return row, err
			}
		}
		var random [4]byte
		_, _ = rand.Read(random[:])
		candidate = strings.TrimPrefix(base+"-"+hex.EncodeToString(random[:]), "-")
	}
}

// slug makes a worker name of a project's name: its ASCII letters and digits,
// with single hyphens for the rest. It leaves room for a random ending and may be "".
func slug(name string) string {
	const most = models.MaxNewWorkerNameLength - len("-00000000")
	var b strings.Builder
	for _, c := range []byte(models.FoldWorkerName(name)) {
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		switch {
		case b.Len() == most:
		case letter:
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}

func (s *Server) projects(ctx context.Context, in *projectsInput) (*projectsOutput, error) {
	after, err := decodeCursor(models.PrefixProject, in.Cursor)
	if err != nil {
		return nil, err
	}
	identity := identityOf(ctx)
	rows, err := s.opts.Store.Projects(ctx, models.ProjectFilter{
		OrganizationID: identity.OrganizationID, ProjectID: identity.ProjectID, Query: in.Query, After: after, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(p models.Project) models.Position { return models.PositionAt(p.CreatedAt, p.ID) })
	list := ProjectList{Items: make([]Project, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, s.projectView(row))
	}
	return &projectsOutput{list}, nil
}

func (s *Server) project(ctx context.Context, in *getProjectInput) (*projectOutput, error) {
	row, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &projectOutput{Status: in.status(entityTag(row.Version)), ETag: entityTag(row.Version), Body: s.projectView(row)}, nil
}

// projectOf reads a project of the caller's organization.
func (s *Server) projectOf(ctx context.Context, id string) (models.Project, error) {
	if !models.ValidID(models.PrefixProject, id) || !identityOf(ctx).MayUseProject(id) {
		return models.Project{}, models.Errorf(models.CodeProjectNotFound, "There is no project %q in this organization.", shorten(id))
	}
	return s.opts.Store.Project(ctx, identityOf(ctx).OrganizationID, id)
}

func (s *Server) projectView(row models.Project) Project {
	return Project{
		ID: row.ID, OrgID: row.OrganizationID, Name: row.Name, WorkerName: row.WorkerName, URL: s.opts.SiteURL(row.WorkerName),
		LiveReleaseID: row.LiveReleaseID, CreatedAt: stamp(row.CreatedAt), UpdatedAt: stamp(row.UpdatedAt),
	}
}
