package dispatcher_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// slowly makes net/http answer a request: it expects something that changes
// nothing about a request without a body.
func slowly(request string) string {
	return strings.Replace(request, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
}

func TestFast_answersAsTheSlowWayDoes(t *testing.T) {
	var slow atomic.Int64
	w := newWorld(t, nil)
	w.server.OnSlow(func() { slow.Add(1) })
	content := files{
		"/index.html": strings.Repeat("<p>hello</p>", 500), "/about.html": "about", "/a/index.html": "folder", "/empty.txt": "", "/404.html": "gone",
		"/large.bin": strings.Repeat("0123456789", 10_000), "/ü.txt": "umlaut", "/typed.css": "p{}", "/no.type.zzz": "<html>looks like HTML",
		"/held/secret.txt": "s", "/strange/x.txt": "x", "/fixed/y.txt": "y",
		"/_headers": "/held/*\n  X-Robots-Tag: noindex\n  Cache-Control: no-store\n/about\n  Content-Encoding: br\n  Set-Cookie: a=1\n  Set-Cookie: b=2\n" +
			"/typed.css\n  Content-Type: text/plain\n/strange/*\n  Strict-Transport-Security: max-age=1\n/fixed/*\n  X-Name: Zürich\n  ! Etag\n",
		"/_redirects": "/old /about 301\n/rewritten /a/ 200\n/out/* https://example.com/:splat 302\n",
	}
	w.board.flip(models.WorkerRouteKey("my-app"), org, w.release(assets.Config{NotFoundHandling: assets.NotFoundPage}, content))
	w.deploy("plain", files{"/index.html": "start"})
	var requests []string
	add := func(line string, headers ...string) {
		for _, host := range []string{"my-app.localhost", "plain.localhost"} {
			requests = append(requests, line+" HTTP/1.1\r\nHost: "+host+"\r\n"+strings.Join(append(headers, ""), "\r\n")+"\r\n")
		}
	}
	paths := []string{
		"/", "/index.html", "/about", "/about.html", "/a/", "/a", "/a?x=1", "/?x=1&y=%zz", "/empty.txt", "/large.bin", "/%C3%BC.txt", "/ü.txt", "/typed.css",
		"/no.type.zzz", "/held/secret.txt", "/strange/x.txt", "/fixed/y.txt", "/old?q", "/rewritten", "/out/a/b?c=d", "/missing", "//about", "/%61bout",
		"/a%2Findex.html", "/..%2f..%2fetc", "/.", "/a/../about", "/about%00", "/dispatch/other/", "/health", "/.well-known/acme-challenge/x",
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE"} {
		for _, path := range paths {
			add(method + " " + path)
			add(method+" "+path, "Accept: text/html", "Accept-Encoding: gzip, br")
		}
	}
	etag := w.get("my-app.localhost", "/").header.Get("Etag")
	for _, path := range []string{"/", "/about", "/large.bin", "/held/secret.txt", "/typed.css", "/missing"} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, header := range []string{
				"If-None-Match: " + etag, "If-None-Match: *", "If-None-Match: W/" + etag + ", \"x\"", "If-None-Match: \"x\"", "If-Match: \"x\"", "If-Match: " + etag,
				"If-None-Match: \"x\"\r\nIf-None-Match: " + etag, "If-None-Match:", "Range: bytes=0-4", "Range: bytes=-3", "Range: bytes=5-", "Range: bytes=999999999-",
				"Range: bytes=0-1,3-4", "Range: lines=1-2", "Range: bytes=0-4\r\nIf-Range: " + etag, "Range: bytes=0-4\r\nIf-Range: \"x\"", "Authorization: Bearer x",
				"Accept-Encoding: br;q=0, gzip", "Accept-Encoding: identity", "Accept-Encoding: gzip\r\nAccept-Encoding: br", "Accept-Encoding:", "accept-encoding: BR",
				"X-Request-Id: mine-1", "X-Request-Id: <x>", "X-Request-Id: a\r\nX-Request-Id: b", "Connection: keep-alive", "Connection: Keep-Alive", "Cookie: a=b",
				"If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT", "X-Slipway-Test: 1", "Content-Length: 0", "If-None-Match:   " + etag + " \t",
			} {
				add(method+" "+path, header)
			}
		}
	}
	// The first time fills the caches, the second shows what is fast.
	for _, request := range requests {
		w.exchange(t, request)
	}
	slow.Store(0)
	fast := make(map[int]string)
	for i, request := range requests {
		before := slow.Load()
		if answer := w.exchange(t, request); slow.Load() == before {
			fast[i] = answer
		}
	}
	for i, answer := range fast {
		before := slow.Load()
		require.Equal(t, w.exchange(t, slowly(requests[i])), answer, requests[i])
		require.Equal(t, before+1, slow.Load())
	}
	require.Greater(t, len(fast), len(requests)/4, "the fast way was tested at all")
	t.Logf("%d of %d requests were answered the fast way", len(fast), len(requests))
}

