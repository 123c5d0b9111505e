package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// maxTokenDays bounds how far ahead a token may end: ten years.
const maxTokenDays = 3650

// Token is an API token as clients see it; its secret is not among it.
type Token struct {
	ID         string       `json:"id" doc:"Token id" example:"tok_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	OrgID      string       `json:"orgId" doc:"The organization it acts in" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Name       string       `json:"name" doc:"What it is for" example:"CI of the shop"`
	Prefix     string       `json:"prefix" doc:"How the secret begins" example:"slp_q7Xk2A"`
	Scope      models.Scope `json:"scope" enum:"read,deploy,admin" doc:"What it may be used for, within the role of who made it" example:"deploy"`
	ProjectID  string       `json:"projectId,omitempty" doc:"The one project it is limited to; not there when it reaches all" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	CreatedBy  string       `json:"createdBy" doc:"The user who made it" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	CreatedAt  time.Time    `json:"createdAt" doc:"When it was made" example:"2025-07-22T10:30:00Z"`
	LastUsedAt *time.Time   `json:"lastUsedAt,omitempty" doc:"When it was last used, to the minute; not there when never" example:"2025-07-23T08:12:00Z"`
	ExpiresAt  *time.Time   `json:"expiresAt,omitempty" doc:"When it ends; not there when it does not" example:"2026-07-22T10:30:00Z"`
}

// NewToken is a token right after it was made, the only time its secret is shown.
type NewToken struct {
	Token
	Secret string `json:"token" doc:"The secret, shown this once" example:"slp_q7Xk2AwHqS1fJm3cYb9eRt5uVx8zKd0gLn4pQw6sTyE"`
}

// TokenRequest is the body of POST /tokens.
type TokenRequest struct {
	Name          string       `json:"name" minLength:"1" maxLength:"400" doc:"What it is for, one line of at most 100 characters" example:"CI of the shop"`
	Scope         models.Scope `json:"scope" enum:"read,deploy,admin" doc:"read looks; deploy also deploys, rolls back and makes projects; admin does all that your role may" example:"deploy"`
	ProjectID     string       `json:"projectId,omitempty" maxLength:"64" doc:"Limits it to one project" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ExpiresAt     *time.Time   `json:"expiresAt,omitempty" doc:"When it ends; it does not when neither this nor expiresInDays is there" example:"2026-07-22T10:30:00Z"`
	ExpiresInDays int          `json:"expiresInDays,omitempty" minimum:"1" maximum:"3650" doc:"In how many days it ends, in the place of expiresAt" example:"90"`
}

// TokenList is one page of tokens.
type TokenList struct {
	Items      []Token `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string  `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

type createTokenInput struct{ Body TokenRequest }

type createTokenOutput struct {
	Location string `header:"Location" doc:"The token's path"`
	Body     NewToken
}

type tokenInput struct {
	ID string `path:"id" maxLength:"64" doc:"Token id" example:"tok_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type tokenOutput struct{ Body Token }

type tokensOutput struct{ Body TokenList }

func (s *Server) registerTokens() {
	known := []models.Code{models.CodeTokenNotFound}
	register(s, route{
		id: "create-token", method: http.MethodPost, path: "/tokens", tag: "Tokens", status: http.StatusCreated, maxBody: 16 << 10,
		summary: "Make an API token", example: map[string]any{"name": "CI of the shop", "scope": models.ScopeDeploy, "expiresInDays": 90},
		description: "It acts in your name in this organization, with no more than your role there; a viewer's is for reading. " +
			"A token makes none that is stronger than itself: not of another project, and none that outlives it.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodeQuotaExceeded},
	}, s.createToken)
	register(s, route{
		id: "list-tokens", method: http.MethodGet, path: "/tokens", tag: "Tokens",
		summary: "API tokens", description: "Your own; an admin sees those of everybody in the organization. Revoked ones are gone, expired ones still there.",
	}, s.tokens)
	register(s, route{
		id: "get-token", method: http.MethodGet, path: "/tokens/{id}", tag: "Tokens", summary: "One API token", errors: known,
	}, s.token)
	register(s, route{
		id: "revoke-token", method: http.MethodDelete, path: "/tokens/{id}", tag: "Tokens", status: http.StatusNoContent,
		summary:     "Revoke an API token",
		description: "It is of no use from the next request on. A token may always revoke itself; others only with the scope admin.",
		errors:      known,
	}, s.revokeToken)
}

func (s *Server) createToken(ctx context.Context, in *createTokenInput) (*createTokenOutput, error) {
	identity := identityOf(ctx)
	n := models.NewToken{OrganizationID: identity.OrganizationID, UserID: identity.UserID, Scope: in.Body.Scope, ProjectID: in.Body.ProjectID}
	var err error
	if n.Name, err = displayName("name", in.Body.Name); err != nil {
		return nil, err
	}
	if n.ExpiresAt, err = tokenEnd(in.Body); err != nil {
		return nil, err
	}
	if err := s.notStronger(ctx, identity, &n); err != nil {
		return nil, err
	}
	if n.ProjectID != "" {
		if _, err := s.projectOf(ctx, n.ProjectID); err != nil {
			return nil, err
		}
	}
	row, secret, err := s.opts.Store.CreateToken(ctx, n)
	if err != nil {
		return nil, err
	}
	return &createTokenOutput{Location: "/tokens/" + row.ID, Body: NewToken{Token: tokenView(row), Secret: secret}}, nil
}

// tokenEnd is when a new token ends; nil is never.
func tokenEnd(body TokenRequest) (*time.Time, error) {
	switch {
	case body.ExpiresAt != nil && body.ExpiresInDays != 0:
		return nil, invalid([]FieldError{{Field: "expiresInDays", In: "body", Message: "cannot be there together with expiresAt"}})
	case body.ExpiresInDays != 0:
		end := time.Now().UTC().AddDate(0, 0, body.ExpiresInDays)
		return &end, nil
	case body.ExpiresAt == nil:
		return nil, nil
	}
	end := body.ExpiresAt.UTC()
	if !end.After(time.Now()) || end.After(time.Now().AddDate(0, 0, maxTokenDays)) {
		return nil, invalid([]FieldError{{Field: "expiresAt", In: "body", Message: "must be in the future, within ten years"}})
	}
	return &end, nil
}

// notStronger refuses a new token that could do more than whoever makes it, and
// gives it the bounds of the token that makes it where it names none.
func (s *Server) notStronger(ctx context.Context, maker models.Identity, n *models.NewToken) error {
	if err := models.CheckTokenScope(maker.Role, n.Scope); err != nil {
		return err
	}
	if !maker.Scope.Includes(n.Scope) {
		return models.Errorf(models.CodeForbidden, "A token with the scope %s makes none with the scope %s.", maker.Scope, n.Scope)
	}
	if maker.TokenID == "" {
		return nil
	}
	if maker.ProjectID != "" {
		if n.ProjectID != "" && n.ProjectID != maker.ProjectID {
			return models.Errorf(models.CodeProjectNotFound, "There is no project %q in this organization.", shorten(n.ProjectID))
		}
		n.ProjectID = maker.ProjectID
	}
	own, err := s.opts.Store.Token(ctx, maker.TokenID, models.TokenFilter{OrganizationID: maker.OrganizationID})
	if err != nil {
		return err
	}
	if own.ExpiresAt != nil && (n.ExpiresAt == nil || n.ExpiresAt.After(*own.ExpiresAt)) {
		n.ExpiresAt = own.ExpiresAt
	}
	return nil
}

func (s *Server) tokens(ctx context.Context, in *Paging) (*tokensOutput, error) {
	after, err := decodeCursor(models.PrefixToken, in.Cursor)
	if err != nil {
		return nil, err
	}
	filter := visibleTokens(identityOf(ctx))
	filter.After, filter.Limit = after, in.Limit+1
	rows, err := s.opts.Store.Tokens(ctx, filter)
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(t models.Token) models.Position { return models.PositionAt(t.CreatedAt, t.ID) })
	list := TokenList{Items: make([]Token, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, tokenView(row))
	}
	return &tokensOutput{list}, nil
}

