package dispatcher_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/models"
)

// answering is a worker that sends answers as they stand, by path.
func answering(answers map[string]string) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			answer := answers[request.URL.Path]
			if request.Method == http.MethodHead {
				head, _, _ := strings.Cut(answer, "\r\n\r\n")
				answer = head + "\r\n\r\n"
			}
			if _, err := io.WriteString(conn, answer); err != nil || strings.Contains(answer, "\r\nConnection: close") {
				return
			}
		}
	}
}

func chunks(parts ...string) string {
	var out strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(part), part)
	}
	return out.String()
}

func TestFrontServe_answersOfWorkersAreThoseOfNetHTTP(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	answers := map[string]string{
		"/length":       ok + "Content-Length: 5\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nhello",
		"/untyped":      ok + "Content-Length: 6\r\n\r\n<html>",
		"/empty":        ok + "Content-Length: 0\r\n\r\n",
		"/chunks":       ok + "Transfer-Encoding: chunked\r\n\r\n" + chunks("a", "bc", strings.Repeat("d", 700)) + "0\r\n\r\n",
		"/no-chunks":    ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"/many-chunks":  ok + "Transfer-Encoding: chunked\r\n\r\n" + chunks(strings.Repeat("x", 2048), "y", strings.Repeat("z", 40_000), "!") + "0\r\n\r\n",
		"/trailers":     ok + "Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-None\r\n\r\n" + chunks("abc") + "0\r\nX-Sum: 3\r\nX-More: 4\r\nContent-Length: 9\r\n\r\n",
		"/unannounced":  ok + "Transfer-Encoding: chunked\r\n\r\n" + chunks("abc") + "0\r\nX-Sum: 3\r\n\r\n",
		"/to-the-end":   ok + "Connection: close\r\n\r\nall there is",
		"/dated":        ok + "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Length: 1\r\n\r\nx",
		"/private":      ok + "X-Slipway-Org: x\r\nX-Worker-Name: x\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 1\r\n\r\nx",
		"/id":           ok + "X-Request-Id: forged\r\nX-Name: Zürich \t\r\nContent-Length: 1\r\n\r\nx",
		"/204":          "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
		"/304":          "HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n",
		"/599":          "HTTP/1.1 599 Whatever\r\nContent-Length: 2\r\n\r\nno",
		"/redirect":     "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
		"/large":        ok + "Content-Length: 100000\r\n\r\n" + strings.Repeat("0123456789", 10_000),
		"/huge":         ok + "Content-Length: 1000000\r\n\r\n" + strings.Repeat("0123456789", 100_000),
		"/odd":          ok + "x-lower-case: 1\r\nX_Under: 2\r\nContent-Length: 3\r\n\r\nodd",
		"/bad-answer":   "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"/encoded":      ok + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nzip",
		"/hints":        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nok",
		"/known/length": ok + "Content-Length: 10\r\nTrailer: X-Sum\r\n\r\n0123456789",
	}
	w, _ := newHybrid(t, playUnix(t, answering(answers)), nil)
	var slow atomic.Int64
	w.server.OnSlow(func() { slow.Add(1) })
	w.deployWorker("my-app", assets.Config{}, files{"/there.txt": "file", "/page.html": strings.Repeat("<p>", 1000), "/no.type.zzz": "<html>"}, models.WorkerBundle{})
	paths := []string{"/there.txt", "/page", "/page.html", "/no.type.zzz"}
	for path := range answers {
		if path != "/hints" { // which is two answers
			paths = append(paths, path)
		}
	}
	require.Equal(t, "file", w.get("my-app.localhost", "/there.txt").body, "the route is known")
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD"} {
			for _, headers := range []string{"", "Accept: text/html\r\nAccept-Encoding: gzip, br\r\n", "X-Request-Id: mine-1\r\nRange: bytes=0-1\r\nIf-None-Match: \"x\"\r\n"} {
				request := method + " " + path + "?a=%20 HTTP/1.1\r\nHost: my-app.localhost\r\n" + headers + "\r\n"
				before := slow.Load()
				served := w.exchange(t, request)
				require.Equal(t, before, slow.Load(), request)
				require.Equal(t, w.exchange(t, slowly(request)), served, request)
				require.Equal(t, before+1, slow.Load(), request)
			}
		}
	}

	hints := "GET /hints HTTP/1.1\r\nHost: my-app.localhost\r\nX-Request-Id: same\r\n\r\n"
	for _, request := range []string{hints, slowly(hints)} {
		conn := w.dial()
		conn.send(request)
		early := conn.read("GET")
		require.Equal(t, 103, early.status)
		require.Equal(t, "</a.css>", early.header.Get("Link"))
		last := conn.read("GET")
		require.Equal(t, http.Header{"Content-Length": {"2"}, "X-Request-Id": {"same"}, "Date": last.header["Date"]}, last.header)
		require.Equal(t, "ok", last.body)
	}

	// All of them on one connection, which stays in step.
	conn := w.dial()
	for range 3 {
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD"} {
				conn.send(method + " " + path + " HTTP/1.1\r\nHost: my-app.localhost\r\nX-Request-Id: " + path[1:2] + "\r\n\r\n")
				require.Equal(t, path[1:2], conn.read(method).header.Get("X-Request-Id"), path)
			}
		}
	}
}

