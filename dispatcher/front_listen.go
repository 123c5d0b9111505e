package dispatcher

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// guardListener puts a guard before each connection of a listener.
type guardListener struct {
	net.Listener
	server *Server
}

// Accept waits for a connection whose client may have one more.
func (l *guardListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if release, ok := l.server.admit(conn); ok {
			return l.server.guard(conn, release), nil
		}
		_ = conn.Close()
	}
}

// tlsListener gives connections whose handshake is done, so that a slow one
// keeps nobody waiting and the agreed protocol decides who answers.
type tlsListener struct {
	net.Listener
	server *Server
	config *tls.Config
	ready  chan net.Conn
	// ctx ends when the listener is closed, and handshakes with it.
	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
}

func newTLSListener(s *Server, l net.Listener, config *tls.Config) *tlsListener {
	t := &tlsListener{Listener: l, server: s, config: config, ready: make(chan net.Conn)}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.running.Go(t.accept)
	return t
}

// Accept waits for a connection that speaks HTTP.
func (t *tlsListener) Accept() (net.Conn, error) {
	select {
	case conn := <-t.ready:
		return conn, nil
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	}
}

// Close ends listening and the handshakes under way.
func (t *tlsListener) Close() error {
	err := t.Listener.Close()
	t.cancel(net.ErrClosed)
	t.running.Wait()
	return err
}

const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

func (t *tlsListener) accept() {
	pause := firstAcceptPause
	for {
		conn, err := t.Listener.Accept()
		switch {
		case err == nil:
			pause = firstAcceptPause
			t.running.Go(func() { t.handshake(conn) })
			continue
		case isExhausted(err):
			// Out of descriptors, for one: connections that end give some back.
			t.server.d.opts.Log.WithError(err).Warn("cannot accept connections, trying again")
			select {
			case <-time.After(pause):
			case <-t.ctx.Done():
				return
			}
			pause = min(2*pause, maxAcceptPause)
		default:
			t.cancel(err)
			return
		}
	}
}

// isExhausted says that accepting failed for want of something that comes back.
func isExhausted(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func (t *tlsListener) handshake(conn net.Conn) {
	release, ok := t.server.admit(conn)
	if !ok {
		_ = conn.Close()
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.server.limits.HeaderTimeout)
	defer cancel()
	counted := &countedConn{conn, release}
	secured := tls.Server(counted, t.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = counted.Close()
		return
	}
	var ready net.Conn
	switch secured.ConnectionState().NegotiatedProtocol {
	case "h2":
		// net/http looks for this very type.
		ready = secured
	case "http/1.1", "":
		ready = tlsGuardConn{t.server.guard(secured, func() {})}
	default:
		_ = secured.Close()
		return
	}
	select {
	case t.ready <- ready:
	case <-t.ctx.Done():
		_ = ready.Close()
	}
}

// countedConn gives back its place among its client's connections.
type countedConn struct {
	net.Conn
	release func()
}

// Close ends the connection.
func (c *countedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