// exchange sends a request and gives the answer without what differs each time.
func (w *world) exchange(t *testing.T, request string) string {
	t.Helper()
	conn := w.dial()
	defer func() { _ = conn.Close() }()
	method, _, _ := strings.Cut(request, " ")
	conn.send(request)
	response, err := http.ReadResponse(conn.answers, &http.Request{Method: method})
	require.NoError(t, err, request)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err, request)
	require.NotEmpty(t, response.Header["Date"])
	require.Len(t, response.Header["X-Request-Id"], 1)
	response.Header.Del("Date")
	if id := response.Header.Get("X-Request-Id"); !strings.Contains(request, id) {
		require.Len(t, id, 36)
		body = bytes.ReplaceAll(body, []byte(id), []byte("id"))
		response.Header.Set("X-Request-Id", "new")
	}
	if strings.Contains(string(body), `"timestamp"`) {
		body = body[:bytes.Index(body, []byte(`"timestamp"`))]
		response.Header.Del("Content-Length")
	}
	var out strings.Builder
	out.WriteString(response.Status + " " + response.Proto + "\n")
	require.NoError(t, response.Header.Write(&out))
	return out.String() + string(body)
}

func TestFast_pipelinedRequestsAreAnsweredInOrderWhoeverAnswers(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start", "/b.txt": "second", "/c.bin": strings.Repeat("c", 100_000)})
	request := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n" }
	for _, path := range []string{"/", "/b.txt", "/c.bin"} {
		w.get("my-app.localhost", path)
	}
	conn := w.dial()
	var all strings.Builder
	for range 50 {
		all.WriteString(request("/") + slowly(request("/b.txt")) + request("/c.bin") + request("/b.txt"))
	}
	go func() { _, _ = io.WriteString(conn, all.String()) }()
	for range 50 {
		for _, want := range []string{"start", "second", strings.Repeat("c", 100_000), "second"} {
			require.Equal(t, want, conn.read("GET").body)
		}
	}
}

func TestFast_hostsOnOneConnectionAreKeptApart(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("one", files{"/index.html": "one"})
	w.deploy("two", files{"/index.html": "two"})
	conn := w.dial()
	for i := range 40 {
		name := []string{"one", "two"}[i/2%2]
		conn.send("GET / HTTP/1.1\r\nHost: " + name + ".localhost\r\n\r\n")
		require.Equal(t, name, conn.read("GET").body)
	}
}

func TestFast_anAnnouncedFlipIsSeenOnAConnectionThatStays(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.dial()
	for i := range 20 {
		text := strings.Repeat("x", i)
		w.deploy("my-app", files{"/index.html": text})
		eventually(t, func() bool {
			conn.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
			return conn.read("GET").body == text
		})
	}
}

func FuzzFront_neverDisagreesWithNetHTTPAboutWhereARequestEnds(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n",
		"GET http://a.b/x?y HTTP/1.1\r\nHost: a.b\r\nRange: bytes=0-1\r\n\r\nrest",
		"POST / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 5\r\n\r\nhelloGET",
		"POST / HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX-T: y\r\n\r\nGET",
		"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
		"OPTIONS * HTTP/1.1\r\nHost: a.b\r\n\r\n",
		"CONNECT a.b:80 HTTP/1.1\r\nHost: a.b:80\r\n\r\n",
		"GET /%41?%zz HTTP/1.1\r\nHost: [::1]:80\r\nA:\tb \r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := dispatcher.Parse(data)
		if !ok {
			return
		}
		r, reader, err := dispatcher.ReadRequest(data)
		if err != nil {
			// net/http may refuse more, but not what would not have come to it.
			require.False(t, got.Simple, err)
			return
		}
		require.Equal(t, got.Method, r.Method)
		require.Equal(t, got.Target, r.RequestURI)
		if got.Simple {
			require.Equal(t, got.Host, r.Host)
			require.Zero(t, r.ContentLength)
			require.False(t, r.Close)
		}
		require.Equal(t, got.Chunked, len(r.TransferEncoding) == 1)
		if !got.Chunked && got.Length >= 0 {
			require.Equal(t, got.Length, r.ContentLength)
		}
		_, err = io.Copy(io.Discard, r.Body)
		require.NoError(t, err)
		rest, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, len(data)-got.Size-got.Body, len(rest))
	})
}
