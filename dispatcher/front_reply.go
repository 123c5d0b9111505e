package dispatcher

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// pendingBytes is how much of an answer of unknown length is held back: one that
	// ends before gets its length said. It is net/http's figure.
	pendingBytes = 2 << 10
	// sniffedBytes are enough for http.DetectContentType.
	sniffedBytes = 512
)

// reply writes one answer to an HTTP/1.1 client. It is an http.ResponseWriter
// with what http.ResponseController asks for but Hijack, and does what
// net/http's does. Small answers leave in one write.
type reply struct {
	g      *guardConn
	header http.Header
	// isHead says that the answer has no body, because HEAD asked for it.
	isHead bool

	// status is the answer's; 0 before WriteHeader.
	status int
	// length is the announced one, -1 for none, and written what came of it.
	length, written int64
	// open says that the head has begun but not ended, for what frames the body is
	// not known; body holds its beginning then.
	open bool
	body []byte
	// typed says that the head says what the body is, or must not.
	typed, chunked, trailers bool
	// last says that the connection ends with this answer.
	last bool
	// out waits to be sent.
	out []byte
	err error
}

func (r *reply) begin(g *guardConn, isHead bool) { r.g, r.isHead, r.length = g, isHead, -1 }

// end gives the memory back.
func (r *reply) end() {
	if cap(r.out) > keptBytes {
		r.out = nil
	}
	*r = reply{header: emptied(r.header), out: r.out[:0], body: r.body[:0]}
}

// Header is that of the answer, until WriteHeader; later its trailers.
func (r *reply) Header() http.Header { return r.header }

// WriteHeader begins the answer, or sends a 1xx one.
func (r *reply) WriteHeader(status int) {
	if r.status != 0 {
		return
	}
	if status >= 100 && status < 200 {
		r.appendStatus(status)
		r.appendFields()
		r.out = append(r.out, '\r', '\n')
		r.send(nil)
		return
	}
	r.status = status
	r.appendStatus(status)
	r.readLength()
	r.appendFields()
	if r.length < 0 && r.hasBody() || !r.typed {
		r.open = true
		return
	}
	r.closeHead(false)
}

// hasBody says that the status allows a body; HEAD leaves it out all the same.
func (r *reply) hasBody() bool {
	return r.status != http.StatusNoContent && r.status != http.StatusNotModified
}

func (r *reply) readLength() {
	if values := r.header["Content-Length"]; len(values) > 0 && r.hasBody() {
		if length, err := strconv.ParseUint(values[0], 10, 63); err == nil {
			r.length = int64(length)
		}
	}
}

func (r *reply) appendStatus(status int) {
	r.out = append(r.out, "HTTP/1.1 "...)
	r.out = strconv.AppendInt(r.out, int64(status), 10)
	r.out = append(r.out, ' ')
	if text := http.StatusText(status); text != "" {
		r.out = append(r.out, text...)
	} else {
		r.out = append(r.out, "status code "...)
		r.out = strconv.AppendInt(r.out, int64(status), 10)
	}
	r.out = append(r.out, '\r', '\n')
}

// appendFields writes the header but for what frames the body.
func (r *reply) appendFields() {
	dated := false
	r.typed, r.trailers = !r.hasBody(), false
	for name, values := range r.header {
		switch name {
		case "Content-Length", "Transfer-Encoding":
			continue
		case "Connection":
			r.last = r.last || len(values) > 0 && strings.EqualFold(values[0], "close")
			continue
		case "Content-Type":
			r.typed = true
			if r.status == http.StatusNotModified {
				continue
			}
		case "Content-Encoding":
			r.typed = r.typed || len(values) > 0 && values[0] != ""
		case "Date":
			dated = true
		case "Trailer":
			r.trailers = true
		}
		if strings.HasPrefix(name, http.TrailerPrefix) {
			r.trailers = true
			continue
		}
		for _, value := range values {
			r.appendField(name, value)
		}
	}
	if !dated && r.status != 0 {
		r.out = append(r.out, "Date: "...)
		r.out = r.g.server.dates.append(r.out, time.Now())
		r.out = append(r.out, '\r', '\n')
	}
}

// appendField leaves out what is no field, and lets no value end its line.
func (r *reply) appendField(name, value string) {
	if !isToken(name) {
		return
	}
	r.out = append(r.out, name...)
	r.out = append(r.out, ':', ' ')
	value = trimBlanks(value)
	begin := len(r.out)
	r.out = append(r.out, value...)
	for i, c := range r.out[begin:] {
		if c == '\r' || c == '\n' {
			r.out[begin+i] = ' '
		}
	}
	r.out = append(r.out, '\r', '\n')
}

