package dispatcher

import (
	"net/http"
	"strings"
)

// HTTPS is what a dispatcher does besides when it has certificates. The zero
// value does nothing.
type HTTPS struct {
	// Challenge is put before the answers to plain requests below
	// /.well-known/acme-challenge/, and Redirect before those to all other plain
	// requests; nil puts nothing there.
	Challenge, Redirect func(next http.Handler) http.Handler
	// HSTS is the Strict-Transport-Security header of answers over HTTPS, when
	// the release sets none; "" sends none.
	HSTS string
}

const challengePrefix = "/.well-known/acme-challenge/"

// handler puts what is wanted before next.
func (h HTTPS) handler(next http.Handler) http.Handler {
	plain, challenged, secure := next, next, next
	if h.Redirect != nil {
		plain = h.Redirect(next)
	}
	if challenged = plain; h.Challenge != nil {
		challenged = h.Challenge(plain)
	}
	if h.HSTS != "" {
		values := []string{h.HSTS}
		secure = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Strict-Transport-Security"] = values
			next.ServeHTTP(w, r)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.TLS != nil:
			secure.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, challengePrefix):
			challenged.ServeHTTP(w, r)
		default:
			plain.ServeHTTP(w, r)
		}
	})
}

// leaves says that handler does nothing with a request, whose path is as sent.
func (h HTTPS) leaves(encrypted bool, path string) bool {
	if encrypted {
		return true
	}
	return h.Redirect == nil && (h.Challenge == nil || !strings.HasPrefix(path, "/.well-known/"))
}
