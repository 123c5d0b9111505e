package edge

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// refusalsEvery is how often a worker's log says that requests and sockets of it
// were refused for a limit.
const refusalsEvery = 10 * time.Second

// limitReached is how the way out says that it refused for a limit: the error type
// of RFC 9209, section 2.3.12, in Proxy-Status.
const limitReached = "error=connection_limit_reached"

// tellingRefusals has the worker's log say when the way out refuses it for a limit:
// code may swallow the exception, and its owner would look for the reason in vain.
func (w *worker) tellingRefusals(next http.Handler) http.Handler {
	var told atomic.Int64
	tell := func() {
		now, last := w.host.now(), told.Load()
		if (last == 0 || now.Sub(time.Unix(0, last)) >= refusalsEvery) && told.CompareAndSwap(last, now.UnixNano()) {
			w.journal.system("warn", "fetch() and connect() are being refused: too many requests and sockets are open at a time")
		}
	}
	return http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&limitWatch{ResponseWriter: answer, reached: tell}, r)
	})
}

// limitWatch sees an answer's header go by.
type limitWatch struct {
	http.ResponseWriter
	reached func()
}

// Unwrap is for http.ResponseController.
func (l *limitWatch) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *limitWatch) WriteHeader(status int) {
	if status == http.StatusTooManyRequests && strings.Contains(l.Header().Get("Proxy-Status"), limitReached) {
		l.reached()
	}
	l.ResponseWriter.WriteHeader(status)
}
