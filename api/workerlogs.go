package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/slipwayhq/slipway/models"
)

// workerLogBatch is how many lines one look reads at most; they are in memory
// while the client takes its time.
const workerLogBatch = 100

// workerLogPause is how often a stream of a worker's log looks for news.
const workerLogPause = 300 * time.Millisecond

type workerLogInput struct {
	ID          string `path:"id" maxLength:"64" doc:"Project id" example:"prj_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Release     string `query:"release" maxLength:"64" doc:"Only lines of this release"`
	Tail        int    `query:"tail" minimum:"0" maximum:"10000" default:"100" doc:"How many earlier lines to begin with; not when resuming"`
	Follow      bool   `query:"follow" default:"true" doc:"Go on with the lines to come; false ends after those there are"`
	LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"id of the last line received"`
}

func (s *Server) registerWorkerLogs() {
	register(s, route{
		id: "stream-project-logs", method: http.MethodGet, path: "/projects/{id}/logs/stream", tag: "Projects",
		summary: "What the project's worker says, as it says it", endless: true,
		description: "Server-sent events. `log` carries one line: console output, an exception with its stack, the end of a request, or what the platform " +
			"did to the worker. A client that reconnects with `Last-Event-ID` goes on where it was. The latest lines of each release are kept, for 30 days. " +
			"`end` comes when follow is false and there is nothing more.",
		errors: []models.Code{models.CodeProjectNotFound, models.CodeReleaseNotFound, models.CodeRateLimited},
		responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}, Example: "id: 7\nevent: log\ndata: {\"time\":\"2025-07-22T10:30:00Z\",\"kind\":\"console\",\"level\":\"log\",\"message\":\"hello\"}\n\n"},
		}}},
	}, s.streamWorkerLog)
}

func (s *Server) streamWorkerLog(ctx context.Context, in *workerLogInput) (*huma.StreamResponse, error) {
	after, err := parseLastEventID(in.LastEventID)
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Release != "" {
		if err := s.hasRelease(ctx, project.ID, in.Release); err != nil {
			return nil, err
		}
	}
	if in.LastEventID == "" {
		if after, err = s.opts.Store.WorkerLogTail(ctx, project.ID, in.Release, in.Tail); err != nil {
			return nil, err
		}
	}
	leave, err := s.streams.enter(project.OrganizationID)
	if err != nil {
		return nil, err
	}
	reader := &workerLogReader{server: s, project: project.ID, release: in.Release, after: after, follow: in.Follow}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		hc.SetHeader("Content-Type", "text/event-stream")
		hc.SetHeader("X-Accel-Buffering", "no")
		c := humagin.Unwrap(hc)
		stream := &eventStream{w: c.Writer, control: http.NewResponseController(c.Writer)}
		// A read deadline that passes would be taken for the client having left.
		_ = stream.control.SetReadDeadline(time.Time{})
		present, gone := s.attend(ctx, c, "stream-project-logs", project.ID)
		defer gone()
		if err := reader.send(ctx, stream, present); err != nil && ctx.Err() == nil {
			s.logOf(ctx).WithError(err).WithField("project", project.ID).Debug("worker log stream ended early")
		}
	}}, nil
}

// hasRelease refuses a release that the project does not have: no line of it will
// ever come. One that was never seen to answer has a log that says why.
func (s *Server) hasRelease(ctx context.Context, projectID, id string) error {
	if err := checkReleaseID(projectID, id); err != nil {
		return err
	}
	return s.opts.Store.HasRelease(ctx, projectID, id)
}

// workerLogReader sends a project's lines as they are written.
type workerLogReader struct {
	server           *Server
	project, release string
	after            int64
	follow           bool
}

// send goes on until the client leaves or may follow no longer, the server closes,
// or, when it does not follow, there is nothing more.
func (r *workerLogReader) send(ctx context.Context, stream *eventStream, present *attendance) error {
	if err := stream.comment("retry: 2000\n"); err != nil {
		return err
	}
	quiet := time.Now()
	for {
		if present.over(ctx) {
			return nil
		}
		rows, err := r.server.opts.Store.WorkerLog(ctx, r.project, r.release, r.after, workerLogBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := stream.event(strconv.FormatInt(row.ID, 10), EventLog, row.Line); err != nil {
				return err
			}
			r.after, quiet = row.ID, time.Now()
		}
		switch {
		case len(rows) == workerLogBatch:
			continue
		case !r.follow:
			if err := stream.event("", EventEnd, struct{}{}); err != nil {
				return err
			}
			return stream.flush()
		case time.Since(quiet) >= heartbeat:
			if err := stream.comment(": still here\n\n"); err != nil {
				return err
			}
			quiet = time.Now()
		}
		if err := stream.flush(); err != nil {
			return err
		}
		select {
		case <-time.After(workerLogPause):
		case <-ctx.Done():
			return ctx.Err()
		case <-r.server.closing:
			return nil
		}
	}
}
