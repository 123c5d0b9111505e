package dispatcher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/toolchain"
	"github.com/slipwayhq/slipway/upstream"
)

// workers leases one server to everybody, as an edge.Host would lease processes.
type workers struct {
	client *upstream.Client
	// fail, when set, is what Open says.
	fail error
	mu   sync.Mutex
	last edge.Release
	// opened counts leases.
	opened atomic.Int64
}

func (w *workers) Open(_ context.Context, r edge.Release) (*edge.Lease, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = r
	if w.fail != nil {
		return nil, w.fail
	}
	w.opened.Add(1)
	return &edge.Lease{Upstream: w.client}, nil
}

func (w *workers) Prepare(edge.Release, bool) {}

func (w *workers) setFail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// leasing makes workers of whoever listens on a unix socket.
func leasing(t testing.TB, socket string) *workers {
	client := upstream.New(upstream.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}})
	t.Cleanup(client.Close)
	return &workers{client: client}
}

// serveUnix runs a handler behind a unix socket.
func serveUnix(t testing.TB, handler http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := &http.Server{Handler: handler}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	return socket
}

// playUnix answers each connection to a unix socket by hand.
func playUnix(t testing.TB, play func(conn net.Conn)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(patience))
				play(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return socket
}

// newHybrid is a world whose workers are leased from a socket.
func newHybrid(t testing.TB, socket string, change func(*dispatcher.Options)) (*world, *workers) {
	leased := leasing(t, socket)
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Workers = leased
		if change != nil {
			change(o)
		}
	})
	return w, leased
}

// deployWorker releases files and a worker under a worker name.
func (w *world) deployWorker(worker string, config assets.Config, content files, bundle models.WorkerBundle) {
	w.t.Helper()
	if len(bundle.Modules) == 0 {
		bundle.Modules = []models.WorkerModule{{Name: "worker.js", Type: models.ModuleES, Digest: strings.Repeat("0", 64)}}
	}
	data, err := bundle.Encode()
	require.NoError(w.t, err)
	key := models.WorkerRouteKey(worker)
	w.board.place(key, org, w.release(config, content))
	digest := w.put(string(data))
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	row := w.board.rows[key]
	row.WorkerDigest = digest
	w.board.rows[key] = row
	w.board.announce(key)
}

// reflect answers with what it saw of the request.
func reflect(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen{r.Method, r.Host, r.RequestURI, r.Header, string(body)})
}

type seen struct {
	Method, Host, Target string
	Header               http.Header
	Body                 string
}

func (a answer) seen(t testing.TB) seen {
	t.Helper()
	require.Equal(t, 200, a.status, a.body)
	var s seen
	require.NoError(t, json.Unmarshal([]byte(a.body), &s), a.body)
	return s
}

const workerdConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main) ],
  sockets = [ (name = "http", address = "unix:%s", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "worker", esModule = embed "worker.js") ],
  compatibilityDate = "2026-01-01",
  compatibilityFlags = ["enable_request_signal"],
);
`

// startWorkerd runs a script in the real workerd, without a sandbox.
func startWorkerd(t testing.TB, script string) (socket string, process *os.Process) {
	t.Helper()
	folder, err := toolchain.DefaultDir()
	require.NoError(t, err)
	installed, err := toolchain.Install(t.Context(), folder, io.Discard)
	require.NoError(t, err)
	dir := t.TempDir()
	socket = filepath.Join(dir, "s")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.capnp"), fmt.Appendf(nil, workerdConfig, socket), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "worker.js"), []byte(script), 0o644))
	command := exec.Command(installed.Tool("workerd"), "serve", filepath.Join(dir, "config.capnp"))
	var said strings.Builder
	command.Stderr = &said
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("workerd said: %s", said.String())
		}
	})
	eventually(t, func() bool {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return socket, command.Process
}

// request makes a request of which the answer is read by the caller.
func (w *world) request(method, host, path string, body io.Reader, header ...string) (*http.Response, error) {
	w.t.Helper()
	request, err := http.NewRequest(method, "http://"+w.addr+path, body)
	require.NoError(w.t, err)
	request.Host = host
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	return transport.RoundTrip(request)
}

// recorded is what a handler answers.
func recorded(handler http.Handler, r *http.Request) answer {
	out := httptest.NewRecorder()
	handler.ServeHTTP(out, r)
	return answer{out.Code, out.Header(), out.Body.String()}
}

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
