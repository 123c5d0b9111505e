package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/oci"
	"github.com/slipwayhq/slipway/toolchain"
	"github.com/slipwayhq/slipway/tools/leaks"
	"github.com/slipwayhq/slipway/upstream"
)

func TestMain(m *testing.M) {
	sandbox.RunInit()
	os.Exit(m.Run())
}

// world is a host with everything around it.
type world struct {
	*Host
	t     testing.TB
	blobs *blobs
	env   environment
	lines *sink
	way   *outbound
	kv    *keys
	stop  func()
	// organization is whose releases are deployed.
	organization string
}

// blobs can be out of reach.
type blobs struct {
	blob.Store
	mu   sync.Mutex
	away bool
}

func (b *blobs) Get(ctx context.Context, key blob.Key) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return nil, models.Errorf(models.CodeStorage, "the store is away")
	}
	return b.Store.Get(ctx, key)
}

type environment struct {
	mu     *sync.Mutex
	values map[string]models.Environment
	err    *error
}

func (e environment) Environment(_ context.Context, releaseID string) (models.Environment, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.values[releaseID], *e.err
}

type sink struct {
	mu    sync.Mutex
	lines []LogLine
}

func (s *sink) Log(_ Release, lines []LogLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, lines...)
}

// of gives the lines of a release.
func (s *sink) of(releaseID string) []LogLine {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []LogLine
	for _, line := range s.lines {
		if line.ReleaseID == releaseID {
			lines = append(lines, line)
		}
	}
	return lines
}

// outbound records what workers send out.
type outbound struct {
	mu   sync.Mutex
	seen []string
}

func (o *outbound) handler(r Release) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		o.mu.Lock()
		o.seen = append(o.seen, fmt.Sprintf("%s %s %s", r.ID, q.Method, q.URL))
		o.mu.Unlock()
		if q.Method != http.MethodConnect {
			fmt.Fprintf(w, "answer to %s", q.URL)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		said := make([]byte, 4)
		_, _ = io.ReadFull(buffered, said)
		_, _ = io.WriteString(conn, "tunnel "+string(said))
	})
}

func (o *outbound) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string{}, o.seen...)
}

// keys is the least of a KV namespace.
type keys struct{ sync.Map }

func (k *keys) handler(organizationID, namespace string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := organizationID + "/" + namespace + r.URL.Path
		switch r.Method {
		case http.MethodPut:
			value, _ := io.ReadAll(r.Body)
			k.Store(name, value)
		case http.MethodGet:
			value, ok := k.Load(name)
			if !ok {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = w.Write(value.([]byte))
		}
	})
}

type assetFiles struct{}

func (assetFiles) Assets(_ context.Context, r Release) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		fmt.Fprintf(w, "asset %s of %s", q.URL.Path, r.ID)
	}), nil
}

func testLimits() config.Edge {
	return config.Edge{
		IdleTimeout: time.Hour, MaxWorkers: 20, MemoryBytes: 4 << 30,
		WorkerHeapBytes: 128 << 20, WorkerMemoryBytes: 256 << 20, WorkerCPUs: 1, WorkerRequests: 200,
		RequestTimeout: patience, CPUTimeout: 1500 * time.Millisecond, StartTimeout: patience,
		DrainTimeout: 5 * time.Second,
	}
}

// newWorld starts a host; change may change its options.
func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("workers are sandboxed by runc here, which needs root")
	}
	folder, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Install(t.Context(), folder, io.Discard)
	require.NoError(t, err)
	state := t.TempDir()
	before := goleak.IgnoreCurrent()
	provider, err := oci.New(oci.Options{StateDir: state + "/sandboxes", Log: testLog(t)})
	require.NoError(t, err)
	store, err := fs.New(fs.Options{Root: state + "/blobs"})
	require.NoError(t, err)
	var failure error
	w := &world{
		t: t, organization: "org1", blobs: &blobs{Store: store}, lines: &sink{}, way: &outbound{}, kv: &keys{},
		env: environment{mu: &sync.Mutex{}, values: map[string]models.Environment{}, err: &failure},
	}
	options := Options{
		Services: provider, Workerd: tools.Tool("workerd"), StateDir: state + "/edge", Blobs: w.blobs, Assets: assetFiles{},
		Environment: w.env, KV: w.kv.handler, Outbound: w.way.handler, Logs: w.lines,
		UIDBase: func(context.Context, string) (uint32, error) { return 1_900_000_000, nil },
		Limits:  testLimits(), Log: testLog(t),
	}
	for _, c := range change {
		c(&options)
	}
	w.Host, err = New(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = w.Run(ctx)
	}()
	w.stop = sync.OnceFunc(func() {
		closing, release := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer release()
		_ = w.Host.Close(closing)
		cancel()
		<-ran
		require.NoError(t, provider.Close())
	})
	t.Cleanup(func() {
		w.stop()
		leaks.VerifyNone(t, before)
	})
	return w
}

