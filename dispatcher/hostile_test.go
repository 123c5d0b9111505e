package dispatcher_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dispatcher"
)

func TestHostile_malformedRequestsAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start"})
	for name, request := range map[string]string{
		"two lengths":         "POST / HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"no host":             "GET / HTTP/1.1\r\n\r\n",
		"two hosts":           "GET / HTTP/1.1\r\nHost: my-app.localhost\r\nHost: other.localhost\r\n\r\n",
		"space in host":       "GET / HTTP/1.1\r\nHost: my app.localhost\r\n\r\n",
		"slash in host":       "GET / HTTP/1.1\r\nHost: my-app.localhost/x\r\n\r\n",
		"user in host":        "GET / HTTP/1.1\r\nHost: me@my-app.localhost\r\n\r\n",
		"port of letters":     "GET / HTTP/1.1\r\nHost: my-app.localhost:http\r\n\r\n",
		"unclosed address":    "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
		"label before":        "GET / HTTP/1.1\r\nHost: a.my-app.localhost\r\n\r\n",
		"only a dot":          "GET / HTTP/1.1\r\nHost: .localhost\r\n\r\n",
		"two dots":            "GET / HTTP/1.1\r\nHost: my-app..localhost\r\n\r\n",
		"under score":         "GET / HTTP/1.1\r\nHost: my_app.localhost\r\n\r\n",
		"foreign letters":     "GET / HTTP/1.1\r\nHost: my-\u212aapp.localhost\r\n\r\n",
		"broken escape":       "GET /%zz HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n",
		"space before colon":  "GET / HTTP/1.1\r\nHost : my-app.localhost\r\n\r\n",
		"bare line feed name": "GET / HTTP/1.1\r\nHost: my-app.localhost\r\nX\nY: b\r\n\r\n",
		"NUL in a header":     "GET / HTTP/1.1\r\nHost: my-app.localhost\r\nX-A: a\x00b\r\n\r\n",
	} {
		require.Equal(t, 400, w.raw(request, "GET").status, name)
	}
	require.Equal(t, 501, w.raw("POST / HTTP/1.1\r\nHost: my-app.localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "POST").status)
	require.Equal(t, 405, w.raw("CONNECT my-app.localhost:80 HTTP/1.1\r\nHost: my-app.localhost:80\r\n\r\n", "CONNECT").status)
	require.Equal(t, 200, w.get("my-app.localhost", "/").status, "and the dispatcher is well")
}

func TestHostile_conflictingLengthAndChunkingEndsTheConnection(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start"})
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+
		"GET /smuggled HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	require.NoError(t, err)
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(all), "HTTP/1.1 "), "one answer, then the end: %q", all)
}

func TestHostile_pathsReachTheTenantAsTheyWereSent(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{
		"/index.html": "start", "/a%2Fb.txt": "escaped", "/a/b.txt": "plain", "/ü/x.txt": "umlaut", "/sp ace.txt": "space",
	})
	for _, via := range []struct{ host, prefix string }{{"my-app.localhost", ""}, {"localhost", "/dispatch/my-app"}} {
		for path, want := range map[string]string{
			"/a/b.txt":        "plain",
			"/a%252Fb.txt":    "escaped",
			"/%C3%BC/x.txt":   "umlaut",
			"/sp%20ace.txt":   "space",
			"/a%2Fb.txt":      "-> " + via.prefix + "/a/b.txt",
			"//a/b.txt":       "-> " + via.prefix + "/a/b.txt",
			"/a//b.txt":       "-> " + via.prefix + "/a/b.txt",
			"/./a/b.txt":      "404",
			"/x/../a/b.txt":   "404",
			"/a/b.txt%00":     "404",
			"/%FF":            "404",
			"/..%2F..%2Fetc":  "404",
			"/a/b.txt/":       "404",
			"//evil.example/": "404",
			`/\evil.example`:  "404",
		} {
			a := w.get(via.host, via.prefix+path)
			got := a.body
			switch a.status {
			case 307:
				got = "-> " + a.header.Get("Location")
			case 404:
				got = "404"
			}
			require.Equal(t, want, got, "%s%s%s", via.host, via.prefix, path)
		}
	}
}

func TestHostile_absoluteFormNamesTheSameHostTwice(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start", "/a b.txt": "spaced"})
	a := w.raw("GET http://my-app.localhost/a%20b.txt?x HTTP/1.1\r\nHost: my-app.localhost\r\nConnection: close\r\n\r\n", "GET")
	require.Equal(t, "spaced", a.body)
	a = w.raw("GET http://my-app.localhost HTTP/1.1\r\nHost: my-app.localhost\r\nConnection: close\r\n\r\n", "GET")
	require.Equal(t, "start", a.body)
	a = w.raw("GET http://my-app.localhost?x HTTP/1.1\r\nHost: My-App.localhost\r\nConnection: close\r\n\r\n", "GET")
	require.Equal(t, "start", a.body)
	a = w.raw("GET http://my-app.localhost/ HTTP/1.1\r\nHost: other.localhost\r\n\r\n", "GET")
	require.Equal(t, 400, a.status)
}

func TestHostile_oldAndPipelinedClientsAreServed(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start", "/b.txt": "second"})
	require.Equal(t, "start", w.raw("GET / HTTP/1.0\r\nHost: my-app.localhost\r\n\r\n", "GET").body)
	require.Equal(t, 400, w.raw("GET / HTTP/1.0\r\n\r\n", "GET").status, "without a host nobody can be meant")

	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\nGET /b.txt HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	for _, want := range []string{"start", "second"} {
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, want, string(body))
	}
}

func TestHostile_sizesAndSlownessAreBounded(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Limits.HeaderBytes = 8 << 10
		o.Limits.RequestBytes = 1000
	})
	w.deploy("my-app", files{"/index.html": "start"})
	require.Equal(t, 431, w.get("my-app.localhost", "/", "X-Large", strings.Repeat("x", 16<<10)).status)
	require.Equal(t, 413, w.raw("POST / HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 1001\r\n\r\n", "POST").status)

	hasty := newWorld(t, func(o *dispatcher.Options) { o.Limits.HeaderTimeout = 300 * time.Millisecond })
	conn, err := net.Dial("tcp", hasty.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: my-")
	require.NoError(t, err)
	_, err = io.ReadAll(conn)
	require.NoError(t, err, "a header that does not come to its end is not waited for")
}

func TestHostile_aClientThatDoesNotReadIsCutOff(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Limits.SlowGrace = time.Second
		o.Limits.SlowRate = 1 << 30
	})
	const size = 32 << 20 // more than both ends of a connection buffer
	w.deploy("my-app", files{"/large.bin": strings.Repeat("x", size)})
	conn := w.dial()
	conn.send("GET /large.bin HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	conn.awaitCut()
	read, _ := io.Copy(io.Discard, conn)
	require.Less(t, read, int64(size), "the rest was not sent")
	require.Equal(t, 206, w.get("my-app.localhost", "/large.bin", "Range", "bytes=0-9").status)
}
