package dispatcher

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
)

// The commonest request by far asks for a file that is in memory. It is answered
// here, from the bytes the guard has read and with one write, the way serveStatic
// would answer it: both ask assets.Site.Plan, and front_fast_test.go compares
// them. Whatever is unusual about a request, its route or its answer leaves it
// to net/http and serveStatic, which know all cases; nothing is answered here
// that they would answer differently.

// fastState is what a connection keeps for answering by itself.
type fastState struct {
	head head
	// host is the last Host header, which target was found for; plain says that
	// it is a tenant's and nothing more.
	host   string
	target target
	plain  bool
	// remote is the client's address and tls what is known of its encryption.
	remote string
	tls    *tls.ConnectionState
	// header has what Plan asks for, in values.
	header http.Header
	values [6][1]string
	parts  net.Buffers
	room   [2][]byte
}

// copiedBytes is the size up to which a body is copied behind its header, so that
// both leave in one write; larger ones are worth a vector.
const copiedBytes = 16 << 10

// outputs are buffers for answers. They belong to no connection, since most
// connections are idle.
var outputs = sync.Pool{New: func() any { b := make([]byte, 0, copiedBytes+(2<<10)); return &b }}

// answer answers a request when that can be done from memory. Not answered means
// that it is net/http's. An error ends the connection.
func (g *guardConn) answer(h *head) (answered bool, err error) {
	if !h.simple || (h.method != http.MethodGet && h.method != http.MethodHead) {
		return false, nil
	}
	d, f := g.server.d, &g.fast
	if h.host != f.host || f.header == nil {
		f.begin(d, h.host)
	}
	if !f.plain || strings.HasPrefix(h.target, challengePrefix) || !d.opts.HTTPS.leaves(g.encrypted, h.target) {
		return false, nil
	}
	route := d.routes.current(f.target.key)
	if route != nil && (route.WorkerDigest != "" || route.CanaryPercent != 0 && route.CanaryWorkerDigest != "") {
		return g.serve(h)
	}
	if route == nil || route.CanaryPercent != 0 || route.Preview {
		return false, nil
	}
	release, ok := d.releases.kept.get(blob.Key{Scope: route.OrganizationID, Digest: route.ManifestDigest})
	if !ok {
		return false, nil
	}
	path, query, _ := strings.Cut(h.target, "?")
	plan := release.site.Plan(assets.Request{Method: h.method, Host: f.target.host, Path: path, Query: query, Header: f.headers(h)})
	if plan.Missing {
		return false, nil
	}
	var body []byte
	if plan.Body.Digest != "" {
		if body, ok = d.bodies.kept.get(blob.Key{Scope: release.scope, Digest: plan.Body.Digest}); !ok {
			return false, nil
		}
		body = body[plan.Body.Offset : plan.Body.Offset+plan.Body.Length]
	}
	pooled := outputs.Get().(*[]byte)
	defer outputs.Put(pooled)
	now := time.Now()
	out, ok := g.appendHead((*pooled)[:0], h, &plan, len(body) > 0, now)
	if !ok {
		return false, nil
	}
	*pooled = out[:0]
	if !g.state.CompareAndSwap(stateWaiting, stateAnswering) {
		return false, io.EOF
	}
	err = g.send(out, body, now)
	if d.measures != nil {
		d.measures.answered(answerStatic, plan.Status, time.Since(now))
	}
	if d.access.wants(plan.Status) {
		d.access.write(&access{
			requestID: requestIDIn(out), method: h.method, host: h.host, path: path, status: plan.Status,
			worker: route.WorkerName, release: route.ReleaseID, client: g.RemoteAddr().String(), began: now,
		})
	}
	if !g.state.CompareAndSwap(stateAnswering, stateWaiting) {
		return true, io.EOF
	}
	return true, err
}

