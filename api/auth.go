package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/models"
)

// The names of the security schemes in the OpenAPI document.
const (
	bearer = "bearer"
	cookie = "session"
)

// organizationField is where the access log finds who called.
const organizationField = "organization"

// organizationHeader names the organization a signed-in person acts in. Without
// it that is the one they acted in last.
const organizationHeader = "X-Slipway-Organization"

// organizationParam is the organization in a path; it stands above the header.
const organizationParam = "orgId"

// maxTokenLength bounds what is hashed and looked up; ours have 47 characters.
const maxTokenLength = 512

// Sessions knows people who are signed in. auth.Auth does.
type Sessions interface {
	// Session gives the identity that the request's session cookie speaks for, with
	// the organization last acted in ("" for none yet) and no role. found is false
	// when there is no cookie, or none that is valid. Other errors are the platform's.
	Session(r *http.Request) (identity models.Identity, found bool, err error)
}

// noSessions is a gateway where nobody signs in.
type noSessions struct{}

func (noSessions) Session(*http.Request) (models.Identity, bool, error) {
	return models.Identity{}, false, nil
}

// authenticate lets a request pass only with an identity that may call the
// operation. It runs before the body is read.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	rule := permissions[ctx.Operation().OperationID]
	if rule.public {
		next(ctx)
		return
	}
	c := humagin.Unwrap(ctx)
	lookup, cancel := context.WithTimeout(ctx.Context(), s.opts.Limits.AnswerTimeout)
	identity, err := s.identify(lookup, c, rule)
	cancel()
	if err == nil {
		noteIdentity(ctx.Context(), identity)
		err = rule.check(identity)
	}
	if err != nil {
		s.writeError(c, err)
		return
	}
	c.Set(organizationField, identity.OrganizationID)
	next(huma.WithValue(ctx, identityKey, identity))
}

// identify finds who calls and the organization they act in.
func (s *Server) identify(ctx context.Context, c *gin.Context, rule access) (models.Identity, error) {
	header := c.GetHeader("Authorization")
	if header != "" {
		secret, ok := bearerToken(header)
		if !ok {
			return models.Identity{}, models.Errorf(models.CodeUnauthorized, "The Authorization header must be `Bearer <token>`.")
		}
		identity, err := s.opts.Store.Authenticate(ctx, secret)
		if models.CodeOf(err) == models.CodeUnauthorized {
			c.Header("WWW-Authenticate", `Bearer realm="slipway", error="invalid_token"`)
		}
		if err == nil && !rule.account {
			err = sameOrganization(c, identity)
		}
		return identity, err
	}
	identity, found, err := s.opts.Sessions.Session(c.Request.WithContext(ctx))
	if err != nil {
		return models.Identity{}, err
	}
	if !found {
		return models.Identity{}, models.Errorf(models.CodeUnauthorized, "This route needs a token or a session: send `Authorization: Bearer <token>`, or sign in.")
	}
	noteIdentity(ctx, identity)
	if err := s.origins.Check(c.Request); err != nil {
		return models.Identity{}, err
	}
	if rule.account {
		identity.OrganizationID = ""
		return identity, nil
	}
	return s.member(ctx, c, identity, rule)
}

// member gives a signed-in person the role they have in the organization the
// request names.
func (s *Server) member(ctx context.Context, c *gin.Context, identity models.Identity, rule access) (models.Identity, error) {
	wanted := namedOrganization(c)
	if wanted != "" && !models.ValidID(models.PrefixOrganization, wanted) {
		return models.Identity{}, models.NoOrganization(shorten(wanted))
	}
	membership, err := s.opts.Store.MembershipOf(ctx, identity.UserID, wanted, identity.OrganizationID)
	if rule.anybody && wanted == "" && models.CodeOf(err) == models.CodeOrganizationNotFound {
		identity.OrganizationID, identity.Scope = "", models.ScopeAdmin
		return identity, nil
	}
	if err != nil {
		return models.Identity{}, err
	}
	if wanted != "" && membership.OrganizationID != identity.OrganizationID && s.ownPage(c.Request) {
		// Requests that name none go there from now on.
		if err := s.opts.Store.ActIn(ctx, identity.SessionID, membership.OrganizationID); err != nil {
			return models.Identity{}, err
		}
	}
	identity.OrganizationID, identity.Role, identity.Scope = membership.OrganizationID, membership.Role, models.ScopeAdmin
	return identity, nil
}

