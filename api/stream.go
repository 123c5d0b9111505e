package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/slipwayhq/slipway/models"
)

const (
	// A stream looks for news this often while there are some, and backs off
	// to the longer interval while there are none.
	pollFastest = 250 * time.Millisecond
	pollSlowest = time.Second
	// heartbeat keeps proxies from taking a quiet stream for a dead one.
	heartbeat = 15 * time.Second
	// streamWriteTimeout is how long a client may take to accept one batch.
	streamWriteTimeout = 30 * time.Second
	// maxStreams is how many log streams an organization may have open at a time:
	// each asks the database several times a second.
	maxStreams = 32
)

// streams counts open streams by organization. Safe for concurrent use.
type streams struct {
	mu   sync.Mutex
	open map[string]int
	// most is how many an organization may have, and refusal what the next is told.
	most    int
	refusal string
}

// enter takes a place for a stream and gives the way to give it back.
// CodeRateLimited when the organization has none left.
func (s *streams) enter(organizationID string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[organizationID] >= s.most {
		return nil, models.Errorf(models.CodeRateLimited, s.refusal, s.most)
	}
	s.open[organizationID]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[organizationID]--; s.open[organizationID] == 0 {
			delete(s.open, organizationID)
		}
	}, nil
}

// Names of the events of a log stream.
const (
	EventLog    = "log"
	EventStatus = "status"
	EventEnd    = "end"
)

type streamInput struct {
	ID          string `path:"id" maxLength:"64" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"Number of the last line received"`
}

// parseLastEventID reads the number of the last line a client has; 0 for none.
func parseLastEventID(header string) (int64, error) {
	if header == "" {
		return 0, nil
	}
	line, err := strconv.ParseUint(header, 10, 63)
	if err != nil {
		return 0, invalid([]FieldError{{Field: "Last-Event-ID", In: "header", Message: "must be the id of an event of this stream"}})
	}
	return int64(line), nil
}

func (s *Server) streamLogs(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
	after, err := parseLastEventID(in.LastEventID)
	if err != nil {
		return nil, err
	}
	row, err := s.rowOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	leave, err := s.streams.enter(identityOf(ctx).OrganizationID)
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
		tail := &logTail{server: s, row: row, after: after}
		defer tail.Close()
		present, gone := s.attend(ctx, c, "stream-deployment-logs", row.ProjectID)
		defer gone()
		if err := s.follow(ctx, tail, stream, present); err != nil && ctx.Err() == nil {
			s.logOf(ctx).WithError(err).WithField("deployment", row.ID).Debug("log stream ended early")
		}
	}}, nil
}

// follow sends lines and statuses until the deployment is final and its log
// complete, the client leaves or may follow no longer, or the server closes. An interruption is no
// error for the client: it reconnects and resumes.
func (s *Server) follow(ctx context.Context, tail *logTail, stream *eventStream, present *attendance) error {
	version, wait, quiet := int64(-1), pollFastest, time.Now()
	if err := stream.comment("retry: 2000\n"); err != nil {
		return err
	}
	for {
		if present.over(ctx) {
			return nil
		}
		before := tail.after
		wasFinal := tail.row.FinishedAt != nil
		more, err := tail.next(ctx, func(line LogLine) error { return stream.event(strconv.FormatInt(line.Line, 10), EventLog, line) })
		if err != nil {
			return err
		}
		status, err := recordedStatus(tail.row)
		if err != nil {
			return err
		}
		news := tail.after > before
		if !more && status.Version != version {
			if err := stream.event("", EventStatus, status); err != nil {
				return err
			}
			version, news = status.Version, true
		}
		// Lines may have been written, or the log closed, between the look at the
		// chunks and the one at the row that found it final: so look once more.
		if !more && wasFinal && tail.after == before {
			return stream.end(status)
		}
		if news || more {
			wait, quiet = pollFastest, time.Now()
		} else if time.Since(quiet) >= heartbeat {
			if err := stream.comment(": still here\n\n"); err != nil {
				return err
			}
			quiet = time.Now()
		}
		if err := stream.flush(); err != nil {
			return err
		}
		if more || tail.row.FinishedAt != nil {
			continue
		}
		select {
		case <-time.After(wait):
			wait = min(wait*2, pollSlowest)
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return nil
		}
	}
}

// eventStream writes server-sent events (HTML Standard §9.2).
type eventStream struct {
	w       io.Writer
	control *http.ResponseController
}

// event writes one event. The data is JSON, which has no line ends of its own.
func (e *eventStream) event(id, name string, data any) error {
	payload, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return e.write(fmt.Sprintf("%sevent: %s\ndata: %s\n\n", id, name, payload))
}

func (e *eventStream) end(status models.Status) error {
	if err := e.event("", EventEnd, status); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventStream) comment(text string) error {
	if err := e.write(text); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventStream) write(text string) error {
	_ = e.control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	_, err := io.WriteString(e.w, text)
	return err
}

func (e *eventStream) flush() error { return e.control.Flush() }
