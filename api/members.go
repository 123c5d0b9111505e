package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Member is a person in an organization.
type Member struct {
	UserID   string      `json:"userId" doc:"User id" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Email    string      `json:"email" doc:"Their address" example:"ada@example.com"`
	Name     string      `json:"name" doc:"Their name, may be empty" example:"Ada"`
	Image    string      `json:"image,omitempty" doc:"Address of a picture" example:"https://example.com/ada.png"`
	Role     models.Role `json:"role" enum:"viewer,developer,admin,owner" doc:"What they may do; each role includes those before it" example:"developer"`
	JoinedAt time.Time   `json:"joinedAt" doc:"When they became a member" example:"2025-07-22T10:30:00Z"`
}

// MemberRequest is the body of PATCH /orgs/{orgId}/members/{userId}.
type MemberRequest struct {
	Role models.Role `json:"role" enum:"viewer,developer,admin,owner" doc:"The new role" example:"admin"`
}

// MemberList is one page of members.
type MemberList struct {
	Items      []Member `json:"items" nullable:"false" doc:"Those who joined first first"`
	NextCursor string   `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

type membersInput struct {
	InOrganization
	Paging
}

type memberInput struct {
	InOrganization
	UserID string `path:"userId" maxLength:"64" doc:"User id" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type changeMemberInput struct {
	InOrganization
	UserID string `path:"userId" maxLength:"64" doc:"User id" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Body   MemberRequest
}

type memberOutput struct{ Body Member }

type membersOutput struct{ Body MemberList }

func (s *Server) registerMembers() {
	const path = "/orgs/{orgId}/members"
	errors := []models.Code{models.CodeMemberNotFound, models.CodeLastOwner}
	register(s, route{
		id: "list-members", method: http.MethodGet, path: path, tag: "Organizations", summary: "Members of an organization",
	}, s.members)
	register(s, route{
		id: "change-member", method: http.MethodPatch, path: path + "/{userId}", tag: "Organizations", maxBody: 16 << 10,
		summary:     "Change a member's role",
		description: "Only an owner makes or changes an owner, and there is always one. The new role counts from their next request on.",
		errors:      errors,
	}, s.changeMember)
	register(s, route{
		id: "remove-member", method: http.MethodDelete, path: path + "/{userId}", tag: "Organizations", status: http.StatusNoContent,
		summary: "Remove a member, or leave",
		description: "Others need an admin for it, owners an owner; anybody leaves by themselves, except for the last owner. " +
			"Their tokens of this organization are revoked, invitations they sent are withdrawn, and their next request finds it gone.",
		errors: errors,
	}, s.removeMember)
}

func (s *Server) members(ctx context.Context, in *membersInput) (*membersOutput, error) {
	after, err := decodeCursor(models.PrefixUser, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.opts.Store.Members(ctx, models.MemberFilter{OrganizationID: identityOf(ctx).OrganizationID, After: after, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(m models.Member) models.Position { return models.PositionAt(m.JoinedAt, m.UserID) })
	list := MemberList{Items: make([]Member, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, memberView(row))
	}
	return &membersOutput{list}, nil
}

func (s *Server) changeMember(ctx context.Context, in *changeMemberInput) (*memberOutput, error) {
	identity := identityOf(ctx)
	if err := checkUserID(in.UserID); err != nil {
		return nil, err
	}
	if err := s.opts.Store.ChangeRole(ctx, identity.OrganizationID, identity.UserID, in.UserID, in.Body.Role); err != nil {
		return nil, err
	}
	row, err := s.opts.Store.Member(ctx, identity.OrganizationID, in.UserID)
	return &memberOutput{memberView(row)}, err
}

func (s *Server) removeMember(ctx context.Context, in *memberInput) (*emptyOutput, error) {
	identity := identityOf(ctx)
	if err := checkUserID(in.UserID); err != nil {
		return nil, err
	}
	return &emptyOutput{}, s.opts.Store.RemoveMember(ctx, identity.OrganizationID, identity.UserID, in.UserID)
}

func checkUserID(id string) error {
	if models.ValidID(models.PrefixUser, id) {
		return nil
	}
	return models.Errorf(models.CodeMemberNotFound, "The organization has no member %q.", shorten(id))
}

func memberView(row models.Member) Member {
	return Member{UserID: row.UserID, Email: row.Email, Name: row.Name, Image: row.Image, Role: row.Role, JoinedAt: stamp(row.JoinedAt)}
}
