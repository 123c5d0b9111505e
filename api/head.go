package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/slipwayhq/slipway/auth"
)

// answersHead says whether HEAD of a path is answered as GET is: everywhere (RFC 9110
// §9.3.2) but where people sign in. There GET takes up a link that works once, and
// what looks at links before their reader does asks with HEAD.
func answersHead(path string) bool { return !strings.HasPrefix(path, auth.Prefix) }

// serveHead answers HEAD by the route of GET, on every route alike: who may ask and
// how often is the same. net/http leaves the content out, going by the request that
// it read.
func (s *Server) serveHead(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), methodKey, r.Method))
	defer cancel()
	get := r.WithContext(ctx)
	get.Method = http.MethodGet
	s.engine.ServeHTTP(&headWriter{w, cancel}, get)
}

// methodOf is the method that the client sent.
func methodOf(r *http.Request) string {
	if method, ok := r.Context().Value(methodKey).(string); ok {
		return method
	}
	return r.Method
}

// headWriter ends an answer that is sent piece by piece with its first piece, as if
// the client had left: its head is all that was asked for, and a stream has no end.
type headWriter struct {
	http.ResponseWriter
	end context.CancelFunc
}

// Flush sends the head.
func (h *headWriter) Flush() {
	_ = http.NewResponseController(h.ResponseWriter).Flush()
	h.end()
}

// Unwrap is for http.ResponseController.
func (h *headWriter) Unwrap() http.ResponseWriter { return h.ResponseWriter }
