package dispatcher_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

func TestHostile_ambiguousRequestsNeverReachAWorker(t *testing.T) {
	var reached atomic.Int64
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reached.Add(1)
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	const head = "POST / HTTP/1.1\r\nHost: my-app.localhost\r\n"
	const hidden = "GET /hidden HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n"
	for name, request := range map[string]string{
		"length and chunks":     head + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks and length":     head + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":           head + "Content-Length: 6\r\nContent-Length: 5\r\n\r\nabcdef" + hidden,
		"list of lengths":       head + "Content-Length: 6, 5\r\n\r\nabcdef" + hidden,
		"signed length":         head + "Content-Length: +6\r\n\r\nabcdef" + hidden,
		"two codings":           head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		"coding with a tab":     head + "Transfer-Encoding: \tchunked\v\r\n\r\n0\r\n\r\n" + hidden,
		"folded coding":         head + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + hidden,
		"space before colon":    head + "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\nab" + hidden,
		"bare line feed":        head + "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nab" + hidden,
		"bare carriage return":  head + "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nab" + hidden,
		"chunks in HTTP/1.0":    "POST / HTTP/1.0\r\nHost: my-app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"target with a space":   "GET /a b HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n" + hidden,
		"two hosts":             "GET / HTTP/1.1\r\nHost: my-app.localhost\r\nHost: other.localhost\r\n\r\n" + hidden,
		"method with a control": "GE\x01T / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n" + hidden,
	} {
		conn, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		all, _ := io.ReadAll(conn)
		_ = conn.Close()
		require.Equal(t, 1, strings.Count(string(all), "HTTP/1.1 "), "%s: %s", name, all)
		require.Regexp(t, `^HTTP/1\.1 (400|501) `, string(all), name)
		require.Zero(t, reached.Load(), name)
	}
}

func TestHostile_malformedChunksEndARequestToAWorker(t *testing.T) {
	ended := make(chan error, 8)
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	for name, body := range map[string]string{
		"size of letters":  "5\r\nhello\r\nxyz\r\n",
		"chunk too long":   "5\r\nhello!\r\n0\r\n\r\n",
		"bare line feed":   "5\r\nhello\r\n5\nhello\r\n0\r\n\r\n",
		"length in trails": "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: my-app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+body+"GET /hidden HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
		require.NoError(t, err)
		all, _ := io.ReadAll(conn)
		_ = conn.Close()
		require.Regexp(t, `^HTTP/1\.1 400 `, string(all), name)
		require.Equal(t, 1, strings.Count(string(all), "HTTP/1.1 "), name)
		require.Error(t, <-ended, "%s: the worker does not take it for a whole body", name)
	}
}

func TestHostile_clientThatDoesNotReadIsCutOffFromAWorker(t *testing.T) {
	gone := make(chan struct{}, 8)
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		part := make([]byte, 64<<10)
		for {
			if _, err := w.Write(part); err != nil {
				gone <- struct{}{}
				return
			}
		}
	}), func(o *dispatcher.Options) { o.Limits.SlowGrace = 200 * time.Millisecond })
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	require.NoError(t, err)
	response, err := w.serveTLS().Get("https://my-app.localhost/") // nor over HTTP/2
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	for range 2 {
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatal("the worker still writes to nobody")
		}
	}
}

func TestWorker_quietStreamsAreLeftAlone(t *testing.T) {
	const limit, quiet = time.Second, 2 * time.Second
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data\n")
		w.(http.Flusher).Flush()
		time.Sleep(quiet) // not a wait for something: the stream is what is quiet
		_, _ = io.WriteString(w, "data\n")
	}), func(o *dispatcher.Options) { o.Limits.SlowGrace, o.Limits.AnswerTimeout = limit, limit })
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	for base, client := range map[string]*http.Client{"http://my-app.localhost": w.plain(), "https://my-app.localhost": w.serveTLS()} {
		t.Run(base[:5], func(t *testing.T) {
			t.Parallel()
			response, err := client.Get(base)
			// A busy machine may need longer than the limit for the head.
			for range 20 {
				if err != nil || response.StatusCode != http.StatusGatewayTimeout {
					break
				}
				_ = response.Body.Close()
				response, err = client.Get(base)
			}
			require.NoError(t, err)
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Equal(t, "data\ndata\n", string(body))
		})
	}
}

// Requests that only the runtime found wrong were answered with its own texts, some
// of them with 5xx, which let any visitor make a rollout go back.
func TestWorkerd_oddRequestsAreNoErrorsOfTheWorkers(t *testing.T) {
	socket, _ := startWorkerd(t, `export default { fetch(request) { return new Response(request.method + " " + request.url); } }`)
	w, _ := newHybrid(t, socket, nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	for _, c := range []struct {
		line, host string
		status     int
		body       string
	}{
		{"GET /", "my-app.localhost:65536", 400, "Invalid worker name format"},
		{"GET /", "my-app.localhost:99999", 400, "Invalid worker name format"},
		{"FOO /", "my-app.localhost", 501, "Request method not supported"},
		{"get /", "my-app.localhost", 501, "Request method not supported"},
		{"PROPFIND /", "my-app.localhost", 200, "PROPFIND http://my-app.localhost/"},
		{"GET /a<b>`?q=\"<x>\"", "my-app.localhost", 200, "GET http://my-app.localhost/a%3Cb%3E%60?q=%22%3Cx%3E%22"},
		{"GET /\xff\xc3\xbc", "my-app.localhost", 200, "GET http://my-app.localhost/%FF%C3%BC"},
	} {
		a := w.raw(c.line+" HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n", "GET")
		require.Equal(t, c.status, a.status, c.line)
		require.Contains(t, a.body, c.body, c.line)
	}
}
