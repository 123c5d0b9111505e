package dispatcher

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Most requests to workers have no body and want no other protocol. The guard
// serves those itself, by the same handler: what net/http makes for one request
// (a goroutine that waits for the client to leave, timers, header maps, copies
// through two buffers) costs more than all that the dispatcher does with it.
// front_serve_test.go compares what clients and workers see with net/http's way.

// serving is the memory of one request being served. It is used again, so that a
// handler must keep nothing of a request's header when it returns.
type serving struct {
	request http.Request
	// values has the header's values; those that came once are slices of it.
	values []string
	reply  reply
}

var servings = sync.Pool{New: func() any {
	s := &serving{values: make([]string, 0, 32)}
	s.request.Header = make(http.Header)
	s.reply.header = make(http.Header)
	return s
}}

// serve answers a request by the dispatcher's handler. Its head has been taken
// out of the buffer. Not answered leaves it to net/http; an error ends the
// connection.
func (g *guardConn) serve(h *head) (answered bool, err error) {
	target := plainURL(h.target)
	if target == nil {
		if target, err = url.ParseRequestURI(h.target); err != nil {
			return false, nil
		}
	}
	if !g.state.CompareAndSwap(stateWaiting, stateAnswering) {
		return false, io.EOF
	}
	s := servings.Get().(*serving)
	s.begin(g, h, target)
	v := new(visit)
	g.absence.begin(g, v)
	whole := false
	defer func() {
		if defect := recover(); defect != nil && defect != http.ErrAbortHandler { //nolint:errorlint // what a panic carries is this very value
			_, _ = serverLog{g.server.d.opts.Log}.Write(fmt.Appendf(nil, "http: panic serving %s: %v\n%s", g.fast.remote, defect, debug.Stack()))
		}
		g.absence.end(g)
		v.end()
		s.end()
		if !g.state.CompareAndSwap(stateAnswering, stateWaiting) || !whole {
			g.broken = io.EOF
		}
		err = g.broken
	}()
	g.server.d.ServeHTTP(&s.reply, s.request.WithContext(v))
	whole = s.reply.finish()
	return true, nil
}

// plainURL is url.ParseRequestURI for targets that say nothing in two ways, and nil
// for others.
func plainURL(target string) *url.URL {
	for i := 0; i < len(target); i++ {
		switch c := target[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '/', c == '-', c == '.', c == '_':
		case c == '?' && i+1 < len(target):
			return &url.URL{Path: target[:i], RawQuery: target[i+1:]}
		default:
			return nil
		}
	}
	return &url.URL{Path: target}
}

// begin makes the request that net/http would make of the head.
func (s *serving) begin(g *guardConn, h *head, target *url.URL) {
	f := &g.fast
	if f.remote == "" {
		f.remote = g.RemoteAddr().String()
		if secured, ok := g.Conn.(*tls.Conn); ok {
			state := secured.ConnectionState()
			f.tls = &state
		}
	}
	s.request = http.Request{
		Method: h.method, URL: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: s.request.Header, Body: http.NoBody,
		Host: h.host, RemoteAddr: f.remote, RequestURI: h.target, TLS: f.tls,
	}
	s.readHeader(h.text)
	s.reply.begin(g, h.method == http.MethodHead)
	if hsts := g.server.d.opts.HTTPS.HSTS; g.encrypted && hsts != "" {
		s.reply.header["Strict-Transport-Security"] = []string{hsts}
	}
}

// readHeader reads the lines of a checked head.
func (s *serving) readHeader(text string) {
	header := s.request.Header
	for {
		text = text[strings.IndexByte(text, '\n')+1:]
		end := strings.IndexByte(text, '\r')
		if end <= 0 {
			break
		}
		name, value, _ := strings.Cut(text[:end], ":")
		if name = http.CanonicalHeaderKey(name); name == "Host" {
			continue
		}
		if there, ok := header[name]; ok {
			header[name] = append(there, trimBlanks(value))
			continue
		}
		s.values = append(s.values, trimBlanks(value))
		last := len(s.values)
		header[name] = s.values[last-1 : last : last]
	}
	// As net/http has it (RFC 9111 §5.4).
	if pragma := header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" {
		if _, told := header["Cache-Control"]; !told {
			header["Cache-Control"] = []string{"no-cache"}
		}
	}
}

