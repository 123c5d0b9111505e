package egress

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// maxForwarded bounds connections at a time; more wait to be accepted.
const maxForwarded = 512

// Forward carries every connection the listener accepts to a unix socket and
// back until the listener closes. It runs inside a sandbox that has no network
// of its own, where programs can name a proxy only by host and port.
func Forward(listener net.Listener, socket string) {
	slots := make(chan struct{}, maxForwarded)
	for {
		slots <- struct{}{}
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors or memory, which a build can bring about:
			// both come back.
			<-slots
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go func() {
			defer func() { <-slots }()
			forwardOne(conn, socket)
		}()
	}
}

func forwardOne(conn net.Conn, socket string) {
	defer conn.Close()
	upstream, err := net.Dial("unix", socket)
	if err != nil {
		answerUnreachable(conn)
		return
	}
	defer upstream.Close()
	splice(conn, upstream)
}

// answerUnreachable says what a build's tools will show. Closing with a request
// unread would reset the connection and take the answer along.
func answerUnreachable(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	// Clients may take an answer that comes before their request for a fault.
	_, _ = conn.Read(make([]byte, 1))
	_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"+
		"The platform's registry proxy is not reachable; the build has to be started again.\n")
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 64<<10))
}

// splice copies both ways until both ends are done, passing on half-closes.
func splice(a, b net.Conn) {
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, err := io.Copy(pair[0], pair[1])
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
