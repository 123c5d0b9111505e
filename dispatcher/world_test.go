package dispatcher_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) {
	sandbox.RunInit() // when this program is the first process of a worker's sandbox
	leaks.VerifyTestMain(pgtest.Wrap(m))
}

// board is a routes table in memory that announces its changes, with a switch
// for the connection to it.
type board struct {
	mu        sync.Mutex
	rows      map[string]models.Route
	next      int64
	down      bool
	listeners map[chan string]context.CancelCauseFunc
	connected int

	reads atomic.Int64
	// hold, when set, is called with each row after it was read and before it is returned.
	hold func(models.Route)
}

func newBoard() *board {
	return &board{rows: make(map[string]models.Route), listeners: make(map[chan string]context.CancelCauseFunc)}
}

var errDown = models.Errorf(models.CodeDatabase, "The database did not answer; try again shortly.")

func (b *board) Route(ctx context.Context, key string) (models.Route, error) {
	b.reads.Add(1)
	b.mu.Lock()
	row, ok := b.rows[key]
	down, hold := b.down, b.hold
	b.mu.Unlock()
	if hold != nil {
		hold(row)
	}
	switch {
	case down:
		return models.Route{}, errDown
	case !ok:
		return models.Route{}, models.Errorf(models.CodeNotFound, "Nothing is deployed there.")
	}
	return row, nil
}

func (b *board) Listen(ctx context.Context, channel string, connected func(), notify func(string)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	changes := make(chan string, 64)
	b.mu.Lock()
	if b.down || channel != models.RoutesChannel {
		b.mu.Unlock()
		return errDown
	}
	b.listeners[changes] = cancel
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.listeners, changes)
		b.mu.Unlock()
	}()
	connected()
	b.count(1)
	defer b.count(-1)
	for {
		select {
		case key := <-changes:
			notify(key)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *board) Ping(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errDown
	}
	return nil
}

// flip points a key at a release and announces it.
func (b *board) flip(key, org, digest string) {
	b.place(key, org, digest)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.announce(key)
}

// place points a key at a release and says nothing.
func (b *board) place(key, org, digest string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	_, name, _ := strings.Cut(key, ":")
	b.rows[key] = models.Route{Key: key, OrganizationID: org, WorkerName: name, ReleaseID: "rel-" + digest[:8], ManifestDigest: digest, Generation: b.next}
}

func (b *board) remove(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.rows, key)
	b.announce(key)
}

func (b *board) announce(key string) {
	for changes := range b.listeners {
		changes <- key
	}
}

// setDown breaks or mends the connection, for readers and listeners.
func (b *board) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
	for _, cancel := range b.listeners {
		if down {
			cancel(errDown)
		}
	}
}

func (b *board) listening() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connected > 0
}

func (b *board) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.connected += n
}

// world is a running dispatcher with its parts.
type world struct {
	t      testing.TB
	board  *board
	blobs  *fs.Store
	scope  string
	root   string
	d      *dispatcher.Dispatcher
	server *dispatcher.Server
	addr   string
}

const org = "org1"

// newWorld serves on a port of its own. change may alter the options.
func newWorld(t testing.TB, change func(*dispatcher.Options)) *world {
	t.Helper()
	root := t.TempDir()
	store, err := fs.New(fs.Options{Root: root})
	require.NoError(t, err)
	log := logrus.New()
	log.SetOutput(io.Discard)
	w := &world{t: t, board: newBoard(), blobs: store, scope: org, root: root}
	opts := dispatcher.Options{
		Domain: "localhost", Namespace: "test-dispatcher", Version: "1.2.3", Environment: "test",
		Routes: w.board, Invalidations: w.board, Blobs: store, Database: w.board, Storage: store, Log: log,
	}
	if change != nil {
		change(&opts)
	}
	w.d, err = dispatcher.New(opts)
	require.NoError(t, err)
	server := w.d.Server()
	w.server = server
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	running.Go(func() { require.NoError(t, w.d.Run(ctx)) })
	t.Cleanup(func() {
		cancel()
		require.NoError(t, server.Close())
		running.Wait()
	})
	if opts.Invalidations != nil {
		eventually(t, w.board.listening)
	}
	return w
}

// patience is how long a test waits for what must come. It is long, because only
// a test that fails waits for all of it, and a busy machine is no failure.
const patience = 2 * time.Minute

func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, 2*time.Millisecond)
}

type files map[string]string

// release stores a release and gives its manifest's digest.
func (w *world) release(config assets.Config, content files) string {
	w.t.Helper()
	builder, err := assets.NewBuilder(config)
	require.NoError(w.t, err)
	for path, text := range content {
		switch path {
		case "/_headers":
			rules, warnings := assets.ParseHeaders([]byte(text))
			require.Empty(w.t, warnings)
			builder.SetHeaders(rules)
			continue
		case "/_redirects":
			rules, warnings := assets.ParseRedirects([]byte(text), config.HTMLHandling)
			require.Empty(w.t, warnings)
			builder.SetRedirects(rules)
			continue
		}
		file := assets.File{Digest: w.put(text), Size: int64(len(text)), ContentType: assets.ContentType(path, []byte(text))}
		if strings.HasSuffix(path, ".html") {
			file.Encodings = map[string]assets.Encoded{"br": {Digest: w.put("br:" + text), Size: int64(len(text)) + 3}}
		}
		require.NoError(w.t, builder.Add(path, file))
	}
	manifest, err := builder.Build()
	require.NoError(w.t, err)
	data, err := manifest.Encode()
	require.NoError(w.t, err)
	return w.put(string(data))
}

func (w *world) put(text string) string {
	key, err := blob.PutBytes(context.Background(), w.blobs, w.scope, []byte(text))
	require.NoError(w.t, err)
	return key.Digest
}

// deploy releases files under a worker name.
func (w *world) deploy(worker string, content files) {
	w.t.Helper()
	w.board.flip(models.WorkerRouteKey(worker), org, w.release(assets.Config{}, content))
}

type answer struct {
	status int
	header http.Header
	body   string
}

// get asks http://<host><path>, path as it is, and follows no redirect.
func (w *world) get(host, path string, header ...string) answer {
	return w.do("GET", host, path, header...)
}

func (w *world) do(method, host, path string, header ...string) answer {
	w.t.Helper()
	var request bytes.Buffer
	request.WriteString(method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n")
	for i := 0; i < len(header); i += 2 {
		request.WriteString(header[i] + ": " + header[i+1] + "\r\n")
	}
	request.WriteString("\r\n")
	return w.raw(request.String(), method)
}

// raw sends bytes on a connection of their own and reads one answer.
func (w *world) raw(request, method string) answer {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(w.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, request)
	require.NoError(w.t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(w.t, err, "request %q", request)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}
