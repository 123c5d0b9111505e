package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/models"
)

// EventResync has a client read everything it shows anew.
const EventResync = "resync"

// maxEventStreams is how many streams of changes an organization may have open at
// a time. Unlike log streams they ask the database nothing.
const maxEventStreams = 256

// ChangeEvent is the data of an event of GET /events.
type ChangeEvent struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	ProjectID string `json:"projectId,omitempty"`
	Status    string `json:"status,omitempty"`
}

func (s *Server) registerEvents() {
	register(s, route{
		id: "stream-events", method: http.MethodGet, path: "/events", tag: "Service",
		summary: "What changes in the organization, as it changes", endless: true,
		description: "Server-sent events. Each is named after what changed (`deployment`, `project`, `release`, `domain`, `rollout`, `variables`, `organization`, " +
			"`member`, `invitation`, `token`, `webhook`, `delivery`, `audit`) and carries its type, id, project and status, where it has them; the status is `deleted` when " +
			"it is gone. Read the thing to see how it is now. `resync` comes first, and whenever changes may have been missed: read anew what you show. " +
			"A token limited to a project is told of that project alone.",
		errors: []models.Code{models.CodeRateLimited},
		responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"text/event-stream": {
				Schema:  &huma.Schema{Type: huma.TypeString},
				Example: "event: deployment\ndata: {\"type\":\"deployment\",\"id\":\"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7\",\"projectId\":\"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7\",\"status\":\"in_progress\"}\n\n",
			},
		}}},
	}, s.streamEvents)
}

func (s *Server) streamEvents(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	identity := identityOf(ctx)
	leave, err := s.watchers.enter(identity.OrganizationID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		hc.SetHeader("Content-Type", "text/event-stream")
		hc.SetHeader("X-Accel-Buffering", "no")
		c := humagin.Unwrap(hc)
		stream := &eventStream{w: c.Writer, control: http.NewResponseController(c.Writer)}
		// A read deadline that passes would be taken for the client having left.
		_ = stream.control.SetReadDeadline(time.Time{})
		watcher, leave := s.changes.watch(identity.OrganizationID, identity.ProjectID)
		defer leave()
		if err := s.sendChanges(ctx, c, watcher, stream); err != nil && ctx.Err() == nil {
			s.logOf(ctx).WithError(err).Debug("event stream ended early")
		}
	}}, nil
}

// sendChanges goes on until the client leaves or may watch no longer, or the
// server closes.
func (s *Server) sendChanges(ctx context.Context, c *gin.Context, watcher *changeWatcher, stream *eventStream) error {
	if err := stream.comment("retry: 2000\n\n"); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-watcher.woken:
			changes, resync, rights := s.changes.news(watcher)
			if rights && !s.mayStillFollow(ctx, c, "stream-events", "") {
				return nil
			}
			if resync {
				if err := stream.event("", EventResync, struct{}{}); err != nil {
					return err
				}
			}
			for _, change := range changes {
				err := stream.event("", change.Type, ChangeEvent{Type: change.Type, ID: change.ID, ProjectID: change.ProjectID, Status: change.Status})
				if err != nil {
					return err
				}
			}
			if err := stream.flush(); err != nil {
				return err
			}
		case <-beat.C:
			if !s.mayStillFollow(ctx, c, "stream-events", "") {
				return nil
			}
			if err := stream.comment(": still here\n\n"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return nil
		}
	}
}
