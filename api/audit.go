package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/slipwayhq/slipway/models"
)

// AuditEntry is an entry of the audit log as clients see it.
type AuditEntry struct {
	ID        string              `json:"id" doc:"Entry id" example:"aud_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	OrgID     string              `json:"orgId,omitempty" doc:"The organization; not there for what is about a person's account"`
	UserID    string              `json:"userId" doc:"Who did it, or whose account it was tried on"`
	TokenID   string              `json:"tokenId,omitempty" doc:"The token it was done with"`
	SessionID string              `json:"sessionId,omitempty" doc:"The session it was done in, when it was no token" example:"ses_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Action    string              `json:"action" doc:"The operation, by its id in this document" example:"delete-project"`
	Outcome   models.AuditOutcome `json:"outcome" enum:"succeeded,refused" doc:"refused: they may not do it (403), or the password was wrong"`
	Code      models.Code         `json:"code,omitempty" doc:"Why it was refused" example:"FORBIDDEN"`
	Targets   map[string]string   `json:"targets" doc:"What it was done to: the ids of the path, what was created, what came of it"`
	Address   string              `json:"address,omitempty" doc:"From where" example:"192.0.2.7"`
	UserAgent string              `json:"userAgent,omitempty" doc:"What the client said it is, bounded and with control characters escaped" example:"slipway/1.0.0"`
	RequestID string              `json:"requestId,omitempty" doc:"The request, as in the gateway's log" example:"4f1c9a7be0d24c5f8a31b6e2"`
	CreatedAt time.Time           `json:"createdAt" doc:"When"`
}

