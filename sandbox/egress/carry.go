package egress

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var errVolume = errors.New("network volume used up")

// carry copies both ways until both sides are done, nothing moved for the idle
// timeout, or the volume is used up.
func (p *Proxy) carry(a, b net.Conn) {
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			err := p.copy(pair[0], pair[1], &last)
			if half, ok := pair[0].(interface{ CloseWrite() error }); ok && err == nil {
				_ = half.CloseWrite()
				return
			}
			pair[0].Close()
			pair[1].Close()
		})
	}
	both.Wait()
}

// copy moves bytes one way. A read that times out is the end only when the
// other direction was silent too: a long download sends nothing upwards.
func (p *Proxy) copy(to, from net.Conn, last *atomic.Int64) error {
	buffer := make([]byte, 32<<10)
	for {
		idleSince := time.Unix(0, last.Load())
		_ = from.SetReadDeadline(idleSince.Add(p.options.IdleTimeout))
		n, err := from.Read(buffer)
		if n > 0 {
			last.Store(time.Now().UnixNano())
			if p.bytes.Add(int64(n)) > p.options.MaxBytes {
				return errVolume
			}
			_ = to.SetWriteDeadline(time.Now().Add(p.options.IdleTimeout))
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() &&
			time.Since(time.Unix(0, last.Load())) < p.options.IdleTimeout {
			continue
		}
		if err != nil {
			return err
		}
	}
}

// LimitListener accepts at most n connections at a time; the rest wait. Its
// connections pass half-closes on.
func LimitListener(listener net.Listener, n int) net.Listener {
	return &limited{Listener: listener, slots: make(chan struct{}, n), done: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// CloseWrite passes a half-close on.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
