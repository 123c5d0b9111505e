package dispatcher

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// guardConn stands between a connection and net/http's server. It reads request
// heads itself, refuses what two parsers could read in two ways, answers what it
// can (see fast), and gives net/http the bytes of one whole checked request at a
// time, never a byte of the next one before the answer to this one has ended.
//
// Read is called by one goroutine at a time: by net/http's own between requests,
// and by whoever reads the body or watches for a disconnect during one.
type guardConn struct {
	net.Conn
	server    *Server
	encrypted bool
	// release gives back what the connection counts against.
	release func()

	// buf[start:end] was read and not given away. Of it, deliver bytes are
	// checked, and scanned are known to hold no end of a head.
	buf                          []byte
	start, end, deliver, scanned int
	phase                        guardPhase
	// busy says that net/http has a request it has not finished answering.
	busy bool
	// fresh says that no request came yet, partial that fill waits for the rest of one.
	fresh, partial bool
	// swallow says that an empty line may come before the next request: old
	// clients send one after a body (RFC 9112 §2.2).
	swallow bool
	broken  error

	body bodyFrame
	// received is the body's content so far and waited the time spent waiting for it.
	received int64
	waited   time.Duration

	state atomic.Int32
	// parked wakes a Read that waits for the present answer to end.
	parked chan struct{}

	deadlines sync.Mutex
	// readAsked and writeAsked are what net/http or a handler set, read and
	// write what this connection set for itself; the earlier one counts.
	readAsked, read, writeAsked, write time.Time

	fast    fastState
	absence absence
}

type guardPhase int8

const (
	// phaseHead: the next byte belongs to a request head.
	phaseHead guardPhase = iota
	// phaseBody: it belongs to the present request's body.
	phaseBody
	// phaseRaw: the connection was upgraded, or speaks HTTP/2.
	phaseRaw
)

// The states tell Shutdown what it would interrupt.
const (
	stateWaiting int32 = iota
	stateAnswering
	stateHanded // to net/http, which knows by itself
	stateClosing
)

