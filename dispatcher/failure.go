package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// The error texts, which clients may compare.
const (
	workerNotFound    = "Worker not found"
	invalidWorkerName = "Invalid worker name format"
	internalError     = "Internal dispatch error"
	databaseFailed    = "Database connection failed"
	tooManyUnknown    = "Too many requests for unknown workers"
)

// failure is an answer of the dispatcher's own.
type failure struct {
	status int
	text   string
	// detail says more to the person who reads it; optional.
	detail string
	// worker is the name that was asked for; optional.
	worker string
}

// failureBody is a failure as JSON.
type failureBody struct {
	Error     string `json:"error"`
	Message   string `json:"message,omitempty"`
	Worker    string `json:"worker,omitempty"`
	RequestID string `json:"requestId"`
	Timestamp string `json:"timestamp"`
}

// failRoute answers when a route could not be found.
func (d *Dispatcher) failRoute(x *exchange, target target, err error) {
	switch {
	case models.CodeOf(err) == models.CodeNotFound:
		x.class = answerUnknown
		d.fail(x, failure{http.StatusNotFound, workerNotFound, "Nothing is deployed at this address.", target.name})
	case models.CodeOf(err) == models.CodeRateLimited:
		x.class = answerUnknown
		x.w.Header()["Retry-After"] = []string{"1"}
		d.fail(x, failure{http.StatusTooManyRequests, tooManyUnknown, "Try again in a moment.", target.name})
	case models.CodeOf(err) == models.CodeDatabase, errors.Is(err, context.DeadlineExceeded):
		x.class = answerError
		d.fail(x, failure{http.StatusServiceUnavailable, databaseFailed, "Try again in a moment.", target.name})
	default:
		d.failInternal(x, err)
	}
}

// failInternal answers and logs what went wrong on our side.
func (d *Dispatcher) failInternal(x *exchange, err error) {
	x.class = answerError
	if x.r.Context().Err() == nil {
		d.opts.Log.WithError(err).WithContext(x.r.Context()).WithFields(map[string]any{
			"requestId": x.requestID, "worker": x.worker, "release": x.releaseID,
		}).Error("cannot answer a request")
	}
	d.fail(x, failure{http.StatusInternalServerError, internalError, "The log of the dispatcher says what happened under this request id.", x.worker})
}

// fail answers with JSON, or with a page when a browser asks.
func (d *Dispatcher) fail(x *exchange, f failure) {
	x.status = f.status
	header := x.w.Header()
	header["Cache-Control"] = []string{"no-store"}
	if wantsHTML(x.r) {
		writePage(x, f.status, f.text, f.detail)
		return
	}
	body, err := json.Marshal(failureBody{f.text, f.detail, f.worker, x.requestID, timestamp()})
	if err != nil {
		panic(fmt.Errorf("encode a failure: %w", err))
	}
	writeOwn(x, f.status, "application/json; charset=utf-8", append(body, '\n'))
}

// refusal is the whole answer to bytes that are no request. Nothing is known of
// who sent them, so it is JSON always.
func (d *Dispatcher) refusal(f *fault, id string) []byte {
	body, err := json.Marshal(failureBody{Error: f.text, Message: f.detail, RequestID: id, Timestamp: timestamp()})
	if err != nil {
		panic(fmt.Errorf("encode a failure: %w", err))
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n"+
		"Content-Type: application/json; charset=utf-8\r\nDate: %s\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: %s\r\n\r\n%s\n",
		f.status, http.StatusText(f.status), len(body)+1, time.Now().UTC().Format(http.TimeFormat), id, body)
}

// writePage sends a small page that loads nothing and runs nothing.
func writePage(x *exchange, status int, title, text string) {
	page := fmt.Sprintf(pageTemplate, status, html.EscapeString(title), html.EscapeString(title), html.EscapeString(text), status, html.EscapeString(x.requestID))
	x.w.Header()["Content-Security-Policy"] = []string{"default-src 'none'; style-src 'unsafe-inline'"}
	writeOwn(x, status, "text/html; charset=utf-8", []byte(page))
}

func writeOwn(x *exchange, status int, contentType string, body []byte) {
	header := x.w.Header()
	header["Content-Type"] = []string{contentType}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	header["X-Content-Type-Options"] = []string{"nosniff"}
	header["Vary"] = []string{"Accept"}
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body)
	}
}

// wantsHTML tells a browser's navigation from an API-like request.
func wantsHTML(r *http.Request) bool {
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(accept, "text/html") {
			return true
		}
	}
	return false
}

// timestamp is the present in the form the JSON answers use.
func timestamp() string {
	return time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
}

const pageTemplate = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>%d %s</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34em; margin: 20vh auto 0; padding: 0 1.5em; color: #222; background: #fff }
h1 { font-size: 1.5em; margin: 0 }
small { color: #666 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } small { color: #999 } }
</style>
<h1>%s</h1>
<p>%s</p>
<p><small>%d · request %s</small></p>
</html>
`
