package dispatcher_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

func TestWorker_seesTheVisitorsRequest(t *testing.T) {
	w, leased := newHybrid(t, serveUnix(t, reflect), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	a := w.raw("PUT /a%2Fb//c/../d?x=%20&worker=y HTTP/1.1\r\nHost: My-App.localhost:3005\r\nConnection: close\r\nContent-Length: 4\r\nCookie: a=b\r\n"+
		"X-Request-Id: mine\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\nCF-Connecting-IP: 6.6.6.6\r\n"+
		"CF-Ray: x\r\nForwarded: for=6.6.6.6\r\nTrue-Client-IP: 6.6.6.6\r\nX-Slipway-Org: x\r\nX-Worker-Name: x\r\n\r\nbody", "PUT")
	s := a.seen(t)
	require.Equal(t, "PUT", s.Method)
	require.Equal(t, "My-App.localhost:3005", s.Host)
	require.Equal(t, "/a%2Fb//c/../d?x=%20&worker=y", s.Target)
	require.Equal(t, "body", s.Body)
	require.Equal(t, http.Header{
		"Content-Length": {"4"}, "Cookie": {"a=b"}, "X-Request-Id": {"mine"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"},
		"X-Forwarded-Host": {"My-App.localhost:3005"}, "X-Real-Ip": {"127.0.0.1"}, "Cf-Connecting-Ip": {"127.0.0.1"},
	}, s.Header)
	require.Equal(t, "mine", a.header.Get("X-Request-Id"))
	require.Equal(t, "my-app", leased.last.WorkerName)
	require.NotEmpty(t, leased.last.WorkerDigest)
	require.NotEmpty(t, leased.last.ManifestDigest)
	require.Equal(t, org, leased.last.OrganizationID)
}

func TestWorker_onOurOwnHostHasNoSessionAndSetsNone(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/go" {
			w.Header().Set("Location", r.URL.Query().Get("to"))
			w.WriteHeader(302)
			return
		}
		for _, name := range []string{"Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed", "Alt-Svc"} {
			w.Header().Set(name, "x")
		}
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		reflect(w, r)
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	for prefix, target := range map[string]string{"/dispatch/my-app": "/a%2Fb?c", "/api/dispatch/my-app": "/x/y"} {
		a := w.get("dispatcher.localhost:3005", prefix+target, "Cookie", "session=secret")
		s := a.seen(t)
		require.Equal(t, "my-app.localhost:3005", s.Host)
		require.Equal(t, target, s.Target)
		require.NotContains(t, s.Header, "Cookie")
		require.Equal(t, prefix, s.Header.Get("X-Forwarded-Prefix"))
		for _, name := range []string{"Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed", "Alt-Svc"} {
			require.Empty(t, a.header.Values(name), name)
		}
		require.Equal(t, []string{"default-src 'self'", "sandbox"}, a.header.Values("Content-Security-Policy"))
		require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
	}
	for to, want := range map[string]string{
		"/next?a=b": "/dispatch/my-app/next?a=b", "/": "/dispatch/my-app/", "//other.example/x": "//other.example/x",
		`/\other.example`: `/\other.example`, "https://other.example/": "https://other.example/", "relative": "relative",
	} {
		require.Equal(t, want, w.get("localhost", "/dispatch/my-app/go?to="+strings.ReplaceAll(to, "?", "%3F")).header.Get("Location"))
		require.Equal(t, to, w.get("my-app.localhost", "/go?to="+strings.ReplaceAll(to, "?", "%3F")).header.Get("Location"))
	}
	require.Equal(t, "/?a=b", w.get("localhost", "/dispatch?worker=my-app&a=b").seen(t).Target)
}

func TestWorker_failuresTellVisitorsNothing(t *testing.T) {
	w, leased := newHybrid(t, serveUnix(t, reflect), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	const secret = "password in a stack trace"
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{models.Errorf(models.CodeWorkerStart, secret), 502, "Worker failed to start"},
		{models.Errorf(models.CodeWorkerCrashed, secret), 502, "Worker crashed"},
		{models.Errorf(models.CodeWorkerBusy, secret), 503, "Worker is busy"},
		{models.Errorf(models.CodeDatabase, secret), 503, "Database connection failed"},
		{models.Errorf(models.CodeSandbox, secret), 500, "Internal dispatch error"},
		{errors.New(secret), 500, "Internal dispatch error"},
	} {
		leased.setFail(c.err)
		for _, accept := range []string{"application/json", "text/html"} {
			a := w.get("my-app.localhost", "/", "Accept", accept, "X-Request-Id", "the-id")
			require.Equal(t, c.status, a.status)
			require.Contains(t, a.body, c.text)
			require.Contains(t, a.body, "the-id")
			require.NotContains(t, a.body, "password")
			require.Equal(t, c.status == 503 && strings.HasPrefix(c.text, "Worker"), a.header.Get("Retry-After") != "")
		}
	}
}

func TestWorker_badAnswersAreAnswered(t *testing.T) {
	play := func(answer string) func(net.Conn) {
		return func(conn net.Conn) {
			in := bufio.NewReader(conn)
			if _, err := http.ReadRequest(in); err == nil {
				_, _ = io.WriteString(conn, answer)
			}
		}
	}
	for name, c := range map[string]struct {
		play   func(net.Conn)
		status int
		text   string
	}{
		"no answer":       {play(""), 502, "Worker did not answer"},
		"half a head":     {play("HTTP/1.1 200 OK\r\nContent-"), 502, "Worker did not answer"},
		"not HTTP":        {play("hello\r\n\r\n"), 502, "Worker sent an invalid answer"},
		"smuggled length": {play("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 502, "Worker sent an invalid answer"},
		"silence":         {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, 504, "Worker did not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newHybrid(t, playUnix(t, c.play), func(o *dispatcher.Options) {
				if c.status == http.StatusGatewayTimeout {
					o.Limits.AnswerTimeout = 200 * time.Millisecond
				}
			})
			w.deployWorker("my-app", assets.Config{}, files{"/there.txt": "file"}, models.WorkerBundle{})
			for _, request := range []string{
				"GET / HTTP/1.1\r\nHost: my-app.localhost\r\nConnection: close\r\n\r\n",
				"POST / HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
			} {
				a := w.raw(request, "GET")
				require.Equal(t, c.status, a.status, a.body)
				var body map[string]string
				require.NoError(t, json.Unmarshal([]byte(a.body), &body))
				require.Equal(t, c.text, body["error"])
			}
			require.Equal(t, "file", w.get("my-app.localhost", "/there.txt").body, "files are served all the same")
		})
	}
}

