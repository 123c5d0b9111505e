package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/clientaddr"
)

// served is a gateway on a port of its own that allows three connections, behind
// proxies at 127.0.0.64 to 127.0.0.127.
func served(t *testing.T) (g *gateway, address string) {
	t.Helper()
	g = newGateway(t, func(o *api.Options) {
		o.Limits.ClientConnections = 3
		o.Addresses = clientaddr.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.64/26")})
	})
	ctx, cancel := context.WithCancel(t.Context())
	url, done := serve(t, ctx, g.server)
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return g, strings.TrimPrefix(url, "http://")
}

// dialFrom connects from an address of the test's choice.
func dialFrom(t *testing.T, from, address string) net.Conn {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// status sends a request for a page that anybody may have and gives what was
// answered; 0 when the connection was closed.
func status(t *testing.T, conn net.Conn, header string) int {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n"); err != nil {
		return 0
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.StatusCode
}

// begin sends the head of a request and waits until its body is waited for.
func begin(t *testing.T, conn net.Conn, header string) {
	t.Helper()
	_, err := io.WriteString(conn, "POST /device/code HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n"+header+"\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
}

func TestServe_boundsTheConnectionsOfOneClient(t *testing.T) {
	g, address := served(t)
	const client, neighbour = "127.0.0.2", "127.0.0.3"
	var open []net.Conn
	for range 3 {
		conn := dialFrom(t, client, address)
		require.Equal(t, 200, status(t, conn, ""))
		open = append(open, conn)
	}
	for range 3 {
		require.Zero(t, status(t, dialFrom(t, client, address), ""), "one more is closed")
		require.Zero(t, status(t, dialFrom(t, client, address), "X-Forwarded-For: 192.0.2.1\r\n"), "nor does it help to say that one is another")
	}
	require.Contains(t, g.log.String(), "SLIPWAY_MAX_CLIENT_CONNECTIONS")
	require.Equal(t, 1, strings.Count(g.log.String(), "connections refused"), "the log is not for clients to fill")
	require.Equal(t, 200, status(t, dialFrom(t, neighbour, address), ""), "another client")
	for _, conn := range open {
		require.Equal(t, 200, status(t, conn, ""), "those that are open go on")
	}
	require.NoError(t, open[0].Close())
	require.Eventually(t, func() bool { return status(t, dialFrom(t, client, address), "") == 200 }, patience, 10*time.Millisecond, "the place is free again")
}

func TestServe_boundsTheRequestsOfEachClientBehindATrustedProxy(t *testing.T) {
	_, address := served(t)
	const proxy, client, neighbour = "127.0.0.65", "X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-For: 192.0.2.2\r\n"
	// A proxy keeps connections for all of them.
	for n := range 10 {
		require.Equal(t, 200, status(t, dialFrom(t, proxy, address), "X-Forwarded-For: 192.0.2.10"+strconv.Itoa(n)+"\r\n"))
	}
	var open []net.Conn
	for range 3 {
		conn := dialFrom(t, proxy, address)
		begin(t, conn, client)
		open = append(open, conn)
	}
	require.Equal(t, 429, status(t, dialFrom(t, proxy, address), client), "one more than it may have under way")
	require.Equal(t, 200, status(t, dialFrom(t, proxy, address), neighbour))
	require.Equal(t, 200, status(t, dialFrom(t, proxy, address), ""), "the proxy itself, to see whether anybody is there")
	require.NoError(t, open[0].Close())
	require.Eventually(t, func() bool { return status(t, dialFrom(t, proxy, address), client) == 200 }, patience, 10*time.Millisecond)
}