// closeHead writes what frames the body. whole says that body is all of it.
func (r *reply) closeHead(whole bool) {
	r.open = false
	if !r.typed && len(r.body) > 0 {
		r.appendField("Content-Type", http.DetectContentType(r.body[:min(len(r.body), sniffedBytes)]))
	}
	switch {
	case !r.hasBody():
	case r.length < 0 && whole && !r.trailers && (!r.isHead || r.written > 0):
		r.length = r.written
		fallthrough
	case r.length >= 0:
		r.out = append(r.out, "Content-Length: "...)
		r.out = strconv.AppendInt(r.out, r.length, 10)
		r.out = append(r.out, '\r', '\n')
	case !r.isHead:
		r.chunked = true
		r.out = append(r.out, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.last {
		r.out = append(r.out, "Connection: close\r\n"...)
	}
	r.out = append(r.out, '\r', '\n')
	if len(r.body) > 0 {
		body := r.body
		r.body = r.body[:0]
		r.pass(body)
	}
}

// Write takes a part of the body.
func (r *reply) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	size := len(p)
	switch {
	case size == 0:
		return 0, r.err
	case !r.hasBody():
		return 0, http.ErrBodyNotAllowed
	case r.length >= 0 && r.written+int64(size) > r.length:
		return 0, http.ErrContentLength
	}
	r.written += int64(size)
	if r.open {
		room := min(size, pendingBytes-len(r.body))
		r.body = append(r.body, p[:room]...)
		if p = p[room:]; len(p) == 0 {
			return size, r.err
		}
		r.closeHead(false)
	}
	r.pass(p)
	return size, r.err
}

// pass sends a part of the body, or keeps it until there is more to send.
func (r *reply) pass(p []byte) {
	if r.isHead {
		return
	}
	if r.chunked {
		r.out = strconv.AppendInt(r.out, int64(len(p)), 16)
		r.out = append(r.out, '\r', '\n')
	}
	if len(r.out)+len(p) <= copiedBytes {
		r.out = append(r.out, p...)
	} else {
		r.send(p)
	}
	if r.chunked {
		r.out = append(r.out, '\r', '\n')
	}
}

// send writes what waits and p behind it.
func (r *reply) send(p []byte) {
	switch {
	case r.err != nil || len(r.out)+len(p) == 0:
	case len(r.out) == 0:
		_, r.err = r.g.Write(p)
	default:
		r.err = r.g.send(r.out, p, time.Now())
	}
	r.out = r.out[:0]
}

// ReadFrom lets the kernel copy a body whose length is known.
func (r *reply) ReadFrom(from io.Reader) (n int64, err error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.open || r.chunked || r.isHead || !r.hasBody() {
		return io.Copy(struct{ io.Writer }{r}, from)
	}
	if r.send(nil); r.err != nil {
		return 0, r.err
	}
	n, err = r.g.ReadFrom(from)
	r.written += n
	if err != nil {
		r.err = err
	}
	return n, err
}

// FlushError sends what there is.
func (r *reply) FlushError() error {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.open {
		r.closeHead(false)
	}
	r.send(nil)
	return r.err
}

// Flush is FlushError.
func (r *reply) Flush() { _ = r.FlushError() }

// SetWriteDeadline bounds the sending of what is written from now on.
func (r *reply) SetWriteDeadline(t time.Time) error { return r.g.SetWriteDeadline(t) }

// finish sends the rest of the answer and says whether another may follow it.
func (r *reply) finish() (more bool) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.open {
		r.closeHead(true)
	}
	if r.chunked {
		r.out = append(r.out, "0\r\n"...)
		r.appendTrailers()
		r.out = append(r.out, '\r', '\n')
	}
	r.send(nil)
	return r.err == nil && !r.last && (r.length < 0 || r.isHead || r.written == r.length)
}

// appendTrailers writes the announced trailers, and those that came unannounced.
func (r *reply) appendTrailers() {
	for _, list := range r.header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			for _, value := range r.header[name] {
				if validTrailer(name + ":") {
					r.appendField(name, value)
				}
			}
		}
	}
	for name, values := range r.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			for _, value := range values {
				r.appendField(name, value)
			}
		}
	}
}
