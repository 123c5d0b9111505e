package oci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/toolchain"
)

// workerd is the real one; it is installed on the first use.
func workerd(t testing.TB) string {
	t.Helper()
	folder, err := toolchain.DefaultDir()
	require.NoError(t, err)
	installed, err := toolchain.Install(t.Context(), folder, io.Discard)
	require.NoError(t, err)
	return installed.Tool("workerd")
}

func testService(id string, args ...string) sandbox.ServiceSpec {
	return sandbox.ServiceSpec{
		ID: id, UIDBase: testUIDBase, UIDCount: sandbox.MinUIDCount, Args: args,
		Limits: sandbox.Limits{MemoryBytes: 256 << 20, CPUs: 2, PIDs: 128, DiskBytes: 16 << 20},
	}
}

// startService starts a service that the provider's clean-up removes.
func startService(t testing.TB, p *Provider, spec sandbox.ServiceSpec) sandbox.Service {
	t.Helper()
	s, err := p.StartService(t.Context(), spec)
	require.NoError(t, err)
	return s
}

// shService is a service that is a shell script, and all that it says.
func shService(t testing.TB, p *Provider, id, script string) (sandbox.Service, *said) {
	t.Helper()
	output := &said{}
	spec := testService(id, "/bin/sh", "-c", script)
	spec.Stdout, spec.Stderr = output, output
	return startService(t, p, spec), output
}

func awaitEnd(t testing.TB, s sandbox.Service) sandbox.Exit {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the service did not end")
	}
	return s.Exit()
}

// awaitSaid waits for the end of what a service says, which may come some time after
// that of the service; see lastWordsTimeout.
func awaitSaid(t testing.TB, output *said, end string) {
	t.Helper()
	eventually(t, "it has said all", func() bool { return strings.HasSuffix(output.String(), end) })
}

// said is a buffer for several goroutines.
type said struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.String()
}

// worker is a Worker's folder and the socket it is to listen on.
type worker struct {
	folder, socket string
	program        string
	client         *http.Client
}

const workerdConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main) ],
  sockets = [ (name = "http", address = "*:1", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "worker", esModule = embed "worker.js") ],
  compatibilityDate = "2026-01-01",
  compatibilityFlags = ["nodejs_compat"],
);
`

func newWorker(t testing.TB, script string) *worker {
	t.Helper()
	folder, err := os.MkdirTemp("", "slipway-worker-*")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	w := &worker{folder: filepath.Join(folder, "worker"), socket: filepath.Join(folder, "http"), program: workerd(t)}
	require.NoError(t, os.Mkdir(w.folder, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(w.folder, "config.capnp"), []byte(workerdConfig), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(w.folder, "worker.js"), []byte(script), 0o644))
	w.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", w.socket)
		},
	}, Timeout: patience}
	return w
}

// listen makes the socket that the service inherits.
func (w *worker) listen(t testing.TB) *os.File {
	t.Helper()
	_ = os.Remove(w.socket)
	listener, err := net.Listen("unix", w.socket)
	require.NoError(t, err)
	defer listener.Close()
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	file, err := listener.(*net.UnixListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

func (w *worker) args(folder, program string) []string {
	return []string{program, "serve", folder + "/config.capnp", "--socket-fd", "http=3"}
}

func (w *worker) service(t testing.TB, id string) sandbox.ServiceSpec {
	spec := testService(id, w.args("/worker", "/opt/workerd")...)
	spec.Binds = []sandbox.Bind{
		{Source: w.program, Destination: "/opt/workerd"}, {Source: w.folder, Destination: "/worker"},
	}
	spec.Files = []*os.File{w.listen(t)}
	return spec
}

func (w *worker) get(path string) (string, error) {
	response, err := w.client.Get("http://worker" + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body), err
}
