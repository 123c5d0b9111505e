package api

import (
	"context"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/slipwayhq/slipway/models"
)

// bearer is the security scheme's name in the OpenAPI document.
const bearer = "bearer"

// organizationField is where the access log finds who called.
const organizationField = "organization"

// maxTokenLength bounds what is hashed and looked up; ours have 47 characters.
const maxTokenLength = 512

// authenticate lets a request to a route that asks for it pass only with a valid
// token. It runs before the body is read. Routes without security are public.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	if len(ctx.Operation().Security) == 0 {
		next(ctx)
		return
	}
	c := humagin.Unwrap(ctx)
	secret, ok := bearerToken(ctx.Header("Authorization"))
	if !ok {
		s.writeError(c, models.Errorf(models.CodeUnauthorized, "This route needs a token: send `Authorization: Bearer <token>`."))
		return
	}
	lookup, cancel := context.WithTimeout(ctx.Context(), s.opts.Limits.AnswerTimeout)
	identity, err := s.opts.Store.Authenticate(lookup, secret)
	cancel()
	if err != nil {
		if models.CodeOf(err) == models.CodeUnauthorized {
			c.Header("WWW-Authenticate", `Bearer realm="slipway", error="invalid_token"`)
		}
		s.writeError(c, err)
		return
	}
	c.Set(organizationField, identity.OrganizationID)
	next(huma.WithValue(ctx, identityKey, identity))
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

// mustActAs refuses a body that names another organization or user than the token's.
func mustActAs(identity models.Identity, orgID, userID string) error {
	var fields []FieldError
	if orgID != identity.OrganizationID {
		fields = append(fields, FieldError{Field: "orgId", In: "body", Message: "is not the organization of this token"})
	}
	if userID != identity.UserID {
		fields = append(fields, FieldError{Field: "userId", In: "body", Message: "is not the user of this token"})
	}
	if len(fields) == 0 {
		return nil
	}
	return models.Errorf(models.CodeForbidden, "The token does not belong to the orgId and userId in the body.").WithDetails(fields)
}
