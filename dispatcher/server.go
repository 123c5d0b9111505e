package dispatcher

import (
	stdlog "log"
	"net/http"
	"strings"

	"github.com/sirupsen/logrus"
)

// Server is an http.Server for this dispatcher with its limits set. The caller
// listens, serves and shuts it down.
func (d *Dispatcher) Server() *http.Server {
	return &http.Server{
		Handler:           d,
		ReadHeaderTimeout: d.opts.Limits.HeaderTimeout,
		IdleTimeout:       d.opts.Limits.IdleTimeout,
		MaxHeaderBytes:    d.opts.Limits.HeaderBytes,
		ErrorLog:          stdlog.New(serverLog{d.opts.Log}, "", 0),
	}
}

// serverLog takes what net/http has to say: mostly clients that broke off,
// which only debugging wants to know.
type serverLog struct {
	log logrus.FieldLogger
}

// Write logs one line.
func (s serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: panic serving") {
		s.log.Error(text)
	} else {
		s.log.Debug(text)
	}
	return len(line), nil
}
