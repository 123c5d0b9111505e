package edge

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// refusalsEvery is how often a worker's log says that requests and sockets of it
	// were refused for a limit.
	refusalsEvery = 10 * time.Second
	// failuresEvery is how often it says why a connect() failed.
	failuresEvery = time.Second
)

// limitReached is how the way out says that it refused for a limit: the error type
// of RFC 9209, section 2.3.12, in Proxy-Status.
const limitReached = "error=connection_limit_reached"

// tellingRefusals has the worker's log say when the way out refuses it for a limit:
// code may swallow the exception, and its owner would look for the reason in vain.
// It also says why a connect() failed: fetch() gets the reason as its answer, and
// workerd gives a connect() none.
func (w *worker) tellingRefusals(next http.Handler) http.Handler {
	var limited, failed atomic.Int64
	tell := func(told *atomic.Int64, every time.Duration, text string) {
		now, last := w.host.now(), told.Load()
		if (last == 0 || now.Sub(time.Unix(0, last)) >= every) && told.CompareAndSwap(last, now.UnixNano()) {
			w.journal.system("warn", text)
		}
	}
	return http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		watch := &limitWatch{ResponseWriter: answer, reached: func() {
			tell(&limited, refusalsEvery, "fetch() and connect() are being refused: too many requests and sockets are open at a time")
		}}
		if r.Method == http.MethodConnect {
			watch.failed = func(reason string) { tell(&failed, failuresEvery, "connect() failed: "+reason) }
		}
		next.ServeHTTP(watch, r)
	})
}

// limitWatch sees an answer go by.
type limitWatch struct {
	http.ResponseWriter
	reached func()
	// failed takes the text of an answer that is an error other than a limit; nil
	// where nobody wants it.
	failed func(reason string)
	wanted bool
}

// Unwrap is for http.ResponseController.
func (l *limitWatch) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *limitWatch) WriteHeader(status int) {
	if status == http.StatusTooManyRequests && strings.Contains(l.Header().Get("Proxy-Status"), limitReached) {
		l.reached()
	} else {
		l.wanted = l.failed != nil && status >= http.StatusBadRequest
	}
	l.ResponseWriter.WriteHeader(status)
}

func (l *limitWatch) Write(body []byte) (int, error) {
	if l.wanted {
		l.wanted = false
		l.failed(strings.TrimSpace(string(body)))
	}
	return l.ResponseWriter.Write(body)
}
