package dispatcher_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox/oci"
	"github.com/slipwayhq/slipway/toolchain"
)

// lateAssets breaks the circle: the host serves assets by the dispatcher, which
// sends requests to the host.
type lateAssets struct{ d *dispatcher.Dispatcher }

func (l *lateAssets) Assets(ctx context.Context, r edge.Release) (http.Handler, error) {
	return l.d.Assets(ctx, r)
}

// newEdgeWorld is a world whose workers run in the real host: sandboxed, each in
// a process of its own.
func newEdgeWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("workers are sandboxed by runc here, which needs root")
	}
	folder, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Install(t.Context(), folder, io.Discard)
	require.NoError(t, err)
	log := logrus.New()
	log.SetOutput(t.Output())
	state := t.TempDir()
	provider, err := oci.New(oci.Options{StateDir: filepath.Join(state, "sandboxes"), Log: log})
	require.NoError(t, err)
	late := &lateAssets{}
	var host *edge.Host
	w := newWorld(t, func(o *dispatcher.Options) {
		host, err = edge.New(edge.Options{
			Services: provider, Workerd: tools.Tool("workerd"), StateDir: filepath.Join(state, "edge"), Blobs: o.Blobs.(blob.Store), Assets: late,
			Environment: noEnvironment{}, Log: log,
			UIDBase: func(context.Context, string) (uint32, error) { return 1_900_000_000, nil },
			Limits: config.Edge{
				IdleTimeout: time.Hour, MaxWorkers: 20, MemoryBytes: 4 << 30, WorkerHeapBytes: 128 << 20, WorkerMemoryBytes: 256 << 20,
				WorkerCPUs: 1, WorkerRequests: 200, RequestTimeout: patience, CPUTimeout: 1500 * time.Millisecond,
				StartTimeout: patience, DrainTimeout: time.Second, LogLines: 500,
			},
		})
		require.NoError(t, err)
		o.Workers = host
	})
	late.d = w.d
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = host.Run(ctx) })
	t.Cleanup(func() {
		closing, release := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer release()
		_ = host.Close(closing)
		cancel()
		running.Wait()
		require.NoError(t, provider.Close())
	})
	return w
}

type noEnvironment struct{}

func (noEnvironment) Environment(context.Context, string) (models.Environment, error) {
	return models.Environment{}, nil
}

// deployScript releases files and a worker of one module.
func (w *world) deployScript(worker string, content files, script string, shared *models.WorkerAssets) {
	w.t.Helper()
	w.deployWorker(worker, assets.Config{}, content, models.WorkerBundle{
		Modules:           []models.WorkerModule{{Name: "worker.js", Type: models.ModuleES, Digest: w.put(script), Size: int64(len(script))}},
		CompatibilityDate: "2026-01-01", Assets: shared,
	})
}

func TestEdgeHost_visitorsReachWorkersAndFiles(t *testing.T) {
	w := newEdgeWorld(t)
	w.deployScript("my-app", files{"/index.html": "start", "/note.txt": "a note"}, `
		export default { async fetch(request, env) {
			const url = new URL(request.url);
			if (url.pathname === "/api/note") {
				const note = await env.ASSETS.fetch(new URL("/note.txt", url));
				return new Response("[" + await note.text() + "]", { status: note.status });
			}
			if (url.pathname === "/api/none") return env.ASSETS.fetch(new URL("/none", url));
			if (url.pathname === "/spin") for (;;) {}
			return new Response(request.method + " " + url.pathname + " " + request.headers.get("CF-Connecting-IP") + " " + await request.text());
		} };`, &models.WorkerAssets{Binding: "ASSETS", RunWorkerFirst: []string{"/api/*"}})
	w.deployScript("broken", files{"/index.html": "still here"}, `throw new Error("a secret reason");`, nil)
	w.deployScript("other", files{}, `export default { fetch() { return new Response("well"); } };`, nil)

	require.Equal(t, "start", w.get("my-app.localhost", "/").body)
	require.Equal(t, "[a note]", w.get("my-app.localhost", "/api/note").body)
	require.Equal(t, 404, w.get("my-app.localhost", "/api/none").status)
	a := w.raw("POST /form HTTP/1.1\r\nHost: my-app.localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nname", "POST")
	require.Equal(t, "POST /form 127.0.0.1 name", a.body)

	a = w.get("broken.localhost", "/api")
	require.Equal(t, 502, a.status)
	require.Contains(t, a.body, "Worker failed to start")
	require.NotContains(t, a.body, "secret")
	require.Equal(t, "still here", w.get("broken.localhost", "/").body)

	spun := make(chan answer, 1)
	go func() {
		defer close(spun) // also when get gives up
		spun <- w.get("my-app.localhost", "/spin")
	}()
	require.Equal(t, "well", w.get("other.localhost", "/").body)
	a = <-spun
	require.Equal(t, 502, a.status, a.body)
	require.Contains(t, a.body, "Worker crashed")
	eventually(t, func() bool { return w.get("my-app.localhost", "/again").status == http.StatusOK })
	require.True(t, strings.HasPrefix(w.get("my-app.localhost", "/again").body, "GET /again"))
}
