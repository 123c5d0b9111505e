package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

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
		return s.log.WithField("request_id", id)
	}
	return s.log
}

// accessLog writes one line per request. Query strings and bodies stay out of
// it: they may hold secrets.
func (s *Server) accessLog(c *gin.Context) {
	begin := time.Now()
	c.Next()
	entry := s.logOf(c.Request.Context()).WithFields(logrus.Fields{
		"method": c.Request.Method, "path": shorten(c.Request.URL.Path), "route": c.FullPath(), "status": c.Writer.Status(),
		"bytes": max(c.Writer.Size(), 0), "duration_ms": time.Since(begin).Milliseconds(), "remote": c.Request.RemoteAddr,
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

// headers are on every answer: nothing here is for caches, frames or guessing.
func (s *Server) headers(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
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

// cors lets the pages of allowed origins call the API. Tokens travel in a
// header, so credentials (cookies) are not allowed along.
func (s *Server) cors(c *gin.Context) {
	h := c.Writer.Header()
	h.Add("Vary", "Origin")
	origin := c.GetHeader("Origin")
	if origin == "" || !s.allowedOrigin(origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", requestIDHeader+", Location, Retry-After")
	if c.Request.Method != http.MethodOptions || c.GetHeader("Access-Control-Request-Method") == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, "+requestIDHeader)
	h.Set("Access-Control-Max-Age", "600")
	c.AbortWithStatus(http.StatusNoContent)
}

// allowedOrigin compares whole origins. By default only this machine's own
// names: tenants live on subdomains of localhost and must not be let in.
func (s *Server) allowedOrigin(origin string) bool {
	if s.opts.Origins != nil {
		return slices.Contains(s.opts.Origins, origin)
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" {
		return false
	}
	host := u.Hostname()
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// limitBody refuses, before a byte of it is read, a body that announces itself
// as too large or as compressed, and gives the rest the time its route allows.
func (s *Server) limitBody(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if op.RequestBody == nil {
		next(ctx)
		return
	}
	c := humagin.Unwrap(ctx)
	if encoding := ctx.Header("Content-Encoding"); encoding != "" && encoding != "identity" {
		s.writeError(c, models.Errorf(models.CodeUnsupportedMedia, "Send the body without Content-Encoding."))
		return
	}
	limit := op.MaxBodyBytes - 1
	if length, err := strconv.ParseInt(ctx.Header("Content-Length"), 10, 64); err == nil && limit > 0 && length > limit {
		s.writeError(c, tooLargeError(limit))
		return
	}
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(time.Now().Add(s.opts.Limits.BodyTimeout))
	_ = control.SetWriteDeadline(time.Now().Add(s.opts.Limits.BodyTimeout + s.opts.Limits.AnswerTimeout + lastWords))
	next(ctx)
}
