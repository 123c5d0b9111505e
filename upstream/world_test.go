package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/tools/leaks"
	"github.com/slipwayhq/slipway/upstream"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// patience is how long a test waits for what must come: long, because only a test
// that fails waits for all of it.
const patience = 2 * time.Minute

// front is a server that forwards everything to a listener on a unix socket.
type front struct {
	t      testing.TB
	client *upstream.Client
	server *httptest.Server
	dials  atomic.Int64
	// change alters what is forwarded.
	change func(*upstream.Forwarding)
	errs   chan error
}

// newFront forwards to whoever listens on the given listener.
func newFront(t testing.TB, listener net.Listener, secure bool) *front {
	f := &front{t: t, errs: make(chan error, 1024)}
	f.client = upstream.New(upstream.Options{Dial: func(ctx context.Context) (net.Conn, error) {
		f.dials.Add(1)
		return dialer(listener)(ctx)
	}})
	f.server = httptest.NewUnstartedServer(f)
	if secure {
		f.server.EnableHTTP2 = true
		f.server.StartTLS()
	} else {
		f.server.Start()
	}
	t.Cleanup(func() {
		f.client.Close()
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	how := upstream.Forwarding{Target: r.RequestURI, Host: r.Host}
	if f.change != nil {
		f.change(&how)
	}
	err := f.client.Forward(w, r, how)
	f.errs <- err
	switch {
	case err == nil:
	case upstream.Began(err):
		panic(http.ErrAbortHandler)
	default:
		var failed *upstream.Error
		if !errors.As(err, &failed) {
			panic("not an upstream.Error")
		}
		status := http.StatusBadGateway
		if failed.Stage == upstream.StageClient {
			status = http.StatusBadRequest
		}
		http.Error(w, failed.Stage.String()+": "+err.Error(), status)
	}
}

// err waits for the outcome of a request.
func (f *front) err() error {
	f.t.Helper()
	select {
	case err := <-f.errs:
		return err
	case <-time.After(patience):
		f.t.Fatal("no request ended")
		return nil
	}
}

// dial connects a raw client to the front.
func (f *front) dial() net.Conn {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(f.t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// send writes a request on a new connection and reads all there is until its end.
func (f *front) send(request string) string {
	f.t.Helper()
	conn := f.dial()
	_, err := io.WriteString(conn, request)
	require.NoError(f.t, err)
	all, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		require.NoError(f.t, err)
	}
	return string(all)
}

// httpClient speaks to the front, over HTTP/2 when it is secure.
func (f *front) httpClient() *http.Client {
	client := f.server.Client()
	client.Timeout = patience
	return client
}

func listenUnix(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// serve runs a handler behind a unix socket.
func serve(t testing.TB, handler http.HandlerFunc) net.Listener {
	t.Helper()
	listener := listenUnix(t)
	server := &http.Server{Handler: handler}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	return listener
}

// script answers each connection by hand.
func script(t testing.TB, play func(conn net.Conn, in *bufio.Reader)) net.Listener {
	t.Helper()
	listener := listenUnix(t)
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
				play(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener
}

// say answers every request on a connection with the same bytes.
func say(t testing.TB, answer string) net.Listener {
	return script(t, func(conn net.Conn, in *bufio.Reader) {
		for {
			if _, err := readHead(in); err != nil {
				return
			}
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	})
}

// sayAndClose answers one request and ends the connection.
func sayAndClose(t testing.TB, answer string) net.Listener {
	return script(t, func(conn net.Conn, in *bufio.Reader) {
		if _, err := readHead(in); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	})
}

// readHead reads a request's head as it came.
func readHead(in *bufio.Reader) (string, error) {
	var all strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		all.WriteString(line)
		if line == "\r\n" {
			return all.String(), nil
		}
	}
}

const get = "GET /a%2Fb?c=%20d HTTP/1.1\r\nHost: my.host:99\r\nConnection: close\r\n\r\n"

func dialer(listener net.Listener) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, listener.Addr().Network(), listener.Addr().String())
	}
}