func TestWorker_answerThatBreaksOffIsSeenToBeIncomplete(t *testing.T) {
	for name, answer := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
	} {
		w, _ := newHybrid(t, playUnix(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, answer)
			}
		}), nil)
		w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
		response, err := w.request("GET", "my-app.localhost", "/", nil)
		if err != nil {
			continue // broken off before anything was sent
		}
		_, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
	}
}

func TestWorker_bodiesAreBoundedAndEndNoConnections(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, reflect), func(o *dispatcher.Options) { o.Limits.RequestBytes = 1000 })
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	large := strings.Repeat("x", 1001)
	require.Equal(t, 413, w.raw("POST / HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 1001\r\n\r\n"+large, "POST").status)
	require.Equal(t, 413, w.raw("POST / HTTP/1.1\r\nHost: my-app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"+large+"\r\n0\r\n\r\n", "POST").status)

	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	in := bufio.NewReader(conn)
	for range 3 {
		for _, request := range []string{
			"POST / HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 5\r\n\r\nhello",
			"POST / HTTP/1.1\r\nHost: my-app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		} {
			_, err = io.WriteString(conn, request)
			require.NoError(t, err)
			response, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			var s seen
			require.NoError(t, json.NewDecoder(response.Body).Decode(&s))
			_, _ = io.Copy(io.Discard, response.Body)
			require.Equal(t, "hello", s.Body)
		}
	}
}

func TestWorker_withoutAHostIsOurFault(t *testing.T) {
	w := newWorld(t, nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	require.Equal(t, 500, w.get("my-app.localhost", "/").status)
}

func TestAssets_answerTheBinding(t *testing.T) {
	w := newWorld(t, nil)
	manifest := w.release(assets.Config{NotFoundHandling: assets.NotFoundPage}, files{"/index.html": "start", "/404.html": "none", "/a b.txt": "text"})
	handler, err := w.d.Assets(t.Context(), edge.Release{ID: "r", OrganizationID: org, ManifestDigest: manifest})
	require.NoError(t, err)
	for _, c := range []struct {
		method, url, body string
		status            int
	}{
		{"GET", "http://assets.local/", "start", 200}, {"GET", "https://any.host/a%20b.txt?q", "text", 200},
		{"GET", "http://x/none", "none", 404}, {"GET", "http://x/index.html", "", 307}, {"POST", "http://x/", "", 405}, {"HEAD", "http://x/", "", 200},
	} {
		request, err := http.NewRequest(c.method, c.url, nil)
		require.NoError(t, err)
		out := recorded(handler, request)
		require.Equal(t, c.status, out.status, c.url)
		require.Equal(t, c.body, out.body, c.url)
	}
	_, err = w.d.Assets(t.Context(), edge.Release{OrganizationID: org, ManifestDigest: strings.Repeat("1", 64)})
	require.Error(t, err)
	handler, err = w.d.Assets(t.Context(), edge.Release{OrganizationID: org})
	require.NoError(t, err)
	request, _ := http.NewRequest("GET", "http://x/", nil)
	request.Header.Set("Accept", "text/html")
	require.Equal(t, answer{404, http.Header{}, ""}, recorded(handler, request))
}

func TestWorker_largeAnswersArriveWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcde\n"), 32<<20/16)
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		}
		_, _ = w.Write(content)
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	for base, client := range map[string]*http.Client{"http://my-app.localhost": w.plain(), "https://my-app.localhost": w.serveTLS()} {
		for _, path := range []string{"/length", "/chunks"} {
			response, err := client.Get(base + path)
			require.NoError(t, err)
			got, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			_ = response.Body.Close()
			require.True(t, bytes.Equal(content, got), base+path)
		}
	}
}