// ownPage is false for what another site's page made a browser ask, such as a link
// that somebody followed: it is answered, but changes nothing.
func (s *Server) ownPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return s.origins.Trusts(r.Header.Get("Origin"))
	}
	return true
}

func namedOrganization(c *gin.Context) string {
	if id := c.Param(organizationParam); id != "" {
		return id
	}
	return c.GetHeader(organizationHeader)
}

// sameOrganization refuses a token where another organization is named. Which
// organizations there are is nobody's business.
func sameOrganization(c *gin.Context, identity models.Identity) error {
	if wanted := namedOrganization(c); wanted != "" && wanted != identity.OrganizationID {
		return models.NoOrganization(shorten(wanted))
	}
	return nil
}

// check says whether the identity may do what the rule is for.
func (rule access) check(identity models.Identity) error {
	switch {
	case rule.account && identity.SessionID == "":
		return models.Errorf(models.CodeForbidden, "This is for a person who is signed in; a token cannot do it.")
	case rule.account, rule.anybody:
		return nil
	case !identity.Role.Includes(rule.role):
		return models.Errorf(models.CodeForbidden, "This needs the role %s in the organization; you have %s.", rule.role, identity.Role).
			WithDetails(map[string]any{"needs": rule.role, "has": identity.Role})
	case !identity.Scope.Includes(rule.scope):
		return models.Errorf(models.CodeForbidden, "This needs a token with the scope %s; this one has %s.", rule.scope, identity.Scope).
			WithDetails(map[string]any{"needs": rule.scope, "has": identity.Scope})
	case identity.ProjectID != "" && !rule.project:
		return models.Errorf(models.CodeForbidden, "This token is limited to one project; this needs one of the whole organization.")
	}
	return nil
}

// bearerToken takes the token out of an Authorization header (RFC 6750 §2.1).
func bearerToken(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxTokenLength {
		return "", false
	}
	return token, true
}

// identityOf is who a request to a route with security acts as.
func identityOf(ctx context.Context) models.Identity {
	identity, _ := ctx.Value(identityKey).(models.Identity)
	return identity
}

// mustActAs refuses a body that names another organization or user than the
// identity's.
func mustActAs(identity models.Identity, orgID, userID string) error {
	var fields []FieldError
	if orgID != identity.OrganizationID {
		fields = append(fields, FieldError{Field: "orgId", In: "body", Message: "is not the organization that you act in"})
	}
	if userID != identity.UserID {
		fields = append(fields, FieldError{Field: "userId", In: "body", Message: "is not the user that you act as"})
	}
	if len(fields) == 0 {
		return nil
	}
	return models.Errorf(models.CodeForbidden, "The token or session does not belong to the orgId and userId in the body.").WithDetails(fields)
}

// checkPermissions holds the table against the operations there are.
func (s *Server) checkPermissions() error {
	rows := map[string]bool{}
	for id := range permissions {
		rows[id] = true
	}
	var wrong []string
	for _, item := range s.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch, item.Head, item.Options} {
			if op == nil {
				continue
			}
			if !rows[op.OperationID] {
				wrong = append(wrong, op.OperationID)
			}
			delete(rows, op.OperationID)
		}
	}
	for id := range rows {
		wrong = append(wrong, id)
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return models.Errorf(models.CodeInternal, "api: operations without a row of permissions, or rows without an operation: %s", strings.Join(wrong, ", "))
}