// visibleTokens are those an identity sees: their own, an admin everybody's, a
// token of one project those of that project.
func visibleTokens(identity models.Identity) models.TokenFilter {
	filter := models.TokenFilter{OrganizationID: identity.OrganizationID, ProjectID: identity.ProjectID}
	if !identity.Role.Includes(models.RoleAdmin) {
		filter.UserID = identity.UserID
	}
	return filter
}

func (s *Server) token(ctx context.Context, in *tokenInput) (*tokenOutput, error) {
	row, err := s.tokenOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &tokenOutput{tokenView(row)}, nil
}

// tokenOf reads a token that the caller sees.
func (s *Server) tokenOf(ctx context.Context, id string) (models.Token, error) {
	if !models.ValidID(models.PrefixToken, id) {
		return models.Token{}, models.Errorf(models.CodeTokenNotFound, "There is no token %q.", shorten(id))
	}
	return s.opts.Store.Token(ctx, id, visibleTokens(identityOf(ctx)))
}

func (s *Server) revokeToken(ctx context.Context, in *tokenInput) (*emptyOutput, error) {
	row, err := s.tokenOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if identity := identityOf(ctx); row.ID != identity.TokenID && !identity.Scope.Includes(models.ScopeAdmin) {
		return nil, models.Errorf(models.CodeForbidden, "Revoking another token needs one with the scope %s; this one has %s.", models.ScopeAdmin, identity.Scope).
			WithDetails(map[string]any{"needs": models.ScopeAdmin, "has": identity.Scope})
	}
	return &emptyOutput{}, s.opts.Store.RevokeToken(ctx, row.ID, visibleTokens(identityOf(ctx)))
}

func tokenView(row models.Token) Token {
	view := Token{
		ID: row.ID, OrgID: row.OrganizationID, Name: row.Name, Prefix: row.Prefix, Scope: row.Scope, CreatedBy: row.UserID,
		CreatedAt: stamp(row.CreatedAt), LastUsedAt: stampOf(row.LastUsedAt), ExpiresAt: stampOf(row.ExpiresAt),
	}
	if row.ProjectID != nil {
		view.ProjectID = *row.ProjectID
	}
	return view
}

// stampOf is stamp for a time that may not be there.
func stampOf(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := stamp(*t)
	return &at
}

// displayName cleans a name for people, or refuses the field it came in.
func displayName(field, name string) (string, error) {
	clean, err := models.CleanDisplayName(name)
	if err != nil {
		return "", invalid([]FieldError{{Field: field, In: "body", Message: models.MessageOf(err)}})
	}
	return clean, nil
}
