package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"time"

	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// invitationPage is where a mailed invitation is accepted.
const invitationPage = "/app/invitation"

// Bounds of what an organization has mailed to strangers, and an address gets from
// all of them. Withdrawing an invitation takes back no mail.
var (
	invitationsSent     = ratelimit.Limit{Count: 200, Period: time.Hour}
	invitationsReceived = ratelimit.Limit{Count: 5, Period: time.Hour}
)

// InvitationMail is what an invitation's mail says.
type InvitationMail struct {
	// To is the address invited.
	To string
	// Organization and Inviter are names for people, one line each.
	Organization string
	Inviter      string
	Role         models.Role
	// Link opens the page that accepts it; it holds a secret.
	Link string
}

// Mailer sends the gateway's mails. A nil error means that the mail was handed
// over. It is called concurrently.
type Mailer interface {
	SendInvitation(ctx context.Context, m InvitationMail) error
}

// Invitation asks somebody to join an organization.
type Invitation struct {
	ID        string      `json:"id" doc:"Invitation id" example:"inv_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	OrgID     string      `json:"orgId" doc:"The organization" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Email     string      `json:"email" doc:"The address it was mailed to" example:"grace@example.com"`
	Role      models.Role `json:"role" enum:"viewer,developer,admin,owner" doc:"The role they get" example:"developer"`
	InvitedBy string      `json:"invitedBy" doc:"The user who sent it" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	CreatedAt time.Time   `json:"createdAt" doc:"When it was sent" example:"2025-07-22T10:30:00Z"`
	ExpiresAt time.Time   `json:"expiresAt" doc:"When it ends" example:"2025-07-29T10:30:00Z"`
}

// InvitationRequest is the body of POST /orgs/{orgId}/invitations.
type InvitationRequest struct {
	Email string      `json:"email" minLength:"3" maxLength:"254" doc:"Whom to invite" example:"grace@example.com"`
	Role  models.Role `json:"role" enum:"viewer,developer,admin,owner" doc:"The role they get, at most your own" example:"developer"`
}

// InvitationList is one page of invitations.
type InvitationList struct {
	Items      []Invitation `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string       `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// OwnInvitation is an invitation as the person invited sees it.
type OwnInvitation struct {
	Invitation
	OrgName     string `json:"orgName" doc:"The organization's name" example:"Acme"`
	InviterName string `json:"inviterName" doc:"Who sent it: their name, else their address" example:"Ada"`
}

// OwnInvitationList is one page of a person's invitations.
type OwnInvitationList struct {
	Items      []OwnInvitation `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string          `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// AcceptRequest is the body of POST /invitations/accept.
type AcceptRequest struct {
	Token        string `json:"token,omitempty" maxLength:"128" doc:"The token in the mailed link" example:"sli_q7Xk2AwHqS1fJm3cYb9eRt5uVx8zKd0gLn4pQw6sTyE"`
	InvitationID string `json:"invitationId,omitempty" maxLength:"64" doc:"In the place of the token, for somebody whose address is verified" example:"inv_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type invitationsInput struct {
	InOrganization
	Paging
}

type inviteInput struct {
	InOrganization
	Body InvitationRequest
}

