package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
)

// lastWords is the time left to send an answer, such as that there is none,
// after a handler's time is up.
const lastWords = 10 * time.Second

type contextKey int

const (
	requestIDKey contextKey = iota
	identityKey
	bodyKey
	attemptKey
	methodKey
)

const requestIDHeader = "X-Request-Id"

// requestID takes the caller's id when it is a sane one, else makes one. It is
// in every log line about the request and in the answer.
func (s *Server) requestID(c *gin.Context) {
	id := c.GetHeader(requestIDHeader)
	if !saneRequestID(id) {
		var raw [12]byte
		_, _ = rand.Read(raw[:])
		id = hex.EncodeToString(raw[:])
	}
	c.Header(requestIDHeader, id)
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), requestIDKey, id))
}

func saneRequestID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// logOf is the log with what is known about the request.
func (s *Server) logOf(ctx context.Context) logrus.FieldLogger {
	if id, ok := ctx.Value(requestIDKey).(string); ok {
		return s.log.WithField("request_id", id).WithContext(ctx)
	}
	return s.log
}

// accessLog writes one line per request. Query strings and bodies stay out of
// it: they may hold secrets.
func (s *Server) accessLog(c *gin.Context) {
	begin := time.Now()
	c.Next()
	entry := s.logOf(c.Request.Context()).WithFields(logrus.Fields{
		"method": methodOf(c.Request), "path": printable(shorten(auth.LoggedPath(c.Request.URL.Path))), "route": c.FullPath(), "status": c.Writer.Status(),
		"bytes": max(c.Writer.Size(), 0), "duration_ms": time.Since(begin).Milliseconds(), "remote": clientaddr.String(clientaddr.From(c.Request.Context())),
	})
	if id, ok := c.Get(organizationField); ok {
		entry = entry.WithField("organization", id)
	}
	if route := c.FullPath(); route == "/health" || route == "/deploy-status" {
		// Polled by machines, some of them every second.
		entry.Debug("request")
		return
	}
	entry.Info("request")
}

// printable escapes what would move a terminal's cursor or turn its text around, which
// a JSON log has as it is (U+009B, U+202E), as a path has it escaped.
func printable(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); {
		r, size := utf8.DecodeRuneInString(path[i:])
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(path[i : i+size])
		} else {
			for _, c := range []byte(path[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += size
	}
	return b.String()
}

// recovery turns a panic into an answer. Once an answer has begun it can only be
// broken off, so that the client does not take half of it for the whole.
func (s *Server) recovery(c *gin.Context) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if cause == http.ErrAbortHandler { //nolint:errorlint // what a panic carries is this very value
			panic(cause)
		}
		s.logOf(c.Request.Context()).WithFields(logrus.Fields{"panic": fmt.Sprint(cause), "stack": string(debug.Stack())}).Error("handler panicked")
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		c.Writer.Header().Del("Content-Type")
		s.writeError(c, models.Errorf(models.CodeInternal, "%s", models.MessageOf(nil)))
	}()
	c.Next()
}

// deadlines keep a silent client from holding a connection, unless the route
// moves them (uploads, log streams). A writer without deadlines (a test's
// recorder) has none to set.
func (s *Server) deadlines(c *gin.Context) {
	control := http.NewResponseController(c.Writer)
	end := time.Now().Add(s.opts.Limits.AnswerTimeout + lastWords)
	_ = control.SetReadDeadline(end)
	_ = control.SetWriteDeadline(end)
}

// refuseBody refuses, before it is known who asks and before a byte of it is read,
// a body that is there although the route has none, or that announces itself as
// too large or as compressed.
func (s *Server) refuseBody(ctx huma.Context, next func(huma.Context)) {
	c := humagin.Unwrap(ctx)
	op := ctx.Operation()
	if kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type")); err == nil {
		// It counts in any case (RFC 9110 §8.3.1), which huma does not know.
		c.Request.Header.Set("Content-Type", kind)
	}
	limit := op.MaxBodyBytes - 1
	length := c.Request.ContentLength
	switch {
	case op.RequestBody == nil && (length < 0 || length > strayBody):
		// The rest of it is not waited for either.
		c.Header("Connection", "close")
		s.writeError(c, models.Errorf(models.CodeTooLarge, "This route takes no body."))
	case op.RequestBody == nil:
		next(ctx)
	case c.GetHeader("Content-Encoding") != "" && c.GetHeader("Content-Encoding") != "identity":
		s.writeError(c, models.Errorf(models.CodeUnsupportedMedia, "Send the body without Content-Encoding."))
	case limit > 0 && length > limit:
		s.writeError(c, tooLargeError(limit))
	default:
		next(ctx)
	}
}

// strayBody is a body that clients send along where there should be none, such as
// "{}"; net/http skips it.
const strayBody = 1024

// allowBody gives a body the time its route allows it to arrive in.
func (s *Server) allowBody(ctx huma.Context, next func(huma.Context)) {
	if ctx.Operation().RequestBody != nil {
		control := http.NewResponseController(humagin.Unwrap(ctx).Writer)
		_ = control.SetReadDeadline(time.Now().Add(s.opts.Limits.BodyTimeout))
		_ = control.SetWriteDeadline(time.Now().Add(s.opts.Limits.BodyTimeout + s.opts.Limits.AnswerTimeout + lastWords))
	}
	next(ctx)
}