func TestFrontServe_workersSeeWhatNetHTTPWouldTellThem(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, reflect), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	w.get("my-app.localhost", "/")
	for _, target := range []string{"/", "/a%2Fb//c/../d?x=%20&worker=y", "//x", "/%C3%BC/ü?ü=%zz", "/?"} {
		for _, headers := range []string{
			"", "Pragma: no-cache\r\n", "Pragma: no-cache\r\nCache-Control: max-age=1\r\n", "Cookie: a=b\r\nCookie: slipway_bucket=3; c=d\r\n",
			"accept: a\r\nACCEPT: b\r\nX-Empty:\r\nX-Tab:\ta \t\r\n", "TE: trailers\r\nConnection: keep-alive\r\n", "X-Slipway-Org: 1\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: x\r\n",
			"Keep-Alive: 1\r\nProxy-Authorization: x\r\nTrailer: x\r\n", "User-Agent: ü\r\nX_Y: 1\r\nReferer: \r\n",
		} {
			request := "GET " + target + " HTTP/1.1\r\nHost: My-App.localhost:3005\r\nX-Request-Id: same\r\n" + headers + "\r\n"
			require.Equal(t, w.exchange(t, slowly(request)), w.exchange(t, request), request)
		}
	}
}

func TestFrontServe_endsTheRequestOfAClientThatLeaves(t *testing.T) {
	asked, left := make(chan struct{}), make(chan struct{})
	w, _ := newHybrid(t, serveUnix(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{"/there.txt": "file"}, models.WorkerBundle{})
	w.get("my-app.localhost", "/there.txt")
	w.server.OnSlow(func() { t.Error("net/http answered") })
	for _, leave := range []func(net.Conn) error{net.Conn.Close, func(c net.Conn) error { return c.(*net.TCPConn).CloseWrite() }} {
		conn := w.dial()
		conn.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
		<-asked
		require.NoError(t, leave(conn.Conn))
		<-left
	}
}

func TestFrontServe_goesOnAfterALongAnswer(t *testing.T) {
	goOn := make(chan struct{})
	w, _ := newHybrid(t, serveUnix(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			_, _ = io.WriteString(rw, "begun")
			rw.(http.Flusher).Flush()
			<-goOn
		}
		_, _ = io.WriteString(rw, r.URL.Path)
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{"/there.txt": "file"}, models.WorkerBundle{})
	secure := w.serveTLS().Transport.(*http.Transport).Clone()
	secure.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	secure.ForceAttemptHTTP2, secure.TLSClientConfig.NextProtos = false, []string{"http/1.1"}
	t.Cleanup(secure.CloseIdleConnections)
	encrypted, err := secure.DialContext(t.Context(), "tcp", "")
	require.NoError(t, err)
	for name, conn := range map[string]net.Conn{"plain": w.dial().Conn, "TLS": tls.Client(encrypted, secure.TLSClientConfig)} {
		t.Run(name, func(t *testing.T) {
			defer func() { _ = conn.Close() }()
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			c := &client{t, conn, bufio.NewReader(conn)}
			request := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n" }
			for range 3 {
				// Waited for in silence, then with the next request half there, then with
				// two there already.
				for _, meanwhile := range []string{"", request("/next")[:20], request("/next") + request("/more")} {
					c.send(request("/long"))
					// Longer than a client is taken to stay: what is read meanwhile is what is tested.
					time.Sleep(120 * time.Millisecond)
					c.send(meanwhile)
					time.Sleep(20 * time.Millisecond)
					goOn <- struct{}{}
					require.Equal(t, "begun/long", c.read("GET").body)
					switch {
					case strings.HasSuffix(meanwhile, "\r\n\r\n"):
						require.Equal(t, "/next", c.read("GET").body)
						require.Equal(t, "/more", c.read("GET").body)
					case meanwhile != "":
						c.send(request("/next")[20:])
						require.Equal(t, "/next", c.read("GET").body)
					}
				}
			}
		})
	}
}

func TestFrontServe_shutdownWaitsForAWorkersAnswerAndCloseDoesNot(t *testing.T) {
	for _, hard := range []bool{false, true} {
		asked, goOn, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
		w, _ := newHybrid(t, serveUnix(t, func(rw http.ResponseWriter, r *http.Request) {
			close(asked)
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(rw, "answer")
			close(left)
		}), nil)
		w.deployWorker("my-app", assets.Config{}, files{"/there.txt": "file"}, models.WorkerBundle{})
		w.get("my-app.localhost", "/there.txt")
		conn := w.dial()
		conn.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
		<-asked
		if hard {
			require.NoError(t, w.server.Close())
			<-left
			conn.ended()
			continue
		}
		ended := w.beginShutdown()
		close(goOn)
		require.Equal(t, "answer", conn.read("GET").body)
		require.NoError(t, <-ended)
		conn.ended()
	}
}
