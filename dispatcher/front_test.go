package dispatcher_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/dispatcher"
)

// client is a connection without manners.
type client struct {
	t testing.TB
	net.Conn
	answers *bufio.Reader
}

func (w *world) dial() *client {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{w.t, conn, bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	_, err := io.WriteString(c.Conn, text)
	require.NoError(c.t, err)
}

func (c *client) read(method string) answer {
	c.t.Helper()
	response, err := http.ReadResponse(c.answers, &http.Request{Method: method})
	require.NoError(c.t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}

// awaitCut reads nothing until the server has ended the connection, as it shows
// by refusing what it is sent.
func (c *client) awaitCut() {
	c.t.Helper()
	eventually(c.t, func() bool {
		_, err := c.Write([]byte("x"))
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	})
}

// ended says that the server closed the connection without another byte.
func (c *client) ended() {
	c.t.Helper()
	rest, err := io.ReadAll(c.answers)
	require.NoError(c.t, err)
	require.Empty(c.t, rest)
}

func TestFront_refusesWhatTwoParsersCouldReadInTwoWays(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start", "/secret.txt": "smuggled"})
	const host = "Host: my-app.localhost\r\n"
	chunks := "5\r\nhello\r\n0\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"length and chunks":           {"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, 400},
		"chunks and length":           {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunks, 400},
		"two lengths":                 {"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
		"one length twice":            {"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
		"lengths in a list":           {"POST / HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\nhello", 400},
		"signed length":               {"POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\nhello", 400},
		"negative length":             {"POST / HTTP/1.1\r\n" + host + "Content-Length: -5\r\n\r\nhello", 400},
		"hexadecimal length":          {"POST / HTTP/1.1\r\n" + host + "Content-Length: 0x5\r\n\r\nhello", 400},
		"length with an underscore":   {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1_0\r\n\r\nhello", 400},
		"empty length":                {"POST / HTTP/1.1\r\n" + host + "Content-Length: \r\n\r\nhello", 400},
		"length too large to hold":    {"POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\nhello", 400},
		"space before the colon":      {"POST / HTTP/1.1\r\n" + host + "Content-Length : 5\r\n\r\nhello", 400},
		"folded line":                 {"POST / HTTP/1.1\r\n" + host + "X-A: b\r\n Content-Length: 5\r\n\r\nhello", 400},
		"folded with a tab":           {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n\tchunked\r\n\r\n" + chunks, 501},
		"folded first line":           {"POST / HTTP/1.1\r\n X: y\r\n" + host + "\r\n", 400},
		"two codings":                 {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks, 501},
		"coding twice":                {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, 400},
		"coding then identity":        {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunks, 501},
		"coding in quotes":            {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n" + chunks, 501},
		"coding with a parameter":     {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked;q=1\r\n\r\n" + chunks, 501},
		"coding after a form feed":    {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0cchunked\r\n\r\n" + chunks, 400},
		"coding of an old client":     {"POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n" + chunks, 400},
		"bare line feeds":             {"GET / HTTP/1.1\nHost: my-app.localhost\n\n", 400},
		"one bare line feed":          {"GET / HTTP/1.1\r\nHost: my-app.localhost\nX-A: b\r\n\r\n", 400},
		"bare line feed at the end":   {"GET / HTTP/1.1\r\n" + host + "\n", 400},
		"bare carriage return":        {"GET / HTTP/1.1\r\n" + host + "X-A: b\rContent-Length: 5\r\n\r\n", 400},
		"doubled carriage return":     {"GET / HTTP/1.1\r\n" + host + "X-A: b\r\r\n\r\n", 400},
		"carriage return in a target": {"GET /\rx HTTP/1.1\r\n" + host + "\r\n", 400},
		"NUL in a name":               {"GET / HTTP/1.1\r\n" + host + "X-\x00A: b\r\n\r\n", 400},
		"NUL in a value":              {"GET / HTTP/1.1\r\n" + host + "X-A: b\x00\r\n\r\n", 400},
		"NUL in a target":             {"GET /\x00 HTTP/1.1\r\n" + host + "\r\n", 400},
		"no colon":                    {"GET / HTTP/1.1\r\n" + host + "X-A\r\n\r\n", 400},
		"no name":                     {"GET / HTTP/1.1\r\n" + host + ": b\r\n\r\n", 400},
		"two hosts alike":             {"GET / HTTP/1.1\r\n" + host + host + "\r\n", 400},
		"space in the target":         {"GET /a b HTTP/1.1\r\n" + host + "\r\n", 400},
		"two spaces":                  {"GET  / HTTP/1.1\r\n" + host + "\r\n", 400},
		"tab for a space":             {"GET\t/ HTTP/1.1\r\n" + host + "\r\n", 400},
		"fragment":                    {"GET /#a HTTP/1.1\r\n" + host + "\r\n", 400},
		"no version":                  {"GET /\r\n" + host + "\r\n", 400},
		"lower case version":          {"GET / http/1.1\r\n" + host + "\r\n", 400},
		"version with a space":        {"GET / HTTP/1.1 \r\n" + host + "\r\n", 400},
		"another version":             {"GET / HTTP/1.2\r\n" + host + "\r\n", 505},
		"a version long gone":         {"GET / HTTP/0.9\r\n" + host + "\r\n", 505},
		"method no token":             {"G(T / HTTP/1.1\r\n" + host + "\r\n", 400},
		"user in the target":          {"GET http://a@my-app.localhost/ HTTP/1.1\r\n" + host + "\r\n", 400},
		"scheme of something else":    {"GET ftp://my-app.localhost/ HTTP/1.1\r\n" + host + "\r\n", 400},
		"asterisk":                    {"GET * HTTP/1.1\r\n" + host + "\r\n", 400},
		"path without a slash":        {"GET index.html HTTP/1.1\r\n" + host + "\r\n", 400},
		"unknown expectation":         {"GET / HTTP/1.1\r\n" + host + "Expect: miracles\r\n\r\n", 417},
		"handshake of TLS":            {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400},
		"empty lines":                 {"\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n", 400},
		"many headers":                {"GET / HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 300) + "\r\n", 431},
		"long header":                 {"GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("y", 40_000) + "\r\n\r\n", 431},
		"long target":                 {"GET /" + strings.Repeat("y", 40_000) + " HTTP/1.1\r\n" + host + "\r\n", 414},
	} {
		conn := w.dial()
		// What follows would be answered too, were it taken for a request.
		conn.send(c.request + "GET /secret.txt HTTP/1.1\r\n" + host + "\r\n")
		a := conn.read("POST")
		require.Equal(t, c.status, a.status, name)
		require.Equal(t, "application/json; charset=utf-8", a.header.Get("Content-Type"), name)
		var body struct{ Error, RequestID, Timestamp string }
		require.NoError(t, json.Unmarshal([]byte(a.body), &body), name)
		require.NotEmpty(t, body.Error, name)
		require.Equal(t, a.header.Get("X-Request-Id"), body.RequestID, name)
		conn.ended()
	}
	require.Equal(t, 200, w.get("my-app.localhost", "/").status, "and the dispatcher is well")
}

func TestFront_refusesARequestAfterGoodOnesOnTheSameConnection(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start"})
	const good = "GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n"
	slow := strings.Replace(good, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
	for _, first := range []string{good, slow, good + slow + good} {
		conn := w.dial()
		conn.send(first + "GET / HTTP/1.1\r\nHost : my-app.localhost\r\n\r\n" + good)
		for range strings.Count(first, "HTTP/1.1") {
			require.Equal(t, "start", conn.read("GET").body)
		}
		require.Equal(t, 400, conn.read("GET").status)
		conn.ended()
	}
}

func TestFront_readsRequestsThatComeInPieces(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start"})
	request := "GET / HTTP/1.1\r\nHost: my-app.localhost\r\nX-Long: " + strings.Repeat("x", 9000) + "\r\n\r\n"
	conn := w.dial()
	for _, size := range []int{1, 7, 4096, 5000, len(request)} {
		all := request + request
		for all != "" {
			part := min(size, len(all))
			if size == 1 && len(all) < len(request)*2-200 {
				part = len(all) // the beginning byte by byte is enough
			}
			conn.send(all[:part])
			all = all[part:]
		}
		require.Equal(t, "start", conn.read("GET").body)
		require.Equal(t, "start", conn.read("GET").body)
	}
}

func TestFront_boundsTheConnectionsOfOneClient(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.Limits.ClientConnections = 3 })
	w.deploy("my-app", files{"/index.html": "start"})
	const request = "GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n"
	var open []*client
	for range 3 {
		conn := w.dial()
		conn.send(request)
		require.Equal(t, "start", conn.read("GET").body)
		open = append(open, conn)
	}
	fourth := w.dial()
	_, err := fourth.Read(make([]byte, 1))
	require.Error(t, err, "one more is closed")
	require.NoError(t, open[0].Close())
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Second)))
		_, _ = io.WriteString(conn, request)
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return strings.HasPrefix(line, "HTTP/1.1 200")
	})
	open[1].send(request)
	require.Equal(t, "start", open[1].read("GET").body, "the others were not harmed")
}

// A load balancer's connections are those of all visitors.
func TestFront_doesNotCountTheConnectionsOfATrustedProxy(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Limits.ClientConnections = 1
		o.Addresses = clientaddr.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	})
	w.deploy("my-app", files{"/index.html": "start"})
	secure := w.listenTLS()
	for range 3 {
		for _, conn := range []*client{w.dial(), w.dialTLS(secure)} {
			conn.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
			require.Equal(t, "start", conn.read("GET").body)
		}
	}
}

func TestFront_slowClientsAreCutOffAndHarmNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Limits.HeaderTimeout = 3 * time.Second // in which those that are not slow are done
		o.Limits.IdleTimeout = 3 * time.Second
	})
	w.deploy("my-app", files{"/index.html": "start"})
	var slow []*client
	for i := range 200 {
		conn := w.dial()
		switch i % 3 {
		case 0: // says nothing
		case 1:
			conn.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\nX-A: ")
		case 2:
			conn.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\nGET / HTT")
			require.Equal(t, "start", conn.read("GET").body)
		}
		slow = append(slow, conn)
	}
	require.Equal(t, "start", w.get("my-app.localhost", "/").body)
	for _, conn := range slow {
		conn.ended()
	}
}

