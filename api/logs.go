package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	plainText = "text/plain; charset=utf-8"
	jsonLines = "application/x-ndjson"
)

// LogLine is one line of a build log.
type LogLine struct {
	Line int64  `json:"line" doc:"Number of the line, from 1"`
	Text string `json:"text" doc:"The line, without its end" example:"added 42 packages"`
}

type logsInput struct {
	ID     string `path:"id" maxLength:"64" doc:"Deployment id" example:"dep_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Format string `query:"format" enum:"text,jsonl" doc:"text, or jsonl for one LogLine per line; what Accept asks for when left out"`
	Accept string `header:"Accept" hidden:"true"`
}

func (s *Server) registerLogs() {
	schemas := s.api.OpenAPI().Components.Schemas
	register(s, route{
		id: "deployment-logs", method: http.MethodGet, path: "/deployments/{id}/logs", tag: "Deployments",
		summary: "The build log", endless: true, description: "All of it; while the deployment runs, what there is so far.",
		errors: []models.Code{models.CodeDeploymentNotFound, models.CodeStorage},
		responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}, Example: "npm ci\nadded 42 packages\n"},
			jsonLines:    {Schema: schemas.Schema(reflect.TypeFor[LogLine](), true, "LogLine")},
		}}},
	}, s.logs)
	register(s, route{
		id: "stream-deployment-logs", method: http.MethodGet, path: "/deployments/{id}/logs/stream", tag: "Deployments",
		summary: "The build log as it grows", endless: true,
		description: "Server-sent events. `log` carries one LogLine and has its number as `id`, so that a client that reconnects with " +
			"`Last-Event-ID` goes on where it was. `status` carries the deployment's status whenever it changes. `end` carries the last one, " +
			"after which there is nothing more to come and the client should close.",
		errors: []models.Code{models.CodeDeploymentNotFound, models.CodeRateLimited, models.CodeStorage},
		responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}, Example: "id: 1\nevent: log\ndata: {\"line\":1,\"text\":\"npm ci\"}\n\n"},
		}}},
	}, s.streamLogs)
}

func (s *Server) logs(ctx context.Context, in *logsInput) (*huma.StreamResponse, error) {
	row, err := s.rowOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	asJSON := in.Format == "jsonl" || in.Format == "" && strings.Contains(in.Accept, jsonLines)
	tail := &logTail{server: s, row: row}
	first := newLogBuffer(asJSON)
	// The first batch is read before the answer begins, so that a store that is
	// down is an error and not an empty log.
	more, err := tail.next(ctx, first.add)
	if err != nil {
		tail.Close()
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", plainText)
		if asJSON {
			hc.SetHeader("Content-Type", jsonLines)
		}
		defer tail.Close()
		c := humagin.Unwrap(hc)
		control := http.NewResponseController(c.Writer)
		// A read deadline that passes would be taken for the client having left.
		_ = control.SetReadDeadline(time.Time{})
		for buffer := first; ; buffer = newLogBuffer(asJSON) {
			_ = control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
			if buffer != first {
				if more, err = tail.next(ctx, buffer.add); err != nil {
					_ = s.failure(ctx, err) // for its log line
					// Broken off, so that it is not taken for the whole log.
					panic(http.ErrAbortHandler)
				}
			}
			if _, err := c.Writer.Write(buffer.bytes()); err != nil || !more {
				return
			}
		}
	}}, nil
}

// logBuffer writes lines in one of the two formats.
type logBuffer struct {
	out    strings.Builder
	asJSON bool
}

func newLogBuffer(asJSON bool) *logBuffer { return &logBuffer{asJSON: asJSON} }

func (b *logBuffer) add(line LogLine) error {
	if !b.asJSON {
		b.out.WriteString(line.Text)
		b.out.WriteByte('\n')
		return nil
	}
	data, err := json.Marshal(line)
	b.out.Write(data)
	b.out.WriteByte('\n')
	return err
}

func (b *logBuffer) bytes() []byte { return []byte(b.out.String()) }

// How many chunks, or lines of a closed log, one step reads at most.
const (
	chunkBatch = 64
	lineBatch  = 2000
)

// logTail walks a log, which lives in chunks while it grows and in one blob once
// it is closed. It may be closed at any moment in between.
type logTail struct {
	server *Server
	row    models.Deployment
	// after is the number of the last line given out.
	after int64
	// closed is the open blob; lineAt is the number of its last line read.
	closed io.ReadCloser
	lines  *bufio.Reader
	lineAt int64
	digest string
}

// next gives out the lines that are there after the last one, up to a bounded
// number, and says whether there were more than it gave.
func (t *logTail) next(ctx context.Context, emit func(LogLine) error) (more bool, err error) {
	if t.lines != nil {
		return t.nextClosed(emit)
	}
	chunks, err := t.server.opts.Store.LogChunks(ctx, t.row.ID, t.after, chunkBatch)
	if err != nil {
		return false, err
	}
	for _, chunk := range chunks {
		for i, text := range chunk.Lines {
			n := chunk.FirstLine + int64(i)
			if n <= t.after {
				continue
			}
			if err := emit(LogLine{Line: n, Text: text}); err != nil {
				return false, err
			}
			t.after = n
		}
	}
	if len(chunks) == chunkBatch {
		return true, nil
	}
	// No chunk left may mean that the log was closed meanwhile.
	if t.row, err = t.server.opts.Store.Deployment(ctx, t.row.ID); err != nil {
		return false, err
	}
	if t.row.LogDigest == "" || t.row.LogDigest == t.digest {
		return false, nil
	}
	if err := t.open(ctx); err != nil {
		return false, err
	}
	return t.nextClosed(emit)
}

func (t *logTail) open(ctx context.Context) error {
	key := blob.Key{Scope: t.row.OrganizationID, Digest: t.row.LogDigest}
	r, err := blob.Open(ctx, t.server.opts.Blobs, key)
	if err != nil {
		return err
	}
	t.closed, t.lines, t.lineAt, t.digest = r, bufio.NewReaderSize(r, 64<<10), 0, t.row.LogDigest
	return nil
}

func (t *logTail) nextClosed(emit func(LogLine) error) (more bool, err error) {
	for range lineBatch {
		text, err := t.lines.ReadString('\n')
		if text != "" {
			t.lineAt++
			if t.lineAt > t.after {
				if err := emit(LogLine{Line: t.lineAt, Text: strings.TrimSuffix(text, "\n")}); err != nil {
					return false, err
				}
				t.after = t.lineAt
			}
		}
		if errors.Is(err, io.EOF) {
			t.Close()
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read the log of %s: %w", t.row.ID, err)
		}
	}
	return true, nil
}

// Close gives the open blob back.
func (t *logTail) Close() {
	if t.closed != nil {
		_ = t.closed.Close()
	}
	t.closed, t.lines = nil, nil
}
