package dispatcher_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// output is a log that a test reads while it is written.
type output struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines.Write(p)
}

func (o *output) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Split(strings.TrimSuffix(o.lines.String(), "\n"), "\n")
}

func TestAccessLog_hasOneLineForEachRequestWhoeverAnswers(t *testing.T) {
	out := &output{}
	w := newWorld(t, func(o *dispatcher.Options) {
		o.AccessLog = dispatcher.AccessLog{Requests: "all", JSON: true, Output: out}
	})
	w.deploy("my-app", files{"/index.html": "start"})
	w.get("my-app.localhost", "/?secret=1", "X-Request-Id", "one")
	conn := w.dial()
	conn.send("GET /?secret=2 HTTP/1.1\r\nHost: my-app.localhost\r\nX-Request-Id: two\r\n\r\n")
	require.Equal(t, 200, conn.read("GET").status)
	w.get("my-app.localhost", "/\xff\"\\missing", "X-Request-Id", "three")
	w.get("localhost", "/health", "X-Request-Id", "four")
	w.get("a_b.localhost", "/", "X-Request-Id", "five")
	six := w.raw("GET / HTTP/1.1\nHost: my-app.localhost\n\n", "GET").header.Get("X-Request-Id")
	eventually(t, func() bool { return len(out.all()) == 6 })
	type line struct {
		Level, Msg, Time, Method, Host, Path, Worker, Release, Client, RequestID string
		Status                                                                   int
		MS                                                                       float64
	}
	lines := make(map[string]line)
	for _, text := range out.all() {
		require.NotContains(t, text, "secret")
		var l line
		require.NoError(t, json.Unmarshal([]byte(text), &l), text)
		require.Equal(t, "info", l.Level)
		require.NotEmpty(t, l.Time)
		require.Contains(t, l.Client, "127.0.0.1:")
		lines[l.RequestID] = l
	}
	for _, id := range []string{"one", "two"} {
		l := lines[id]
		require.Equal(t, []any{"GET", "my-app.localhost", "/", 200, "my-app"}, []any{l.Method, l.Host, l.Path, l.Status, l.Worker})
		require.NotEmpty(t, l.Release)
	}
	require.Equal(t, "/\ufffd\"\\missing", lines["three"].Path)
	require.Equal(t, 404, lines["three"].Status)
	require.Equal(t, 200, lines["four"].Status)
	require.Empty(t, lines["four"].Worker)
	require.Equal(t, 400, lines["five"].Status)
	require.Equal(t, 400, lines[six].Status, "what is no request has a line too")
}

func TestAccessLog_ofErrorsHasOnlyThose(t *testing.T) {
	out := &output{}
	w := newWorld(t, func(o *dispatcher.Options) { o.AccessLog = dispatcher.AccessLog{Requests: "errors", Output: out} })
	w.deploy("my-app", files{"/index.html": "start"})
	w.board.flip(models.WorkerRouteKey("broken"), org, strings.Repeat("a", 64))
	require.Equal(t, 200, w.get("my-app.localhost", "/").status)
	require.Equal(t, 404, w.get("my-app.localhost", "/missing").status)
	require.Equal(t, 500, w.get("broken.localhost", "/").status)
	require.NoError(t, w.server.Shutdown(t.Context()), "which writes what is waiting")
	lines := out.all()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], ` level=info msg=request status=500 ms=`)
	require.Contains(t, lines[0], ` worker="broken" `)
}
