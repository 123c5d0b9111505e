package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/webhook"
)

// Webhook is a webhook as clients see it; its secrets are not among it.
type Webhook struct {
	ID             string               `json:"id" doc:"Webhook id" example:"whk_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ProjectID      string               `json:"projectId,omitempty" doc:"The one project it hears of; not there when of all" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	URL            string               `json:"url" doc:"Where it sends, without what gives access: the query, and of slack everything but the host" example:"https://example.com/hooks/slipway"`
	Format         models.WebhookFormat `json:"format" enum:"standard,slack,github" doc:"How it says an event" example:"standard"`
	Events         []string             `json:"events" nullable:"false" doc:"Which events it hears of" example:"[\"deployment.*\",\"domain.failed\"]"`
	Enabled        bool                 `json:"enabled" doc:"Whether it sends" example:"true"`
	DisabledReason string               `json:"disabledReason,omitempty" doc:"Why it was disabled by itself" example:"The receiver answered 410 Gone."`
	FailingSince   *time.Time           `json:"failingSince,omitempty" doc:"Since when no delivery has arrived; it is disabled when one fails for good and none has arrived for five days" example:"2025-07-22T10:30:00Z"`
	CreatedBy      string               `json:"createdBy" doc:"The user who made it" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	CreatedAt      time.Time            `json:"createdAt" doc:"When it was made" example:"2025-07-22T10:30:00Z"`
	UpdatedAt      time.Time            `json:"updatedAt" doc:"When it last changed" example:"2025-07-22T10:30:00Z"`
}

// NewWebhook is a webhook right after it was made.
type NewWebhook struct {
	Webhook
	Secret string `json:"secret,omitempty" doc:"What messages are signed with, shown this once; of the format standard" example:"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD2N5oO2LrLkU="`
}

// WebhookSecret is a secret right after it was made.
type WebhookSecret struct {
	Secret             string    `json:"secret" doc:"The new secret, shown this once" example:"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD2N5oO2LrLkU="`
	PreviousValidUntil time.Time `json:"previousValidUntil" doc:"Until when messages are signed with the one before too" example:"2025-07-23T10:30:00Z"`
}

// WebhookRequest is the body of POST /webhooks.
type WebhookRequest struct {
	URL       string               `json:"url" minLength:"1" maxLength:"2048" doc:"Where to send: https, on the public internet. With github it has {sha} where the commit goes" example:"https://example.com/hooks/slipway"`
	Events    []string             `json:"events,omitempty" maxItems:"50" doc:"Kinds such as deployment.failed, groups such as deployment.*, or *; all when left out" example:"[\"deployment.*\",\"domain.failed\"]"`
	Format    models.WebhookFormat `json:"format,omitempty" enum:"standard,slack,github" default:"standard" doc:"standard is signed JSON (Standard Webhooks), slack a message for an incoming webhook, github a commit status" example:"standard"`
	ProjectID string               `json:"projectId,omitempty" maxLength:"64" doc:"Only events of that project" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Token     string               `json:"token,omitempty" maxLength:"1024" pattern:"^[!-~]*$" patternDescription:"printable ASCII" doc:"With github, what authorizes commit statuses; sent as Authorization: Bearer" example:"github_pat_11ABCDEFG"`
}

// WebhookChange is the body of PATCH /webhooks/{id}; what is left out stays.
type WebhookChange struct {
	URL     string   `json:"url,omitempty" minLength:"1" maxLength:"2048" doc:"Where to send" example:"https://example.com/hooks/slipway"`
	Events  []string `json:"events,omitempty" maxItems:"50" doc:"Which events it hears of" example:"[\"deployment.*\"]"`
	Enabled *bool    `json:"enabled,omitempty" doc:"false stops it; true starts it again, also after it was disabled by itself" example:"true"`
	Token   *string  `json:"token,omitempty" maxLength:"1024" pattern:"^[!-~]*$" patternDescription:"printable ASCII" doc:"With github, what authorizes commit statuses; empty for none" example:"github_pat_11ABCDEFG"`
}