// end gives the memory back without what it holds of the request.
func (s *serving) end() {
	s.request = http.Request{Header: emptied(s.request.Header)}
	clear(s.values)
	s.values = s.values[:0]
	s.reply.end()
	servings.Put(s)
}

// keptFields and keptBytes bound the memory that is used again: one strange request
// or answer would make all that follow dearer.
const (
	keptFields = 64
	keptBytes  = 2 * copiedBytes
)

func emptied(header http.Header) http.Header {
	if len(header) > keptFields {
		return make(http.Header)
	}
	clear(header)
	return header
}

// stayTime is how long a client is taken to stay. Most answers come sooner, and
// watching costs a goroutine.
const stayTime = 50 * time.Millisecond

// absence notices that the client leaves while its request is being served. One
// timer, set now and then, serves all requests of a connection.
type absence struct {
	mu    sync.Mutex
	timer *time.Timer
	// set says that the timer runs.
	set   bool
	began time.Time
	// served is the request that is being served; nil when there is none.
	served *visit
	// reading is closed when nobody reads the connection for us any more; nil when
	// nobody does.
	reading chan struct{}
}

func (a *absence) begin(g *guardConn, v *visit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.served, a.began = v, time.Now()
	switch {
	case a.set:
	case a.timer == nil:
		a.timer = time.AfterFunc(stayTime, func() { a.look(g) })
	default:
		a.timer.Reset(stayTime)
	}
	a.set = true
}

// look is called by the timer. When a request has been served for long, it reads
// until the client sends or leaves, or the answer has ended.
func (a *absence) look(g *guardConn) {
	a.mu.Lock()
	if took := time.Since(a.began); a.served != nil && took < stayTime {
		a.timer.Reset(stayTime - took)
		a.mu.Unlock()
		return
	}
	a.set = false
	// A client that has sent the next request could only be seen to leave after it.
	if a.served == nil || g.start < g.end {
		a.mu.Unlock()
		return
	}
	served, done := a.served, make(chan struct{})
	a.reading = done
	g.limitRead(time.Time{})
	a.mu.Unlock()
	defer close(done)
	g.room(firstBuffer)
	n, err := g.Conn.Read(g.buf[g.end:])
	g.end += n
	if n == 0 && err != nil {
		served.end()
	}
}

// sure says that there is no client any more: its connection is closed.
func (a *absence) sure() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.served != nil {
		a.served.end()
	}
}

// end gives the connection back to be read.
func (a *absence) end(g *guardConn) {
	a.mu.Lock()
	reading := a.reading
	a.served, a.reading = nil, nil
	a.mu.Unlock()
	if reading == nil {
		return
	}
	g.limitRead(past)
	<-reading
	g.limitRead(time.Time{})
}

// visit is the context of a request that the guard serves. It ends with the answer
// or when the client leaves. One of package context's costs several allocations
// more, most of them for whoever wants to be called when it ends.
type visit struct {
	mu    sync.Mutex
	done  chan struct{}
	ended bool
	// after is what AfterFunc was called with last, and turn how often it was called.
	after func()
	turn  int
}

// end ends the visit; again does nothing.
func (v *visit) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return
	}
	v.ended = true
	if v.done != nil {
		close(v.done)
	}
	if v.after != nil {
		go v.after()
		v.after = nil
	}
}

// Deadline says that there is none.
func (v *visit) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done is closed when the visit has ended.
func (v *visit) Done() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.done == nil {
		v.done = make(chan struct{})
		if v.ended {
			close(v.done)
		}
	}
	return v.done
}

// Err is context.Canceled when the visit has ended.
func (v *visit) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return context.Canceled
	}
	return nil
}

// Value knows nothing.
func (v *visit) Value(any) any { return nil }

// AfterFunc is what context.AfterFunc promises. Package context looks for it, and
// so does package upstream.
func (v *visit) AfterFunc(f func()) (stop func() bool) {
	v.mu.Lock()
	if v.ended || v.after != nil {
		v.mu.Unlock()
		return context.AfterFunc(struct{ context.Context }{v}, f) // which asks for Done
	}
	v.turn++
	v.after = f
	turn := v.turn
	v.mu.Unlock()
	return func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.after == nil || v.turn != turn {
			return false
		}
		v.after = nil
		return true
	}
}
