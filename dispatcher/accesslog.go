package dispatcher

import (
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
)

// debugEnabled gives a cheap test of whether access logs are wanted.
func debugEnabled(log logrus.FieldLogger) func() bool {
	var logger *logrus.Logger
	switch log := log.(type) {
	case *logrus.Logger:
		logger = log
	case *logrus.Entry:
		logger = log.Logger
	default:
		return func() bool { return true }
	}
	return func() bool { return logger.IsLevelEnabled(logrus.DebugLevel) }
}

// logAccess writes one line per request. The query is left out: it may hold
// what a tenant's visitors would not want kept.
func (d *Dispatcher) logAccess(x *exchange, began time.Time) {
	path, _ := rawTarget(x.r)
	d.opts.Log.WithFields(logrus.Fields{
		"requestId": x.requestID,
		"method":    x.r.Method,
		"host":      x.r.Host,
		"path":      path,
		"status":    x.status,
		"worker":    x.worker,
		"release":   x.releaseID,
		"ms":        float64(time.Since(began).Microseconds()) / 1000,
	}).Debug("request")
}

// statusWriter notes the status of an answer for the access log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status and sends it.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