// WebhookList is one page of webhooks.
type WebhookList struct {
	Items      []Webhook `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string    `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

type createWebhookInput struct{ Body WebhookRequest }

type createWebhookOutput struct {
	Location string `header:"Location" doc:"The webhook's path"`
	Body     NewWebhook
}

type webhookInput struct {
	ID string `path:"id" maxLength:"64" doc:"Webhook id" example:"whk_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type getWebhookInput struct {
	ID string `path:"id" maxLength:"64" doc:"Webhook id" example:"whk_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	IfNoneMatch
}

type changeWebhookInput struct {
	ID string `path:"id" maxLength:"64" doc:"Webhook id" example:"whk_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	IfMatch
	Body WebhookChange
}

type webhooksInput struct {
	Paging
	ProjectID string `query:"projectId" maxLength:"64" doc:"Only those of this project alone"`
}

type webhookOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"Names this state of the webhook; send it as If-Match to change just this one"`
	Body   Webhook
}

type webhooksOutput struct{ Body WebhookList }

type webhookSecretOutput struct{ Body WebhookSecret }

func (s *Server) registerWebhooks() {
	const path = "/webhooks"
	known := []models.Code{models.CodeWebhookNotFound}
	register(s, route{
		id: "create-webhook", method: http.MethodPost, path: path, tag: "Webhooks", status: http.StatusCreated, maxBody: 64 << 10,
		summary: "Be told of events", example: map[string]any{"url": "https://example.com/hooks/slipway", "events": []string{"deployment.*", "domain.failed"}},
		description: "Each event is sent to the address as a POST, and again for three days until a status of 200 to 299 answers it. " +
			"Messages of the format standard are signed with the secret in the answer.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodeConflict},
	}, s.createWebhook)
	register(s, route{
		id: "list-webhooks", method: http.MethodGet, path: path, tag: "Webhooks",
		summary: "Webhooks of the organization", errors: []models.Code{models.CodeProjectNotFound},
	}, s.webhooks)
	register(s, route{
		id: "get-webhook", method: http.MethodGet, path: path + "/{id}", tag: "Webhooks", summary: "One webhook", errors: known, responses: notModified(),
	}, s.webhook)
	register(s, route{
		id: "change-webhook", method: http.MethodPatch, path: path + "/{id}", tag: "Webhooks", maxBody: 64 << 10,
		summary: "Change a webhook", example: map[string]any{"enabled": true, "events": []string{"deployment.*"}}, description: "What is left out stays as it is.",
		errors: []models.Code{models.CodeWebhookNotFound, models.CodePreconditionFailed},
	}, s.changeWebhook)
	register(s, route{
		id: "delete-webhook", method: http.MethodDelete, path: path + "/{id}", tag: "Webhooks", status: http.StatusNoContent,
		summary: "Remove a webhook", description: "What is on its way is not sent any more, and its deliveries are forgotten.", errors: known,
	}, s.deleteWebhook)
	register(s, route{
		id: "rotate-webhook-secret", method: http.MethodPost, path: path + "/{id}/rotate-secret", tag: "Webhooks",
		summary:     "Replace a webhook's secret",
		description: "For a day messages are signed with both, so that receivers can change over. One that the installation's key does not open any more ends at once.", errors: append(known, models.CodeConflict),
	}, s.rotateWebhookSecret)
	s.registerDeliveries()
}

func (s *Server) createWebhook(ctx context.Context, in *createWebhookInput) (*createWebhookOutput, error) {
	identity := identityOf(ctx)
	row := models.Webhook{
		ID: models.NewID(models.PrefixWebhook), OrganizationID: identity.OrganizationID, Format: in.Body.Format, CreatedBy: identity.UserID,
	}
	if row.Format == "" {
		row.Format = models.WebhookStandard
	}
	if in.Body.ProjectID != "" {
		project, err := s.projectOf(ctx, in.Body.ProjectID)
		if err != nil {
			return nil, err
		}
		row.ProjectID = &project.ID
	}
	credentials := webhook.Credentials{Token: in.Body.Token}
	if row.Format == models.WebhookStandard {
		credentials.Secret = webhook.NewSecret()
	}
	events := in.Body.Events
	if events == nil {
		events = []string{"*"}
	}
	err := s.fillWebhook(&row, &credentials, true, WebhookChange{URL: in.Body.URL, Events: events, Token: &in.Body.Token})
	if err != nil {
		return nil, err
	}
	row, err = s.opts.Store.CreateWebhook(ctx, row)
	if err != nil {
		return nil, err
	}
	return &createWebhookOutput{Location: "/webhooks/" + row.ID, Body: NewWebhook{Webhook: webhookView(row), Secret: credentials.Secret}}, nil
}

// fillWebhook checks a change and puts it into a row and its credentials. Those
// that are not opened stay as they are, or are replaced whole.
func (s *Server) fillWebhook(row *models.Webhook, c *webhook.Credentials, opened bool, change WebhookChange) error {
	var wrong []FieldError
	bad := func(field, message string) {
		wrong = append(wrong, FieldError{Field: field, In: "body", Message: message})
	}
	replaces := change.URL != "" || change.Token != nil
	if replaces && !opened {
		if change.URL == "" && c.URL == "" {
			bad("url", "must be given too: "+unopenedHint)
		}
		if change.Token == nil && row.Format == models.WebhookGitHub {
			bad("token", "must be given too, \"\" for none: "+unopenedHint)
		}
		if row.Format == models.WebhookStandard {
			c.Secret = webhook.NewSecret() // nobody has it; rotating shows one
		}
	}
	if change.URL != "" {
		address, problem := s.opts.WebhookRules.Check(row.Format, change.URL)
		if problem != "" {
			bad("url", problem)
		}
		if c.Token != "" && change.Token == nil && elsewhere(c.URL, address) {
			// Who may change the address may not therefore learn the token.
			bad("token", "must be given again with a url that leads to another host, \"\" for none")
		}
		c.URL, row.Shown = address, webhook.Shown(row.Format, address)
	}
	if change.Events != nil {
		row.Events = slices.Compact(slices.Sorted(slices.Values(change.Events)))
		if len(row.Events) == 0 {
			bad("events", "must not be empty; \"*\" is all")
		}
		for _, pattern := range row.Events {
			if !models.ValidEventPattern(pattern) {
				bad("events", "has "+shorten(quoted(pattern))+", which is no event; \"*\", a group such as \"deployment.*\" or a kind such as \"deployment.failed\" is")
			}
		}
	}
	if change.Token != nil {
		if *change.Token != "" && row.Format != models.WebhookGitHub {
			bad("token", "goes with the format github only")
		}
		c.Token = *change.Token
	}
	if change.Enabled != nil {
		if *change.Enabled && !row.Enabled {
			row.DisabledReason, row.FailingSince = "", nil
		}
		row.Enabled = *change.Enabled
	}
	if len(wrong) > 0 {
		return invalid(wrong)
	}
	if !replaces {
		return nil
	}
	var err error
	row.Sealed, err = s.opts.WebhookVault.Seal(row.ID, *c)
	return err
}

// unopenedHint says why a part of a webhook's credentials is not enough.
const unopenedHint = "what was sealed before does not open with the installation's key of now"

// elsewhere says whether two addresses lead to different servers.
func elsewhere(a, b string) bool {
	first, err := url.Parse(a)
	if err != nil {
		return true
	}
	second, err := url.Parse(b)
	return err != nil || first.Scheme != second.Scheme || first.Host != second.Host
}

func (s *Server) changeWebhook(ctx context.Context, in *changeWebhookInput) (*webhookOutput, error) {
	versions, err := in.versions()
	if err != nil {
		return nil, err
	}
	row, err := s.openedWebhook(ctx, in.ID, func(row *models.Webhook, c *webhook.Credentials, opened bool) error {
		if versions != nil && !slices.Contains(versions, row.UpdatedAt.UnixMicro()) {
			return models.Errorf(models.CodePreconditionFailed, "The webhook has changed since you read it. Read it again and repeat this if it still makes sense.")
		}
		return s.fillWebhook(row, c, opened, in.Body)
	})
	return &webhookOutput{Status: http.StatusOK, ETag: webhookTag(row), Body: webhookView(row)}, err
}

// webhookTag is the entity tag of a webhook. Its version is when it was changed;
// that it fails is shown, but nobody's change.
func webhookTag(row models.Webhook) string {
	if row.FailingSince != nil {
		return entityTag(row.UpdatedAt.UnixMicro(), strconv.FormatInt(row.FailingSince.UnixMicro(), 10))
	}
	return entityTag(row.UpdatedAt.UnixMicro())
}

// openedWebhook changes a webhook of the caller's organization together with its
// credentials. Of those that another key sealed there is what the row shows of them.
func (s *Server) openedWebhook(ctx context.Context, id string, change func(row *models.Webhook, c *webhook.Credentials, opened bool) error) (models.Webhook, error) {
	if err := checkWebhookID(id); err != nil {
		return models.Webhook{}, err
	}
	return s.opts.Store.ChangeWebhook(ctx, identityOf(ctx).OrganizationID, id, func(row *models.Webhook) error {
		credentials, err := s.opts.WebhookVault.Open(*row)
		if err != nil {
			s.logOf(ctx).WithError(err).WithField("webhook", row.ID).Warn("the credentials of a webhook do not open")
			credentials = webhook.Recall(*row)
		}
		return change(row, &credentials, err == nil)
	})
}

func (s *Server) rotateWebhookSecret(ctx context.Context, in *webhookInput) (*webhookSecretOutput, error) {
	var answer WebhookSecret
	_, err := s.openedWebhook(ctx, in.ID, func(row *models.Webhook, c *webhook.Credentials, _ bool) error {
		if row.Format != models.WebhookStandard {
			return models.Errorf(models.CodeConflict, "Webhooks of the format %s are not signed, so there is no secret to replace.", row.Format)
		}
		if c.URL == "" {
			return models.Errorf(models.CodeConflict, "The webhook's address must be given again, with PATCH, before its secret is replaced: %s.", unopenedHint)
		}
		c.Rotate(time.Now().UTC())
		answer = WebhookSecret{Secret: c.Secret, PreviousValidUntil: stamp(c.PreviousUntil)}
		var err error
		row.Sealed, err = s.opts.WebhookVault.Seal(row.ID, *c)
		return err
	})
	return &webhookSecretOutput{answer}, err
}

func (s *Server) webhooks(ctx context.Context, in *webhooksInput) (*webhooksOutput, error) {
	after, err := decodeCursor(models.PrefixWebhook, in.Cursor)
	if err != nil {
		return nil, err
	}
	if in.ProjectID != "" {
		if _, err := s.projectOf(ctx, in.ProjectID); err != nil {
			return nil, err
		}
	}
	rows, err := s.opts.Store.Webhooks(ctx, models.WebhookFilter{
		OrganizationID: identityOf(ctx).OrganizationID, ProjectID: in.ProjectID, After: after, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(w models.Webhook) models.Position { return models.PositionAt(w.CreatedAt, w.ID) })
	list := WebhookList{Items: make([]Webhook, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, webhookView(row))
	}
	return &webhooksOutput{list}, nil
}

func (s *Server) webhook(ctx context.Context, in *getWebhookInput) (*webhookOutput, error) {
	row, err := s.webhookOf(ctx, in.ID)
	return &webhookOutput{Status: in.status(webhookTag(row)), ETag: webhookTag(row), Body: webhookView(row)}, err
}

func (s *Server) deleteWebhook(ctx context.Context, in *webhookInput) (*emptyOutput, error) {
	if err := checkWebhookID(in.ID); err != nil {
		return nil, err
	}
	return &emptyOutput{}, s.opts.Store.DeleteWebhook(ctx, identityOf(ctx).OrganizationID, in.ID)
}

// webhookOf reads a webhook of the caller's organization.
func (s *Server) webhookOf(ctx context.Context, id string) (models.Webhook, error) {
	if err := checkWebhookID(id); err != nil {
		return models.Webhook{}, err
	}
	return s.opts.Store.Webhook(ctx, identityOf(ctx).OrganizationID, id)
}

func checkWebhookID(id string) error {
	if models.ValidID(models.PrefixWebhook, id) {
		return nil
	}
	return models.Errorf(models.CodeWebhookNotFound, "There is no webhook %q in this organization.", shorten(id))
}

func quoted(text string) string { return "\"" + strings.ToValidUTF8(text, "") + "\"" }

func webhookView(row models.Webhook) Webhook {
	view := Webhook{
		ID: row.ID, URL: row.Shown, Format: row.Format, Events: row.Events, Enabled: row.Enabled, DisabledReason: row.DisabledReason,
		FailingSince: stampOf(row.FailingSince), CreatedBy: row.CreatedBy, CreatedAt: stamp(row.CreatedAt), UpdatedAt: stamp(row.UpdatedAt),
	}
	if row.ProjectID != nil {
		view.ProjectID = *row.ProjectID
	}
	return view
}
