package upstream

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// conn is a connection to the server.
type conn struct {
	net.Conn
	// raw reaches the socket below, nil when there is none.
	raw syscall.RawConn
	// peek is raw.Read's argument, made once: whether the socket is as idle as it
	// should be.
	peek func(fd uintptr) bool
	idle bool
	// used says that a request went over it before.
	used bool
	// since is when it became idle.
	since time.Time
	// until is the read deadline that is set, zero for none.
	until time.Time
}

// surelyQuiet is how long an idle connection is taken to be as it was left. A
// look at the socket would cost a busy one a tenth of a request.
const surelyQuiet = 10 * time.Millisecond

func newConn(c net.Conn) *conn {
	connection := &conn{Conn: c}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return connection
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return connection
	}
	connection.raw = raw
	connection.peek = func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		connection.idle = err == syscall.EAGAIN
		return true
	}
	return connection
}

// quiet says that nothing waits to be read: neither the end of the connection,
// nor bytes that nobody asked for and that would be taken for the next answer.
func (c *conn) quiet() bool {
	if c.raw == nil || time.Since(c.since) < surelyQuiet {
		return true
	}
	c.patient()
	c.idle = false
	err := c.raw.Read(c.peek)
	return err == nil && c.idle
}

// await bounds the next reads by timeout, or up to a quarter more: a timer set
// for each request would cost more than it is worth.
func (c *conn) await(timeout time.Duration) {
	now := time.Now()
	if left := c.until.Sub(now); left < timeout || left > timeout/4*5 {
		c.until = now.Add(timeout / 4 * 5)
		_ = c.SetReadDeadline(c.until)
	}
}

// patient takes the bound off.
func (c *conn) patient() {
	if !c.until.IsZero() {
		c.until = time.Time{}
		_ = c.SetReadDeadline(time.Time{})
	}
}

// pool keeps idle connections. The one used last is given out first, so that
// after a rush the others get old and are closed.
type pool struct {
	max     int
	timeout time.Duration

	mu     sync.Mutex
	idle   []*conn
	timer  *time.Timer
	closed bool
}

// connect gives a connection of the pool, else a new one.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	for {
		kept := c.pool.take()
		if kept == nil {
			return c.dial(ctx)
		}
		if kept.quiet() {
			return kept, nil
		}
		_ = kept.Close()
	}
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	dialled, err := c.options.Dial(ctx)
	if err != nil {
		stage := StageDial
		if ctx.Err() != nil {
			stage = StageClient
		}
		return nil, &Error{Stage: stage, Err: err}
	}
	return newConn(dialled), nil
}

func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	kept := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return kept
}

func (p *pool) put(c *conn) {
	c.used, c.since = true, time.Now()
	p.mu.Lock()
	if p.closed || len(p.idle) >= p.max {
		p.mu.Unlock()
		_ = c.Close()
		return
	}
	p.idle = append(p.idle, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.timeout, p.prune)
	}
	p.mu.Unlock()
}

// prune closes what has been idle for too long, the oldest of which come first,
// and comes back when the next may have.
func (p *pool) prune() {
	p.mu.Lock()
	limit := time.Now().Add(-p.timeout)
	old := 0
	for old < len(p.idle) && !p.idle[old].since.After(limit) {
		old++
	}
	expired := append([]*conn(nil), p.idle[:old]...)
	p.idle = append(p.idle[:0], p.idle[old:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	p.timer = nil
	if len(p.idle) > 0 && !p.closed {
		p.timer = time.AfterFunc(time.Until(p.idle[0].since.Add(p.timeout)), p.prune)
	}
	p.mu.Unlock()
	for _, c := range expired {
		_ = c.Close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}
