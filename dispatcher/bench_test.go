package dispatcher_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// discard is a response nobody reads; it measures the dispatcher alone.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkServe is what a request costs between the server's parsing and its
// writing: first without, then with metrics.
func BenchmarkServe(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkServe(b, nil) })
	b.Run("measured", func(b *testing.B) { benchmarkServe(b, prometheus.NewRegistry()) })
}

func benchmarkServe(b *testing.B, metrics prometheus.Registerer) {
	root := b.TempDir()
	store, err := fs.New(fs.Options{Root: root})
	require.NoError(b, err)
	log := logrus.New()
	log.SetOutput(io.Discard)
	w := &world{t: b, board: newBoard(), blobs: store, scope: org, root: root}
	w.d, err = dispatcher.New(dispatcher.Options{Domain: "localhost", Routes: w.board, Invalidations: w.board, Blobs: store, Log: log, Metrics: metrics})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.d.Run(ctx) }()
	defer func() { cancel(); require.NoError(b, <-done) }()
	eventually(b, w.board.listening)
	const sites = 10_000
	shared := files{"/index.html": strings.Repeat("<p>hello</p>", 300), "/app.js": strings.Repeat("x", 20_000)}
	digest := w.release(assets.Config{}, shared)
	for i := range sites {
		w.board.flip(models.WorkerRouteKey(fmt.Sprint("app-", i)), org, digest)
	}
	for _, c := range []struct{ name, host, path string }{
		{"page", "app-%d.localhost:3005", "/"},
		{"script", "app-%d.localhost", "/app.js"},
		{"missing", "app-%d.localhost", "/nothing/here"},
		{"path routing", "localhost", "/dispatch/app-%d/"},
	} {
		b.Run(c.name, func(b *testing.B) {
			requests := make([]*http.Request, 256)
			for i := range requests {
				fill := func(text string) string { return strings.Replace(text, "%d", fmt.Sprint(i*7%sites), 1) }
				requests[i] = httptest.NewRequest("GET", fill(c.path), nil)
				requests[i].Host = fill(c.host)
				requests[i].Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
			}
			out := &discard{header: make(http.Header)}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				clear(out.header)
				w.d.ServeHTTP(out, requests[i%len(requests)])
			}
		})
	}
}

// BenchmarkFront is a small file from memory over one connection, first without,
// then with metrics.
func BenchmarkFront(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkFront(b, nil) })
	b.Run("measured", func(b *testing.B) { benchmarkFront(b, prometheus.NewRegistry()) })
}

func benchmarkFront(b *testing.B, metrics prometheus.Registerer) {
	w := newWorld(b, func(o *dispatcher.Options) { o.Metrics = metrics })
	w.deploy("my-app", files{"/index.html": "hello"})
	require.Equal(b, http.StatusOK, w.get("my-app.localhost", "/").status)
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(b, err)
	defer conn.Close()
	request, answer := []byte("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n"), make([]byte, 4096)
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if n, err := conn.Read(answer); err != nil || !strings.HasSuffix(string(answer[:n]), "hello") {
			b.Fatal(string(answer[:n]), err)
		}
	}
}
