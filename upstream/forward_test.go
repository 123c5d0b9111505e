package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/upstream"
)

func TestForward_sendsTheRequestAsItCame(t *testing.T) {
	heads := make(chan string, 1)
	f := newFront(t, script(t, func(conn net.Conn, in *bufio.Reader) {
		head, _ := readHead(in)
		heads <- head
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Answer: yes\r\n\r\nok")
	}), false)
	f.change = func(how *upstream.Forwarding) {
		how.Set = []upstream.Header{{Name: "X-Forwarded-For", Value: "1.2.3.4"}}
		how.Drop = []string{"Cookie"}
	}
	answer := f.send("GET /a%2Fb?c=%20d<\xc3\xbc|'> HTTP/1.1\r\nHost: my.host:99\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTe: gzip\r\n" +
		"X-Slipway-Secret: 1\r\nx-worker-Name: 2\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: a=b\r\nUpgrade: h2c\r\nHttp2-Settings: x\r\n" +
		"Proxy-Authorization: p\r\nExpect: 100-continue\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n")
	require.NoError(t, f.err())
	require.Contains(t, answer, "X-Answer: yes\r\n")
	require.True(t, strings.HasSuffix(answer, "\r\n\r\nok"))
	head := <-heads
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	require.Equal(t, []string{"GET /a%2Fb?c=%20d%3C%C3%BC|'%3E HTTP/1.1", "Host: my.host:99"}, lines[:2])
	require.ElementsMatch(t, []string{"X-Forwarded-For: 1.2.3.4", "X-Two: 1", "X-Two: 2"}, lines[2:])
}

func TestForward_framesBodiesItself(t *testing.T) {
	type seen struct {
		length  int64
		chunked bool
		body    string
		trailer string
	}
	got := make(chan seen, 1)
	f := newFront(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.ContentLength, len(r.TransferEncoding) > 0, string(body), r.Trailer.Get("X-Sum")}
	}), false)
	for request, want := range map[string]seen{
		"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello":                                                            {5, false, "hello", ""},
		"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n":                                                                                      {0, false, "", ""},
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n":                                                                                       {0, false, "", ""},
		"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n":                       {-1, true, "hello!", ""},
		"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n":  {-1, true, "hello", "42"},
		"DELETE / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n":                                                               {0, false, "", ""},
		"PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + strings.Repeat("x", 65536) + "\r\n0\r\n\r\n": {-1, true, strings.Repeat("x", 65536), ""},
	} {
		require.Contains(t, f.send(request), "HTTP/1.1 200 OK")
		require.NoError(t, f.err())
		require.Equal(t, want, <-got)
	}
}

func TestForward_passesAnswersOn(t *testing.T) {
	for name, c := range map[string]struct{ answer, want, not string }{
		"length":             {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "\r\n\r\nhello", "Content-Type"},
		"status and reason":  {"HTTP/1.1 404 Nowhere\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", ""},
		"no reason":          {"HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 201 Created\r\n", ""},
		"chunked":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", ""},
		"to the end":         {"HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end", ""},
		"HTTP/1.0":           {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", "\r\n\r\nold", ""},
		"no content":         {"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 204 No Content\r\n", "Content-Length"},
		"not modified":       {"HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n", "Etag: \"x\"", ""},
		"two values":         {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", ""},
		"hop by hop":         {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\n\r\n", "200", "X-Hop"},
		"ours":               {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Slipway-Id: 1\r\nX-WORKER-Name: 3\r\n\r\n", "200", "Slipway"},
		"early hints":        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n", ""},
		"trailers announced": {"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n", "0\r\nX-Sum: 42\r\n\r\n", ""},
		"trailers unasked":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nContent-Length: 9\r\n\r\n", "0\r\nX-Sum: 42\r\n\r\n", "Content-Length"},
		"long header":        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: " + strings.Repeat("y", 60000) + "\r\n\r\nok", strings.Repeat("y", 60000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, sayAndClose(t, c.answer), false)
			answer := f.send(get)
			require.NoError(t, f.err())
			require.Contains(t, answer, c.want)
			if c.not != "" {
				require.NotContains(t, answer, c.not)
			}
		})
	}
}

func TestForward_headAnswersHaveALengthAndNoBody(t *testing.T) {
	f := newFront(t, say(t, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), false)
	answer := f.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	require.NoError(t, f.err())
	require.NoError(t, f.err())
	require.Equal(t, 2, strings.Count(answer, "Content-Length: 500\r\n"))
	require.Equal(t, int64(1), f.dials.Load(), "and the connection goes on")
}

func TestForward_refusesAmbiguousAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"two lengths":           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
		"equal lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
		"list of lengths":       "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
		"signed length":         "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
		"huge length":           "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab",
		"length and chunks":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"another coding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"hidden coding":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded line":           "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
		"bare line feed":        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
		"bare line feeds":       "HTTP/1.1 200 OK\r\nX: 1\n\n",
		"bare carriage return":  "HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n",
		"NUL":                   "HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 0\r\n\r\n",
		"space before colon":    "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
		"no colon":              "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n",
		"no name":               "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
		"another protocol":      "SSH-2.0-OpenSSH_9.9\r\n\r\n",
		"HTTP/2":                "HTTP/2.0 200 OK\r\n\r\n",
		"status of letters":     "HTTP/1.1 abc OK\r\n\r\n",
		"status too large":      "HTTP/1.1 999 OK\r\n\r\n",
		"unasked switch":        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"endless 1xx":           strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100),
		"endless head":          "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("y", 70000) + "\r\n\r\n",
		"empty line first":      "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"control in the reason": "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, say(t, answer), false)
			require.Contains(t, f.send(get), "502 Bad Gateway", "%q", answer)
			var failed *upstream.Error
			require.ErrorAs(t, f.err(), &failed)
			require.Equal(t, upstream.StageMalformed, failed.Stage, "%v", failed)
			require.Contains(t, f.send(get), "502 Bad Gateway")
			require.Equal(t, int64(2), f.dials.Load(), "the connection was not used again")
		})
	}
}

func TestForward_abortsWhenABodyBreaksOff(t *testing.T) {
	for name, answer := range map[string]string{
		"short of its length":   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"within a chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhello",
		"before the last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"within the trailers":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n",
		"size of letters":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
		"negative size":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
		"huge size":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
		"chunk too long":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
		"bare line feed":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
		"endless extension":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x", 10000) + "\r\nhello\r\n0\r\n\r\n",
		"endless trailers":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 1000) + "\r\n",
		"folded trailer":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n y\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, sayAndClose(t, answer), false)
			got := f.send(strings.Replace(get, "Connection: close\r\n", "", 1))
			require.True(t, upstream.Began(f.err()))
			require.False(t, strings.HasSuffix(got, "0\r\n\r\n"), "%q looks complete", got)
			require.NotContains(t, got, "Content-Length: 5\r\n")
		})
	}
}
