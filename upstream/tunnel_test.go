package upstream_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/upstream"
)

const (
	upgrading = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
	switched  = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\nX-Slipway-Id: x\r\n\r\n"
)

func TestTunnel_joinsBothWaysAndPassesHalfCloses(t *testing.T) {
	heads := make(chan string, 1)
	f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
		head, _ := readHead(in)
		heads <- head
		_, _ = io.WriteString(conn, switched+"first")
		said, _ := io.ReadAll(in) // until the client's half-close
		_, _ = io.WriteString(conn, "heard "+string(said))
	}), false)
	client := f.dial()
	_, err := io.WriteString(client, upgrading+"early") // before the answer
	require.NoError(t, err)
	in := bufio.NewReader(client)
	head, err := readHead(in)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(head, "HTTP/1.1 101 Switching Protocols\r\n"), head)
	require.Contains(t, head, "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	require.Contains(t, head, "Sec-Websocket-Accept: a\r\n")
	require.NotContains(t, head, "X-Slipway")
	request := <-heads
	require.Contains(t, request, "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	require.Contains(t, request, "Sec-Websocket-Key: k\r\n")

	first := make([]byte, 5)
	_, err = io.ReadFull(in, first)
	require.NoError(t, err)
	require.Equal(t, "first", string(first))
	_, err = io.WriteString(client, " late")
	require.NoError(t, err)
	require.NoError(t, client.(*net.TCPConn).CloseWrite())
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, "heard early late", string(rest))
	require.NoError(t, f.err())
}

func TestTunnel_refusalIsAnAnswerLikeOthers(t *testing.T) {
	f := newFront(t, say(t, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno"), false)
	client := f.dial()
	in := bufio.NewReader(client)
	for range 2 {
		_, err := io.WriteString(client, upgrading)
		require.NoError(t, err)
		head, err := readHead(in)
		require.NoError(t, err)
		require.Contains(t, head, "HTTP/1.1 426 ")
		_, err = io.CopyN(io.Discard, in, 2)
		require.NoError(t, err)
		require.NoError(t, f.err())
	}
	require.Equal(t, int64(1), f.dials.Load())
}

func TestTunnel_otherProtocolsAreNotAskedFor(t *testing.T) {
	for name, request := range map[string]string{
		"HTTP/2":             "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		"without Connection": "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n",
		"with a body":        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab",
		"two of them":        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
	} {
		heads := make(chan string, 1)
		f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
			head, _ := readHead(in)
			heads <- head
			_, _ = io.WriteString(conn, switched) // a server that switches all the same
		}), false)
		require.Contains(t, f.send(request), "502 Bad Gateway", name)
		require.NotContains(t, <-heads, "pgrade", name)
		var failed *upstream.Error
		require.ErrorAs(t, f.err(), &failed)
		require.Equal(t, upstream.StageMalformed, failed.Stage, name)
	}
}

func TestTunnel_endOfEitherSideEndsIt(t *testing.T) {
	for name, server := range map[string]bool{"client leaves": false, "server leaves": true} {
		gone := make(chan struct{}, 1)
		f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
			_, _ = readHead(in)
			_, _ = io.WriteString(conn, switched)
			if !server {
				_, _ = io.Copy(io.Discard, in)
			}
			gone <- struct{}{}
		}), false)
		client := f.dial()
		_, err := io.WriteString(client, upgrading)
		require.NoError(t, err)
		in := bufio.NewReader(client)
		_, err = readHead(in)
		require.NoError(t, err)
		if server {
			_, err = io.Copy(io.Discard, in)
			require.NoError(t, err)
		}
		require.NoError(t, client.Close())
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatal("the server was not told: " + name)
		}
		_ = f.err()
	}
}
