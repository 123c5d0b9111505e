package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Organization is an organization as one of its members sees it.
type Organization struct {
	ID        string      `json:"id" doc:"Organization id" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Name      string      `json:"name" doc:"Its name, for people" example:"Acme"`
	Role      models.Role `json:"role" enum:"viewer,developer,admin,owner" doc:"Your role in it" example:"developer"`
	CreatedAt time.Time   `json:"createdAt" doc:"When it was made" example:"2025-07-22T10:30:00Z"`
}

// OrganizationRequest is the body of POST /orgs and PATCH /orgs/{orgId}.
type OrganizationRequest struct {
	Name string `json:"name" minLength:"1" maxLength:"400" doc:"Its name, one line of at most 100 characters" example:"Acme"`
}

// OrganizationList is one page of organizations.
type OrganizationList struct {
	Items      []Organization `json:"items" nullable:"false" doc:"Those you joined first first"`
	NextCursor string         `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// Me is who a request acts as.
type Me struct {
	User         Person        `json:"user" doc:"The person, or the one whose token it is"`
	Organization *Organization `json:"organization,omitempty" doc:"The organization acted in; not there for somebody who belongs to none"`
	Scope        models.Scope  `json:"scope" enum:"read,deploy,admin" doc:"The token's; admin for a session" example:"admin"`
	TokenID      string        `json:"tokenId,omitempty" doc:"The token; not there for a session" example:"tok_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ProjectID    string        `json:"projectId,omitempty" doc:"The one project the token is limited to" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

// Person is a user as they see themselves.
type Person struct {
	ID            string `json:"id" doc:"User id" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Email         string `json:"email" doc:"Their address" example:"ada@example.com"`
	EmailVerified bool   `json:"emailVerified" doc:"Whether the address was shown to be theirs" example:"true"`
	Name          string `json:"name" doc:"Their name, may be empty" example:"Ada"`
	Image         string `json:"image,omitempty" doc:"Address of a picture" example:"https://example.com/ada.png"`
}

type meOutput struct{ Body Me }

// InOrganization is the path parameter of what is about an organization. The
// handlers go by the identity, which acts in that very one.
type InOrganization struct {
	OrgID string `path:"orgId" maxLength:"64" doc:"Organization id" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type createOrganizationInput struct{ Body OrganizationRequest }

type changeOrganizationInput struct {
	InOrganization
	IfMatch
	Body OrganizationRequest
}

type createOrganizationOutput struct {
	Location string `header:"Location" doc:"The organization's path"`
	Body     Organization
}

type getOrganizationInput struct {
	InOrganization
	IfNoneMatch
}

type organizationOutput struct{ Body Organization }

type organizationStateOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"Names this state of the organization; send it as If-Match to change just this one"`
	Body   Organization
}

type organizationsOutput struct{ Body OrganizationList }

func (s *Server) registerOrganizations() {
	const path = "/orgs/{orgId}"
	register(s, route{
		id: "me", method: http.MethodGet, path: "/me", tag: "Organizations",
		summary: "Who you are", description: "The person, the organization acted in with the role there, and what the token may be used for.",
	}, s.me)
	register(s, route{
		id: "list-organizations", method: http.MethodGet, path: "/orgs", tag: "Organizations",
		summary: "Your organizations", description: "Those you are a member of, with your role. A token sees its own.",
	}, s.organizations)
	register(s, route{
		id: "create-organization", method: http.MethodPost, path: "/orgs", tag: "Organizations", status: http.StatusCreated, maxBody: 16 << 10,
		summary: "Make an organization", description: "You own it. It has members, projects and quotas of its own.",
		errors: []models.Code{models.CodeQuotaExceeded},
	}, s.createOrganization)
	register(s, route{
		id: "get-organization", method: http.MethodGet, path: path, tag: "Organizations", summary: "One organization",
		responses: notModified(),
	}, s.organization)
	register(s, route{
		id: "change-organization", method: http.MethodPatch, path: path, tag: "Organizations", maxBody: 16 << 10,
		summary: "Rename an organization", errors: []models.Code{models.CodePreconditionFailed},
	}, s.changeOrganization)
	register(s, route{
		id: "delete-organization", method: http.MethodDelete, path: path, tag: "Organizations", status: http.StatusNoContent,
		summary:     "Delete an organization",
		description: "With its members, tokens and invitations. It must have no projects any more: delete or transfer them first.",
		errors:      []models.Code{models.CodeConflict},
	}, s.deleteOrganization)
}

func (s *Server) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	identity := identityOf(ctx)
	user, found, err := s.opts.Store.User(ctx, identity.UserID)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, models.Errorf(models.CodeUnauthorized, "There is no such user any more.")
	}
	me := Me{
		User:  Person{ID: user.ID, Email: user.Email, EmailVerified: user.EmailVerified, Name: user.Name, Image: user.Image},
		Scope: identity.Scope, TokenID: identity.TokenID, ProjectID: identity.ProjectID,
	}
	if identity.OrganizationID != "" {
		row, err := s.opts.Store.Organization(ctx, identity.OrganizationID)
		if err != nil {
			return nil, err
		}
		org := organizationView(row, identity.Role)
		me.Organization = &org
	}
	return &meOutput{me}, nil
}

func (s *Server) organizations(ctx context.Context, in *Paging) (*organizationsOutput, error) {
	after, err := decodeCursor(models.PrefixOrganization, in.Cursor)
	if err != nil {
		return nil, err
	}
	identity := identityOf(ctx)
	filter := models.OwnFilter{UserID: identity.UserID, After: after, Limit: in.Limit + 1}
	if identity.TokenID != "" {
		filter.OrganizationID = identity.OrganizationID
	}
	rows, err := s.opts.Store.OrganizationsOf(ctx, filter)
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(o models.OwnOrganization) models.Position { return models.PositionAt(o.JoinedAt, o.ID) })
	list := OrganizationList{Items: make([]Organization, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, Organization{ID: row.ID, Name: row.Name, Role: row.Role, CreatedAt: stamp(row.CreatedAt)})
	}
	return &organizationsOutput{list}, nil
}

func (s *Server) createOrganization(ctx context.Context, in *createOrganizationInput) (*createOrganizationOutput, error) {
	name, err := displayName("name", in.Body.Name)
	if err != nil {
		return nil, err
	}
	row, err := s.opts.Store.FoundOrganization(ctx, identityOf(ctx).UserID, name)
	if err != nil {
		return nil, err
	}
	return &createOrganizationOutput{Location: "/orgs/" + row.ID, Body: organizationView(row, models.RoleOwner)}, nil
}

func (s *Server) organization(ctx context.Context, in *getOrganizationInput) (*organizationStateOutput, error) {
	identity := identityOf(ctx)
	row, err := s.opts.Store.Organization(ctx, identity.OrganizationID)
	if err != nil {
		return nil, err
	}
	tag := entityTag(row.Version, string(identity.Role))
	return &organizationStateOutput{Status: in.status(tag), ETag: tag, Body: organizationView(row, identity.Role)}, nil
}

func (s *Server) changeOrganization(ctx context.Context, in *changeOrganizationInput) (*organizationStateOutput, error) {
	identity := identityOf(ctx)
	name, err := displayName("name", in.Body.Name)
	if err != nil {
		return nil, err
	}
	versions, err := in.versions()
	if err != nil {
		return nil, err
	}
	row, err := s.opts.Store.RenameOrganization(ctx, identity.OrganizationID, name, versions)
	if err != nil {
		return nil, err
	}
	return &organizationStateOutput{Status: http.StatusOK, ETag: entityTag(row.Version, string(identity.Role)), Body: organizationView(row, identity.Role)}, nil
}

func organizationView(row models.Organization, role models.Role) Organization {
	return Organization{ID: row.ID, Name: row.Name, Role: role, CreatedAt: stamp(row.CreatedAt)}
}

func (s *Server) deleteOrganization(ctx context.Context, _ *InOrganization) (*emptyOutput, error) {
	return &emptyOutput{}, s.opts.Store.DeleteOrganization(ctx, identityOf(ctx).OrganizationID)
}