func TestFront_aHeadThatDripsHasNoMoreTime(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.Limits.HeaderTimeout = 300 * time.Millisecond })
	began := time.Now() // not later than the server, which begins when it takes the connection
	conn := w.dial()
	for {
		if _, err := io.WriteString(conn, "X"); err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server was to end it")
			break
		}
		time.Sleep(20 * time.Millisecond) // the client's pace
	}
	require.GreaterOrEqual(t, time.Since(began), 250*time.Millisecond)
}

func TestFront_aClientThatDoesNotReadIsCutOffWhoeverAnswers(t *testing.T) {
	const size = 32 << 20 // more than both ends of a connection buffer
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Limits.SlowGrace = time.Second
		o.Limits.SlowRate = 1 << 30
		o.Limits.CachedFileBytes, o.Limits.CacheBytes = 2*size, 100*size
	})
	w.deploy("my-app", files{"/large.bin": strings.Repeat("x", size), "/small.txt": strings.Repeat("x", 10_000)})
	for _, path := range []string{"/large.bin", "/small.txt"} {
		require.Equal(t, 206, w.get("my-app.localhost", path, "Range", "bytes=0-0").status)
	}
	request := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n" }
	for name, requests := range map[string]string{
		"one large answer":        request("/large.bin"),
		"one by net/http":         slowly(request("/large.bin")),
		"many small ones":         strings.Repeat(request("/small.txt"), 2000),
		"many small, by net/http": strings.Repeat(slowly(request("/small.txt")), 2000),
	} {
		conn := w.dial()
		_, _ = io.WriteString(conn, requests) // all of them, or until it is cut off
		conn.awaitCut()
		read, _ := io.Copy(io.Discard, conn)
		require.Less(t, read, int64(size)/2, name)
	}
}