const (
	firstBuffer = 4 << 10
	// lingerTime and lingerBytes bound what is read from a client after it was
	// refused, so that it sees why: closing at once would reset the connection.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// preface begins an HTTP/2 connection with prior knowledge (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\n"

// tlsGuardConn tells net/http about TLS, which it must not hear of otherwise.
type tlsGuardConn struct{ *guardConn }

// ConnectionState is that of the TLS connection.
func (g tlsGuardConn) ConnectionState() tls.ConnectionState {
	return g.Conn.(*tls.Conn).ConnectionState()
}

func (g *guardConn) guard() *guardConn { return g }

// Read gives net/http what it may see of the connection.
func (g *guardConn) Read(p []byte) (int, error) {
	for {
		switch {
		case g.broken != nil:
			return 0, g.broken
		case g.deliver > 0:
			n := copy(p, g.buf[g.start:g.start+g.deliver])
			g.start += n
			g.deliver -= n
			return n, nil
		case g.phase == phaseRaw:
			if g.start < g.end {
				n := copy(p, g.buf[g.start:g.end])
				g.start += n
				return n, nil
			}
			return g.Conn.Read(p)
		case g.phase == phaseBody:
			return g.readBody(p)
		case g.busy:
			return 0, g.watch()
		}
		if err := g.nextHead(); err != nil {
			return 0, err
		}
	}
}

// nextHead waits for a request that is net/http's to answer, and answers those
// before it.
func (g *guardConn) nextHead() error {
	for {
		size, f := g.scanHead()
		if f != nil {
			return g.refuse(f)
		}
		if size == 0 {
			if err := g.fill(); err != nil {
				return err
			}
			continue
		}
		if g.fresh && string(g.buf[g.start:g.start+size]) == preface && !g.encrypted {
			g.phase = phaseRaw
			return g.hand()
		}
		g.fresh, g.partial, g.scanned = false, false, 0
		h := &g.fast.head
		if f := h.parse(string(g.buf[g.start : g.start+size])); f != nil {
			return g.refuse(f)
		}
		g.start += size
		answered, err := g.answer(h)
		if err != nil {
			return err
		}
		if answered {
			continue
		}
		g.start -= size
		g.deliver, g.busy = size, true
		if h.chunked || h.length > 0 {
			g.phase, g.body = phaseBody, bodyFrame{chunked: h.chunked, left: max(h.length, 0)}
			g.received, g.waited, g.swallow = 0, 0, true
		}
		return g.hand()
	}
}

// hand leaves the connection to net/http, deadlines included.
func (g *guardConn) hand() error {
	if !g.state.CompareAndSwap(stateWaiting, stateHanded) {
		return io.EOF
	}
	g.limitRead(time.Time{})
	return nil
}

// idle is called when net/http has answered a request and waits for the next.
func (g *guardConn) idle() {
	g.busy = false
	if g.phase == phaseBody || g.broken != nil {
		// The rest of the body would be taken for a request.
		g.broken = io.EOF
	}
	g.deadlines.Lock()
	g.readAsked = time.Time{}
	g.deadlines.Unlock()
	g.state.CompareAndSwap(stateHanded, stateWaiting)
}

// scanHead gives the size of the head that the buffer begins with, 0 when it is
// not complete. Every line must end with CRLF.
func (g *guardConn) scanHead() (size int, f *fault) {
	if g.swallow && g.end-g.start >= 2 {
		g.swallow = false
		if g.buf[g.start] == '\r' && g.buf[g.start+1] == '\n' {
			g.start += 2
		}
	}
	data := g.buf[g.start:g.end]
	if len(data) > 0 && !isTokenByte[data[0]] && !g.swallow {
		return 0, faultLine
	}
	limit := g.server.limits.HeaderBytes
	for g.scanned < len(data) {
		at := bytes.IndexByte(data[g.scanned:], '\n')
		if at < 0 {
			break
		}
		at += g.scanned
		if at == 0 || data[at-1] != '\r' {
			return 0, malformed("A line does not end with CR and LF.")
		}
		g.scanned = at + 1
		if at >= 3 && data[at-2] == '\n' {
			if at >= limit {
				return 0, headTooLarge(data)
			}
			return at + 1, nil
		}
	}
	if len(data) >= limit {
		return 0, headTooLarge(data)
	}
	return 0, nil
}

func headTooLarge(data []byte) *fault {
	if bytes.IndexByte(data, '\n') < 0 {
		return &fault{http.StatusRequestURITooLong, "Request target is too long", ""}
	}
	return &fault{http.StatusRequestHeaderFieldsTooLarge, "Request header is too large", ""}
}

// fill reads more of a head, which has HeaderTimeout from its first byte; the
// first one has it from the beginning of the connection.
func (g *guardConn) fill() error {
	g.room(g.server.limits.HeaderBytes)
	now := time.Now()
	limits := &g.server.limits
	switch begun := g.end > g.start; {
	case g.fresh && g.read.IsZero(), begun && !g.partial && !g.fresh:
		g.partial = begun
		g.limitRead(now.Add(limits.HeaderTimeout))
	case !begun && !g.fresh && g.read.Sub(now) < limits.IdleTimeout/4*3:
		// A timer for each request would cost more than it is worth: the
		// connection may stay idle for the time set, or a quarter less.
		g.limitRead(now.Add(limits.IdleTimeout))
	}
	if g.state.Load() == stateClosing {
		return io.EOF // drain's deadline may have been set before this one
	}
	n, err := g.Conn.Read(g.buf[g.end:])
	g.end += n
	if n > 0 {
		return nil
	}
	return err
}

// room makes space for reading behind end.
func (g *guardConn) room(limit int) {
	switch {
	case g.buf == nil:
		g.buf = make([]byte, firstBuffer)
	case g.start == g.end:
		g.start, g.end = 0, 0
	case g.end < len(g.buf):
	case g.start > 0:
		g.end = copy(g.buf, g.buf[g.start:g.end])
		g.start = 0
	default:
		// One byte more than a head may have tells that it has more.
		larger := make([]byte, min(2*len(g.buf), max(limit, firstBuffer)+1))
		g.end = copy(larger, g.buf[:g.end])
		g.buf = larger
	}
}

// readBody gives net/http bytes of the body and no more.
func (g *guardConn) readBody(p []byte) (int, error) {
	if !g.body.chunked && int64(len(p)) > g.body.left {
		p = p[:g.body.left]
	}
	buffered := g.start < g.end
	var n int
	if buffered {
		n = copy(p, g.buf[g.start:g.end])
	} else {
		began := time.Now()
		g.limitRead(began.Add(g.server.limits.bodyTime(g.received) - g.waited))
		var err error
		n, err = g.Conn.Read(p)
		g.waited += time.Since(began)
		if err != nil && n == 0 {
			return 0, err
		}
	}
	used, content, done, err := g.body.advance(p[:n])
	if g.received += content; g.body.chunked && err == nil && g.received > g.server.limits.RequestBytes {
		err = &http.MaxBytesError{Limit: g.server.limits.RequestBytes}
	}
	if err != nil {
		// There is no telling where the next request begins.
		g.broken = err
		return 0, err
	}
	if buffered {
		g.start += used
	} else if used < n {
		// A pipelined request came with the last chunk.
		g.start, g.end = 0, 0
		if len(g.buf) < n-used {
			g.buf = make([]byte, max(firstBuffer, n-used))
		}
		g.end = copy(g.buf, p[used:n])
	}
	if done {
		g.phase = phaseHead
		g.limitRead(time.Time{})
	}
	return used, nil
}

// watch is a Read while a request is being answered, which net/http does to
// learn that the client left. What comes is kept for later; then it waits until
// net/http ends the read, because the next request is not its business yet.
func (g *guardConn) watch() error {
	if g.start == g.end {
		g.room(firstBuffer)
		n, err := g.Conn.Read(g.buf[g.end:])
		g.end += n
		if n == 0 && err != nil {
			return err
		}
	}
	<-g.parked
	return os.ErrDeadlineExceeded
}

// refuse answers a request that is no request, and ends the connection.
func (g *guardConn) refuse(f *fault) error {
	g.broken = io.EOF
	d, id, now := g.server.d, newRequestID(), time.Now()
	if d.access.wants(f.status) {
		d.access.write(&access{requestID: id, status: f.status, client: g.RemoteAddr().String(), began: now})
	}
	d.measures.answered(answerRefused, f.status, 0)
	g.limitWrite(now.Add(lingerTime))
	if _, err := g.Conn.Write(d.refusal(f, id)); err != nil {
		return io.EOF
	}
	if g.CloseWrite() == nil {
		g.limitRead(time.Now().Add(lingerTime))
		_, _ = io.Copy(io.Discard, io.LimitReader(g.Conn, lingerBytes))
	}
	return io.EOF
}

// Write sends part of an answer. A client that does not read is given SlowGrace,
// and the time for what is written at SlowRate, for each write.
func (g *guardConn) Write(p []byte) (int, error) {
	if g.phase != phaseRaw {
		g.extendWrite(time.Now(), len(p))
	}
	return g.Conn.Write(p)
}

// ReadFrom lets the kernel copy files. The caller sets the deadline.
func (g *guardConn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := g.Conn.(io.ReaderFrom); ok {
		g.limitWrite(time.Time{})
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{g}, r)
}

// CloseWrite ends our side of the connection.
func (g *guardConn) CloseWrite() error {
	if conn, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close ends the connection. An answer of our own under way is finished first:
// net/http does not know of it and takes the connection for idle.
func (g *guardConn) Close() error {
	if g.state.CompareAndSwap(stateAnswering, stateClosing) && !g.server.hard.Load() {
		return nil
	}
	g.state.Store(stateClosing)
	select {
	case g.parked <- struct{}{}:
	default:
	}
	g.absence.sure()
	g.server.forget(g)
	g.release()
	return g.Conn.Close()
}

// drain ends the connection when nothing is under way on it.
func (g *guardConn) drain() {
	if g.state.CompareAndSwap(stateWaiting, stateClosing) {
		_ = g.Conn.SetReadDeadline(past)
	}
}
