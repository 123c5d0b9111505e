package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/upstream"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestPool_closedConnectionIsReplaced(t *testing.T) {
	f := newFront(t, sayAndClose(t, ok), false)
	for range 5 {
		require.Contains(t, f.send(get), "\r\n\r\nok")
		require.NoError(t, f.err())
	}
}

// dropsSecond answers the first request of each of the first connections, reads
// the second and hangs up: a connection that dies while it is being used.
func dropsSecond(t *testing.T, requests *atomic.Int64) net.Listener {
	return script(t, func(conn net.Conn, in *bufio.Reader) {
		for i := 0; ; i++ {
			head, err := readHead(in)
			if err != nil || i == 1 {
				return
			}
			if strings.HasPrefix(head, "POST") {
				_, _ = io.CopyN(io.Discard, in, 2)
			}
			requests.Add(1)
			_, _ = io.WriteString(conn, ok)
		}
	})
}

func TestPool_safeRequestIsSentAgainOnce(t *testing.T) {
	var requests atomic.Int64
	f := newFront(t, dropsSecond(t, &requests), false)
	require.Contains(t, f.send(get), "\r\n\r\nok")
	require.NoError(t, f.err())
	require.Contains(t, f.send(get), "\r\n\r\nok")
	require.NoError(t, f.err())
	require.Equal(t, int64(2), f.dials.Load())
}

func TestPool_unsafeRequestIsNot(t *testing.T) {
	for name, request := range map[string]string{
		"POST":      "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"with body": "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
	} {
		var requests atomic.Int64
		f := newFront(t, dropsSecond(t, &requests), false)
		require.Contains(t, f.send(get), "\r\n\r\nok")
		require.NoError(t, f.err())
		require.Contains(t, f.send(request), "502 Bad Gateway", name)
		require.Error(t, f.err())
		require.Equal(t, int64(1), f.dials.Load(), name)
	}
}

func TestPool_newConnectionThatDropsIsNotTriedAgain(t *testing.T) {
	f := newFront(t, sayAndClose(t, ""), false)
	require.Contains(t, f.send(get), "502 Bad Gateway")
	require.Error(t, f.err())
	require.Equal(t, int64(1), f.dials.Load())
}

func TestPool_bytesNobodyAskedForAreNobodysAnswer(t *testing.T) {
	answered, sent := make(chan struct{}, 1), make(chan struct{}, 1)
	f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
		for {
			if _, err := readHead(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, ok)
			<-answered
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
			sent <- struct{}{}
		}
	}), false)
	for range 3 {
		require.Contains(t, f.send(get), "\r\n\r\nok")
		require.NoError(t, f.err())
		answered <- struct{}{}
		<-sent
		time.Sleep(2 * upstream.SurelyQuiet) // before that, nobody looks at a connection
	}
	require.Equal(t, int64(3), f.dials.Load())
}

func TestPool_answerWithBytesAfterItEndsTheConnection(t *testing.T) {
	f := newFront(t, say(t, ok+"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"), false)
	for range 3 {
		require.Contains(t, f.send(get), "\r\n\r\nok")
		require.NoError(t, f.err())
	}
	require.Equal(t, int64(3), f.dials.Load())
}

func TestPool_closeAnswersAreNotReused(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		f := newFront(t, say(t, answer), false)
		got := f.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		require.Equal(t, 2, strings.Count(got, "\r\n\r\nok"), "the client's connection goes on: %s", got)
		require.Equal(t, int64(2), f.dials.Load())
	}
}

func TestPool_idleConnectionsAreClosed(t *testing.T) {
	gone := make(chan struct{}, 1)
	listener := script(t, func(conn net.Conn, in *bufio.Reader) {
		_, _ = readHead(in)
		_, _ = io.WriteString(conn, ok)
		_, _ = io.Copy(io.Discard, in)
		gone <- struct{}{}
	})
	for name, end := range map[string]func(*upstream.Client){"by time": func(*upstream.Client) {}, "by Close": (*upstream.Client).Close} {
		f := newFront(t, listener, false)
		if name == "by time" {
			f.client = upstream.New(upstream.Options{IdleTimeout: 20 * time.Millisecond, Dial: dialer(listener)})
		}
		require.Contains(t, f.send(get), "\r\n\r\nok")
		end(f.client)
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatal("still open: " + name)
		}
		f.client.Close()
	}
}

func TestRequest_thatHTTP1CannotExpressIsRefused(t *testing.T) {
	f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) }), false)
	for _, how := range []upstream.Forwarding{{Target: "", Host: "h"}, {Target: "/", Host: "h\r\nX: y"}, {Target: "/", Host: "a b"}} {
		f.change = func(f *upstream.Forwarding) { *f = how }
		require.Contains(t, f.send(get), "400 Bad Request")
		require.ErrorIs(t, f.err(), upstream.ErrInvalidRequest)
	}
	f.change = func(f *upstream.Forwarding) { f.Target = "/a b\r\nX: y HTTP/1.1" }
	require.Contains(t, f.send(get), "/a%20b%0D%0AX:%20y%20HTTP/1.1")
	request, err := http.NewRequest("GET", "http://h/", nil)
	require.NoError(t, err)
	request.Method = "GET /evil"
	require.ErrorIs(t, f.client.Forward(nil, request, upstream.Forwarding{Target: "/", Host: "h"}), upstream.ErrInvalidRequest)
}