type invitationInput struct {
	InOrganization
	ID string `path:"id" maxLength:"64" doc:"Invitation id" example:"inv_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type acceptInput struct{ Body AcceptRequest }

type inviteOutput struct {
	Location string `header:"Location" doc:"The invitation's path"`
	Body     Invitation
}

type invitationsOutput struct{ Body InvitationList }

type ownInvitationsOutput struct{ Body OwnInvitationList }

func (s *Server) registerInvitations() {
	const path = "/orgs/{orgId}/invitations"
	register(s, route{
		id: "invite-member", method: http.MethodPost, path: path, tag: "Organizations", status: http.StatusCreated, maxBody: 16 << 10,
		summary: "Invite somebody",
		description: "A link is mailed to the address; only the mail has it, and it counts for seven days. " +
			"Inviting an address again sends a new link and ends the old one. An address gets at most five such mails an hour.",
		errors: []models.Code{models.CodeConflict, models.CodeQuotaExceeded, models.CodeQueue},
	}, s.invite)
	register(s, route{
		id: "list-invitations", method: http.MethodGet, path: path, tag: "Organizations", summary: "Open invitations of an organization",
	}, s.invitations)
	register(s, route{
		id: "withdraw-invitation", method: http.MethodDelete, path: path + "/{id}", tag: "Organizations", status: http.StatusNoContent,
		summary: "Withdraw an invitation", description: "Its link is of no use from then on.", errors: []models.Code{models.CodeInvitationNotFound},
	}, s.withdrawInvitation)
	register(s, route{
		id: "list-own-invitations", method: http.MethodGet, path: "/invitations", tag: "Organizations",
		summary: "What you are invited to", description: "Only for a verified address; the mail has the link in any case.",
	}, s.ownInvitations)
	register(s, route{
		id: "accept-invitation", method: http.MethodPost, path: "/invitations/accept", tag: "Organizations", maxBody: 16 << 10,
		summary: "Accept an invitation", example: map[string]any{"token": "sli_q7Xk2AwHqS1fJm3cYb9eRt5uVx8zKd0gLn4pQw6sTyE"},
		description: "By the token in the mail, signed in with the address it was sent to, which counts as verified from then on; " +
			"or by the invitation's id when it is verified already.",
		errors: []models.Code{models.CodeInvitationNotFound},
	}, s.acceptInvitation)
}

func (s *Server) invite(ctx context.Context, in *inviteInput) (*inviteOutput, error) {
	identity := identityOf(ctx)
	email, ok := auth.NormalizeEmail(in.Body.Email)
	if !ok {
		return nil, invalid([]FieldError{{Field: "email", In: "body", Message: "must be an address such as grace@example.com"}})
	}
	org, err := s.opts.Store.Organization(ctx, identity.OrganizationID)
	if err != nil {
		return nil, err
	}
	inviter, err := s.opts.Store.Member(ctx, identity.OrganizationID, identity.UserID)
	if err != nil {
		return nil, err
	}
	if err := s.mayMail(ctx, identity.OrganizationID, email); err != nil {
		return nil, err
	}
	row, secret, err := s.opts.Store.Invite(ctx, identity.OrganizationID, identity.UserID, email, in.Body.Role)
	if err != nil {
		return nil, err
	}
	from := inviter.Name
	if from == "" {
		from = inviter.Email
	}
	err = s.opts.Mail.SendInvitation(ctx, InvitationMail{
		To: row.Email, Organization: org.Name, Inviter: from, Role: row.Role, Link: s.opts.AppURL + invitationPage + "?token=" + url.QueryEscape(secret),
	})
	if err != nil {
		// Nobody has the link: an invitation that looks sent would be waited for.
		if undo := s.opts.Store.Withdraw(context.WithoutCancel(ctx), identity.OrganizationID, identity.UserID, row.ID); undo != nil {
			s.logOf(ctx).WithError(undo).Warn("an invitation that could not be mailed stays")
		}
		return nil, models.Wrap(models.CodeQueue, err, "The mail could not be sent; try again shortly.")
	}
	return &inviteOutput{Location: "/orgs/" + row.OrganizationID + "/invitations/" + row.ID, Body: invitationView(row)}, nil
}

// mayMail counts a mail of an organization to an address; CodeRateLimited.
func (s *Server) mayMail(ctx context.Context, organizationID, email string) error {
	for key, limit := range map[string]ratelimit.Limit{
		"invitations of " + organizationID:                               invitationsSent,
		"invitations to " + hex.EncodeToString(models.HashSecret(email)): invitationsReceived,
	} {
		decision, err := s.limiters.shared.Take(ctx, key, limit)
		if err != nil {
			return err
		}
		if err := decision.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) invitations(ctx context.Context, in *invitationsInput) (*invitationsOutput, error) {
	after, err := decodeCursor(models.PrefixInvitation, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.opts.Store.Invitations(ctx, models.InvitationFilter{OrganizationID: identityOf(ctx).OrganizationID, After: after, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(i models.Invitation) models.Position { return models.PositionAt(i.CreatedAt, i.ID) })
	list := InvitationList{Items: make([]Invitation, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, invitationView(row))
	}
	return &invitationsOutput{list}, nil
}

func (s *Server) withdrawInvitation(ctx context.Context, in *invitationInput) (*emptyOutput, error) {
	identity := identityOf(ctx)
	return &emptyOutput{}, s.opts.Store.Withdraw(ctx, identity.OrganizationID, identity.UserID, in.ID)
}

func (s *Server) ownInvitations(ctx context.Context, in *Paging) (*ownInvitationsOutput, error) {
	after, err := decodeCursor(models.PrefixInvitation, in.Cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.opts.Store.InvitationsOf(ctx, identityOf(ctx).UserID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(i models.OwnInvitation) models.Position { return models.PositionAt(i.CreatedAt, i.ID) })
	list := OwnInvitationList{Items: make([]OwnInvitation, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, OwnInvitation{Invitation: invitationView(row.Invitation), OrgName: row.OrganizationName, InviterName: row.InviterName})
	}
	return &ownInvitationsOutput{list}, nil
}

func (s *Server) acceptInvitation(ctx context.Context, in *acceptInput) (*organizationOutput, error) {
	identity := identityOf(ctx)
	var member models.Membership
	var err error
	switch {
	case (in.Body.Token == "") == (in.Body.InvitationID == ""):
		return nil, invalid([]FieldError{{Field: "token", In: "body", Message: "is needed, or invitationId in its place"}})
	case in.Body.Token != "":
		member, err = s.opts.Store.AcceptInvitation(ctx, identity.UserID, in.Body.Token)
	default:
		member, err = s.opts.Store.AcceptInvitationID(ctx, identity.UserID, in.Body.InvitationID)
	}
	if err != nil {
		return nil, err
	}
	noteOrganization(ctx, member.OrganizationID)
	org, err := s.opts.Store.Organization(ctx, member.OrganizationID)
	return &organizationOutput{organizationView(org, member.Role)}, err
}

func invitationView(row models.Invitation) Invitation {
	return Invitation{
		ID: row.ID, OrgID: row.OrganizationID, Email: row.Email, Role: row.Role, InvitedBy: row.InvitedBy,
		CreatedAt: stamp(row.CreatedAt), ExpiresAt: stamp(row.ExpiresAt),
	}
}

// noMailer is a gateway that sends no mail.
type noMailer struct{}

func (noMailer) SendInvitation(context.Context, InvitationMail) error {
	return models.Errorf(models.CodeQueue, "This gateway sends no mail.")
}
