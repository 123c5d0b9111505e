package dispatcher

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// bounded bounds the bodies of HTTP/2 requests as the guard does on HTTP/1.1.
func bounded(limits *Limits, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, &pacedBody{ReadCloser: r.Body, control: http.NewResponseController(w), limits: limits}, limits.RequestBytes)
		}
		next.ServeHTTP(w, r)
	})
}

// pacedBody is a body whose client must keep to a rate.
type pacedBody struct {
	io.ReadCloser
	control  *http.ResponseController
	limits   *Limits
	received int64
	waited   time.Duration
}

// Read waits no longer than what came so far allows.
func (b *pacedBody) Read(p []byte) (int, error) {
	began := time.Now()
	_ = b.control.SetReadDeadline(began.Add(b.limits.bodyTime(b.received) - b.waited))
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	b.waited += time.Since(began)
	return n, err
}

// bodyTime is how long may be waited for a body of which so much has come.
func (l *Limits) bodyTime(received int64) time.Duration {
	return l.SlowGrace + time.Duration(received/l.BodyRate)*time.Second
}

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

// ambiguous says why an HTTP/2 request could be read in two ways once it is
// HTTP/1.1 on its way to a worker. net/http has refused control bytes and
// connection headers; on HTTP/1.1 the guard has seen to all of it.
func ambiguous(r *http.Request) *fault {
	if r.ProtoMajor != 2 {
		return nil
	}
	if hosts := r.Header["Host"]; len(hosts) > 1 || (len(hosts) == 1 && !strings.EqualFold(hosts[0], r.Host)) {
		return faultHost
	}
	if lengths := r.Header["Content-Length"]; len(lengths) > 1 || (len(lengths) == 1 && lengths[0] != strconv.FormatInt(r.ContentLength, 10)) {
		return faultLength
	}
	if r.RequestURI != "" && r.RequestURI[0] != '/' && r.Method != http.MethodConnect && r.RequestURI != "*" {
		return faultTarget
	}
	return checkTarget(r.RequestURI)
}