// begin finds who a host is, once for the requests that follow.
func (f *fastState) begin(d *Dispatcher, host string) {
	f.host = strings.Clone(host)
	f.target = d.hosts.hostTarget(f.host)
	// A target that says more than where its route is wants more than that route.
	f.plain = f.target == target{kind: targetTenant, key: f.target.key, name: f.target.name, host: f.target.host, ours: f.target.ours}
	if f.header == nil {
		f.header = make(http.Header, len(f.values))
	}
}

// headers puts what an answer may depend on where Plan looks for it.
func (f *fastState) headers(h *head) http.Header {
	clear(f.header)
	for i, field := range [...]struct{ name, value string }{
		{"Accept-Encoding", h.acceptEncoding}, {"If-None-Match", h.ifNoneMatch}, {"Range", h.byteRange},
		{"If-Match", h.ifMatch}, {"If-Range", h.ifRange}, {"Authorization", h.authorization},
	} {
		if field.value != "" {
			f.values[i][0] = field.value
			f.header[field.name] = f.values[i][:]
		}
	}
	return f.header
}

// appendHead writes an answer's header. Not ok leaves it to net/http.
func (g *guardConn) appendHead(b []byte, h *head, plan *assets.Response, hasBody bool, now time.Time) (_ []byte, ok bool) {
	switch plan.Status {
	case http.StatusOK:
		b = append(b, "HTTP/1.1 200 OK\r\nX-Request-Id: "...)
	default:
		b = append(b, "HTTP/1.1 "...)
		b = strconv.AppendInt(b, int64(plan.Status), 10)
		b = append(b, ' ')
		b = append(b, http.StatusText(plan.Status)...)
		b = append(b, "\r\nX-Request-Id: "...)
	}
	if saneRequestID(h.requestID) {
		b = append(b, h.requestID...)
	} else {
		b = appendRequestID(b)
	}
	b = append(b, "\r\n"...)
	if hsts := g.server.d.opts.HTTPS.HSTS; g.encrypted && hsts != "" {
		b = append(b, "Strict-Transport-Security: "...)
		b = append(b, hsts...)
		b = append(b, "\r\n"...)
	}
	b, typed, ok := plan.AppendHeader(b)
	// net/http guesses the type of a body without one, and takes it from a 304.
	if !ok || (hasBody && !typed) || (typed && plan.Status == http.StatusNotModified) {
		return b, false
	}
	b = append(b, "Date: "...)
	b = g.server.dates.append(b, now)
	return append(b, "\r\n\r\n"...), true
}

// requestIDIn finds the id in a header that appendHead wrote.
func requestIDIn(out []byte) string {
	_, rest, _ := strings.Cut(string(out[:min(len(out), 256)]), "X-Request-Id: ")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id
}

// send writes an answer: in one piece when it is small, else without copying.
func (g *guardConn) send(head, body []byte, now time.Time) error {
	g.extendWrite(now, len(body))
	var err error
	switch {
	case len(body) <= copiedBytes:
		_, err = g.Conn.Write(append(head, body...))
	case g.encrypted:
		// TLS has no vectors; the first record takes what fits beside the header.
		first := max(0, copiedBytes-len(head))
		if _, err = g.Conn.Write(append(head, body[:first]...)); err == nil {
			_, err = g.Conn.Write(body[first:])
		}
	default:
		f := &g.fast
		f.room[0], f.room[1] = head, body
		f.parts = f.room[:]
		_, err = f.parts.WriteTo(g.Conn)
		f.room = [2][]byte{}
	}
	return err
}

// dates has the present as a Date header, written once a second.
type dates struct{ last atomic.Pointer[dateText] }

type dateText struct {
	second int64
	text   [len(http.TimeFormat)]byte
}

func (d *dates) append(b []byte, now time.Time) []byte {
	last := d.last.Load()
	if second := now.Unix(); last == nil || last.second != second {
		last = &dateText{second: second}
		now.UTC().AppendFormat(last.text[:0], http.TimeFormat)
		d.last.Store(last)
	}
	return append(b, last.text[:]...)
}