func testLog(t testing.TB) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(t.Output())
	log.SetLevel(logrus.DebugLevel)
	return log
}

// deploy stores a worker of one module and gives its release.
func (w *world) deploy(id, script string, change ...func(*models.WorkerBundle)) Release {
	w.t.Helper()
	return w.deployModules(id, []module{{name: "main.js", kind: models.ModuleES, content: script}}, change...)
}

// deployFor does so for another organization.
func (w *world) deployFor(organization, id, script string) Release {
	w.t.Helper()
	own := w.organization
	defer func() { w.organization = own }()
	w.organization = organization
	return w.deploy(id, script)
}

type module struct {
	name      string
	kind      models.ModuleType
	content   string
	sourceMap string
}

func (w *world) deployModules(id string, modules []module, change ...func(*models.WorkerBundle)) Release {
	w.t.Helper()
	bundle := models.WorkerBundle{CompatibilityDate: "2026-01-01", CompatibilityFlags: []string{"nodejs_compat"}}
	for _, m := range modules {
		made := models.WorkerModule{Name: m.name, Type: m.kind, Digest: w.put(m.content), Size: int64(len(m.content))}
		if m.sourceMap != "" {
			made.SourceMap = w.put(m.sourceMap)
		}
		bundle.Modules = append(bundle.Modules, made)
	}
	for _, c := range change {
		c(&bundle)
	}
	data, err := bundle.Encode()
	require.NoError(w.t, err)
	return Release{ID: id, OrganizationID: w.organization, ProjectID: "project", WorkerName: "worker", WorkerDigest: w.put(string(data))}
}

func (w *world) put(content string) string {
	w.t.Helper()
	key, err := blob.PutBytes(w.t.Context(), w.blobs.Store, w.organization, []byte(content))
	require.NoError(w.t, err)
	return key.Digest
}

// answer is what a visitor got.
type answer struct {
	status int
	body   string
	err    error
}

// get sends a request as the dispatcher does.
func (w *world) get(r Release, path string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lease, err := w.Open(ctx, r)
	if err != nil {
		return answer{err: err}
	}
	defer lease.Close()
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://worker.test"+path, nil)
	began := time.Now()
	err = lease.Upstream.Forward(recorder, request, upstream.Forwarding{Target: path, Host: "worker.test"})
	if err != nil {
		err = lease.Failed(err)
	}
	target, _, _ := strings.Cut(path, "?")
	lease.Report(Request{ID: "request-1", Method: http.MethodGet, Path: target, Status: recorder.Code, Duration: time.Since(began), Err: err})
	return answer{status: recorder.Code, body: recorder.Body.String(), err: err}
}

func (w *world) expect(r Release, path, body string) {
	w.t.Helper()
	got := w.get(r, path)
	require.NoError(w.t, got.err)
	require.Equal(w.t, body, got.body)
}

// awaitLine waits for a line of a release's log.
func (w *world) awaitLine(r Release, kind, part string) LogLine {
	w.t.Helper()
	var found LogLine
	w.eventually(func() bool {
		for _, line := range w.lines.of(r.ID) {
			if line.Kind == kind && strings.Contains(line.Message, part) {
				found = line
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("no %s line with %q in %s", kind, part, w.logOf(r)) })
	return found
}

func (w *world) logOf(r Release) string {
	lines, _ := json.MarshalIndent(w.lines.of(r.ID), "", " ")
	return string(lines)
}

// patience is how long a test waits for what must come: long, because only a test
// that fails waits for all of it.
const patience = 2 * time.Minute

func (w *world) eventually(condition func() bool, why func() string) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			w.t.Fatal(why())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// runs counts the processes that take requests.
func (w *world) runs() int {
	n := 0
	for _, worker := range w.Status().Workers {
		if !worker.Stopping {
			n++
		}
	}
	return n
}