// AuditList is one page of the audit log.
type AuditList struct {
	Items      []AuditEntry `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string       `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

// AuditQuery narrows the audit log.
type AuditQuery struct {
	OrgID  string `path:"orgId" maxLength:"64" doc:"Organization id" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Action string `query:"action" maxLength:"64" doc:"Only this operation" example:"delete-project"`
	UserID string `query:"userId" maxLength:"64" doc:"Only what this user did"`
	TimeRange
}

// TimeRange narrows a list by when its items were made.
type TimeRange struct {
	CreatedAfter  time.Time `query:"createdAfter" doc:"Only what was made at this time or later, in RFC 3339" example:"2025-07-01T00:00:00Z"`
	CreatedBefore time.Time `query:"createdBefore" doc:"Only what was made before this time, in RFC 3339" example:"2025-08-01T00:00:00Z"`
}

type listAuditInput struct {
	AuditQuery
	Paging
}

// OwnAuditQuery narrows the audit log of one's account.
type OwnAuditQuery struct {
	Action string `query:"action" maxLength:"64" doc:"Only this operation" example:"sign-in-with-email"`
	TimeRange
}

type listOwnAuditInput struct {
	OwnAuditQuery
	Paging
}

type auditOutput struct{ Body AuditList }

func (s *Server) registerAudit() {
	register(s, route{
		id: "list-audit", method: http.MethodGet, path: "/orgs/{orgId}/audit", tag: "Organizations",
		summary: "Who did what, from where",
		description: "Every change that was made through the API, and every one that was refused. Entries are written once and stay. " +
			"What is done in Temporal's own page or with its tools is in Temporal's history, not here.",
	}, s.auditLog)
	register(s, route{
		id: "export-audit", method: http.MethodGet, path: "/orgs/{orgId}/audit/export", tag: "Organizations", endless: true,
		summary: "The audit log as JSON lines", description: "Oldest first, one entry a line, without an end to its length.",
		responses: auditLines(),
	}, s.exportAudit)
	register(s, route{
		id: "list-own-audit", method: http.MethodGet, path: "/me/audit", tag: "Organizations",
		summary: "What was done about your account, from where",
		description: "Signing up, in and out, passwords, sessions, and what else you did about yourself. Attempts with a wrong password are there too, at most one a minute. " +
			"Nobody else sees these entries. What you did in an organization is in its log.",
	}, s.ownAuditLog)
	register(s, route{
		id: "export-own-audit", method: http.MethodGet, path: "/me/audit/export", tag: "Organizations", endless: true,
		summary: "The audit log of your account as JSON lines", description: "Oldest first, one entry a line, without an end to its length.",
		responses: auditLines(),
	}, s.exportOwnAudit)
}

func auditLines() map[string]*huma.Response {
	return map[string]*huma.Response{"200": {Description: "The entries", Content: map[string]*huma.MediaType{
		"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString, Description: "One AuditEntry as JSON a line"}},
	}}}
}

func (q AuditQuery) filter() models.AuditFilter {
	return models.AuditFilter{OrganizationID: q.OrgID, Action: q.Action, UserID: q.UserID, Since: q.CreatedAfter, Before: q.CreatedBefore}
}

func (q OwnAuditQuery) filter(userID string) models.AuditFilter {
	return models.AuditFilter{UserID: userID, Action: q.Action, Since: q.CreatedAfter, Before: q.CreatedBefore}
}

func (s *Server) auditLog(ctx context.Context, in *listAuditInput) (*auditOutput, error) {
	return s.auditPage(ctx, in.filter(), in.Paging)
}

func (s *Server) ownAuditLog(ctx context.Context, in *listOwnAuditInput) (*auditOutput, error) {
	return s.auditPage(ctx, in.filter(identityOf(ctx).UserID), in.Paging)
}

func (s *Server) auditPage(ctx context.Context, filter models.AuditFilter, in Paging) (*auditOutput, error) {
	after, err := decodeCursor(models.PrefixAudit, in.Cursor)
	if err != nil {
		return nil, err
	}
	filter.After, filter.Limit = after, in.Limit+1
	rows, err := s.opts.Store.AuditLog(ctx, filter)
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(e models.AuditEntry) models.Position { return models.PositionAt(e.CreatedAt, e.ID) })
	list := AuditList{Items: make([]AuditEntry, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, auditView(row))
	}
	return &auditOutput{list}, nil
}

// exportBatch is how many entries are read at a time.
const exportBatch = 500

func (s *Server) exportAudit(ctx context.Context, in *AuditQuery) (*huma.StreamResponse, error) {
	return s.streamAudit(ctx, in.filter(), in.OrgID)
}

func (s *Server) exportOwnAudit(ctx context.Context, in *OwnAuditQuery) (*huma.StreamResponse, error) {
	userID := identityOf(ctx).UserID
	return s.streamAudit(ctx, in.filter(userID), userID)
}

// streamAudit exports the log of an organization or a person, by its id. What
// breaks off half-way ends the connection, so that nobody takes a part for the
// whole.
func (s *Server) streamAudit(ctx context.Context, filter models.AuditFilter, whose string) (*huma.StreamResponse, error) {
	filter.OldestFirst, filter.Limit = true, exportBatch
	if filter.Before.IsZero() {
		// Not what is written from now on, or it might never end.
		filter.Before = time.Now()
	}
	rows, err := s.opts.Store.AuditLog(ctx, filter)
	if err != nil {
		return nil, err
	}
	leave, err := s.streams.enter(whose)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		hc.SetHeader("Content-Type", "application/x-ndjson")
		hc.SetHeader("Content-Disposition", `attachment; filename="audit-`+whose+`.jsonl"`)
		c := humagin.Unwrap(hc)
		control := http.NewResponseController(c.Writer)
		_ = control.SetReadDeadline(time.Time{})
		lines := json.NewEncoder(c.Writer)
		for {
			_ = control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
			for _, row := range rows {
				if err := lines.Encode(auditView(row)); err != nil {
					return // the client left
				}
				filter.After = models.PositionAt(row.CreatedAt, row.ID)
			}
			if err := control.Flush(); err != nil || ctx.Err() != nil || len(rows) < exportBatch {
				return
			}
			if rows, err = s.opts.Store.AuditLog(ctx, filter); err != nil {
				s.logOf(ctx).WithError(err).Error("export of the audit log broke off")
				panic(http.ErrAbortHandler)
			}
		}
	}}, nil
}

func auditView(row models.AuditEntry) AuditEntry {
	view := AuditEntry{
		ID: row.ID, UserID: row.UserID, TokenID: row.TokenID, SessionID: row.SessionID, Action: row.Action, Outcome: row.Outcome, Code: row.Code,
		Targets: row.Targets, Address: row.Address, UserAgent: row.UserAgent, RequestID: row.RequestID, CreatedAt: stamp(row.CreatedAt),
	}
	if row.OrganizationID != nil {
		view.OrgID = *row.OrganizationID
	}
	if view.Targets == nil {
		view.Targets = map[string]string{}
	}
	return view
}
