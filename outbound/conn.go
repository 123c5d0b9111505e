package outbound

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection to the outside that counts what moves and ends when
// nothing does. A long upload receives nothing and a long download sends
// nothing, so only silence both ways counts.
type conn struct {
	net.Conn
	organization *organization
	idle         time.Duration
	// last is when something moved, in nanoseconds since 1970.
	last  atomic.Int64
	close func() error
}

func newConn(inner net.Conn, o *organization, idle time.Duration) *conn {
	c := &conn{Conn: inner, organization: o, idle: idle}
	c.last.Store(time.Now().UnixNano())
	c.close = sync.OnceValue(func() error {
		o.sockets.Add(-1)
		return inner.Close()
	})
	return c
}

// Read reads, and waits on when the time is up but something was written meanwhile.
func (c *conn) Read(b []byte) (int, error) {
	for {
		last := time.Unix(0, c.last.Load())
		if err := c.Conn.SetReadDeadline(last.Add(c.idle)); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(b)
		if n > 0 {
			c.last.Store(time.Now().UnixNano())
			c.organization.received.Add(int64(n))
		}
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && time.Unix(0, c.last.Load()).After(last) {
			continue
		}
		return n, err
	}
}

// Write fails when the other side takes nothing for as long as a silence may last.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.last.Store(time.Now().UnixNano())
		c.organization.sent.Add(int64(n))
	}
	return n, err
}

// Close closes once, however often it is called.
func (c *conn) Close() error { return c.close() }

// CloseWrite passes a half-close on.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite half-closes where that exists, and closes otherwise.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
