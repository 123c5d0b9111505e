package dispatcher

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/assets"
)

// serveStatic answers from a release's files.
func (d *Dispatcher) serveStatic(x *exchange, target target, release *release) {
	d.serveAnswer(x, target, release, release.site.Plan(d.fileRequest(x.r, target, false)))
}

// serveAnswer sends what a release's files answer.
func (d *Dispatcher) serveAnswer(x *exchange, target target, release *release, answer assets.Response) {
	if answer.Missing && wantsHTML(x.r) {
		// A release without a page for this gets ours, so that a person does
		// not look at an empty window.
		x.status = answer.Status
		answer.Apply(x.w.Header())
		d.guard(x, x.w.Header(), target)
		x.rollout.apply(x.w.Header(), x.r.TLS != nil)
		writePage(x, answer.Status, "Not found", "This site has no page at this address.")
		return
	}
	var body content
	if answer.Body.Digest != "" {
		var err error
		if body, err = d.bodies.open(x.r.Context(), release.scope, answer.Body); err != nil {
			d.failInternal(x, err)
			return
		}
	}
	if target.prefix != "" && strings.HasPrefix(answer.Location, "/") {
		answer.Location = target.prefix + answer.Location
	}
	header := x.w.Header()
	answer.Apply(header)
	d.guard(x, header, target)
	x.rollout.apply(header, x.r.TLS != nil)
	x.status = answer.Status
	x.w.WriteHeader(answer.Status)
	d.send(x.w, body, answer.Body.Length)
}

// bufferedBytes is what the kernel takes for a connection without the client
// having to read, at the least.
const bufferedBytes = 64 << 10

// send copies a body. When it breaks off, the connection is cut, so that the
// client sees that it has not got everything.
func (d *Dispatcher) send(w http.ResponseWriter, body content, length int64) {
	if length > bufferedBytes {
		// A client that reads a byte a minute would hold a file open for days.
		// Small answers need no timer: the kernel buffers them.
		limits := &d.opts.Limits
		allowed := limits.SlowGrace + time.Duration(length/limits.SlowRate)*time.Second
		connection := http.NewResponseController(w)
		_ = connection.SetWriteDeadline(time.Now().Add(allowed))
		defer func() { _ = connection.SetWriteDeadline(time.Time{}) }()
	}
	if body.reader == nil {
		if len(body.bytes) > 0 {
			_, _ = w.Write(body.bytes)
		}
		return
	}
	// net/http hands a file inside a LimitedReader to the kernel (sendfile).
	_, err := io.CopyN(w, body.reader, length)
	_ = body.reader.Close()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// guard makes tenant content that is served on the dispatcher's own host
// harmless to that host: it gets no cookies set, an origin of its own, and none
// of the headers that change how a browser treats the whole host.
func (d *Dispatcher) guard(x *exchange, header http.Header, target target) {
	if target.prefix == "" {
		return
	}
	for _, name := range hostWideHeaders {
		delete(header, name)
	}
	if hsts := d.opts.HTTPS.HSTS; hsts != "" && x.r.TLS != nil {
		header["Strict-Transport-Security"] = []string{hsts}
	}
	policies := header["Content-Security-Policy"]
	header["Content-Security-Policy"] = append(policies[:len(policies):len(policies)], "sandbox")
	header["X-Content-Type-Options"] = []string{"nosniff"}
	if kinds := header["Content-Type"]; len(kinds) > 0 && isReplaced(kinds[0]) {
		header["Content-Type"] = []string{"application/octet-stream"}
	}
}

// isReplaced says that the parts of an answer are documents of their own, whose
// headers some browsers heed, Set-Cookie among them.
func isReplaced(contentType string) bool {
	const kind = "multipart/x-mixed-replace"
	return len(contentType) >= len(kind) && strings.EqualFold(contentType[:len(kind)], kind)
}

// hostWideHeaders also has WWW-Authenticate: a browser asks for the password in
// the name of the host, and then sends it with every request to the host.
var hostWideHeaders = []string{
	"Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Service-Worker-Allowed",
	"Origin-Agent-Cluster", "Nel", "Report-To", "Reporting-Endpoints", "Accept-Ch", "Critical-Ch", "Set-Login",
	"Www-Authenticate", "Secure-Session-Registration", "Sec-Session-Registration", "Use-As-Dictionary",
}
