package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// halfOpen is how long a tunnel of which one direction has ended may be
	// silent in the other.
	halfOpen = 30 * time.Second
	// tunnelHeadTime bounds the writing of the answer's head.
	tunnelHeadTime = 10 * time.Second
)

// tunnel takes the client's connection over and joins it with the server's.
func (x *exchange) tunnel(c *conn, s *scratch) error {
	header := x.w.Header()
	s.head.apply(header)
	if x.f.Answer != nil {
		x.f.Answer(s.head.status, header)
	}
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return &Error{Stage: StageClient, Err: err}
	}
	x.began = true
	defer func() { _ = client.Close() }()
	out := append(s.out[:0], "HTTP/1.1 101 Switching Protocols\r\n"...)
	for name, values := range header {
		if hopByHop(name) || private(name) {
			continue
		}
		for _, value := range values {
			if validToken(name) && validValue(value) {
				out = appendField(out, name, value)
			}
		}
	}
	out = append(out, "Connection: Upgrade\r\nUpgrade: "...)
	out = append(out, x.upgrade...)
	out = append(out, "\r\n\r\n"...)
	s.out = append(out, s.unread()...) // what the server said already
	s.begin = s.end
	_ = client.SetWriteDeadline(time.Now().Add(tunnelHeadTime))
	if _, err = client.Write(s.out); err != nil {
		return &Error{Stage: StageClient, Err: err}
	}
	_ = client.SetWriteDeadline(time.Time{})
	if early := buffered.Reader.Buffered(); early > 0 {
		bytes, _ := buffered.Reader.Peek(early)
		if _, err = c.Write(bytes); err != nil {
			return &Error{Stage: StageBody, Err: err}
		}
	}
	return join(client, c.Conn, x.f.Pace.Grace)
}

// join copies both ways until both directions have ended. An end is passed on as
// a half-close; a failure ends both.
func join(client, server net.Conn, grace time.Duration) error {
	var ended atomic.Bool
	var up, down error
	var both sync.WaitGroup
	both.Go(func() { up = pump(server, client, &ended, 0) })
	down = pump(client, server, &ended, grace)
	both.Wait()
	if err := errors.Join(up, down); err != nil {
		return &Error{Stage: StageBody, Err: fmt.Errorf("tunnel: %w", err)}
	}
	return nil
}

// pump copies one direction. grace bounds each write, 0 is no bound.
func pump(to, from net.Conn, ended *atomic.Bool, grace time.Duration) (err error) {
	buffer := uploadBuffers.Get().(*[]byte)
	defer uploadBuffers.Put(buffer)
	defer func() {
		ended.Store(true)
		if err != nil {
			_, _ = to.Close(), from.Close()
			return
		}
		if half, ok := to.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
			_ = to.Close()
		}
		// Wakes the other direction, which then waits on a deadline.
		_ = to.SetReadDeadline(time.Now().Add(halfOpen))
	}()
	for {
		if ended.Load() {
			_ = from.SetReadDeadline(time.Now().Add(halfOpen))
		}
		n, err := from.Read(*buffer)
		if n > 0 {
			if grace > 0 {
				_ = to.SetWriteDeadline(time.Now().Add(grace))
			}
			if _, err := to.Write((*buffer)[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
