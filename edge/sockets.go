package edge

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/egress"
)

// The names of the sockets that a worker reaches, below insideSockets.
const (
	outboundSocket = "outbound"
	assetsSocket   = "assets"
	cacheSocket    = "cache"
)

func kvSocket(i int) string { return fmt.Sprintf("kv%d", i) }

// What a worker may have of connections to its sockets; more wait to be accepted.
// Each is a descriptor of this process, of which all workers together have some
// hundred thousand: KV answers few requests at a time, and there may be a hundred
// namespaces.
const (
	maxWorkerConns = 320
	maxCacheConns  = 32
	maxKVConns     = 64
)

// socketFolder is a folder of unix sockets, open to the host's user alone. A
// socket is named through the folder's descriptor, since a socket's path may have
// 107 bytes and the folder may be anywhere.
type socketFolder struct {
	path string
	fd   *os.File
}

func openSocketFolder(path string) (*socketFolder, error) {
	if err := os.RemoveAll(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	fd, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &socketFolder{path: path, fd: fd}, nil
}

func (f *socketFolder) close() {
	_ = f.fd.Close()
	_ = os.RemoveAll(f.path)
}

// short is a socket's path for bind and connect.
func (f *socketFolder) short(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.fd.Fd(), name)
}

// listen makes a socket. What is to be reached from a sandbox needs a mode that
// lets the sandbox's user in; the folder keeps all others out.
func (f *socketFolder) listen(name string, mode os.FileMode) (*net.UnixListener, error) {
	listener, err := net.Listen("unix", f.short(name))
	if err != nil {
		return nil, err
	}
	unixListener := listener.(*net.UnixListener)
	unixListener.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(f.path, name), mode); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return unixListener, nil
}

// hand makes a listening socket for another process: this one does not keep it,
// so that connecting fails once that process has ended.
func (f *socketFolder) hand(name string) (*os.File, error) {
	listener, err := f.listen(name, 0o600)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return listener.File()
}

func (f *socketFolder) dial(ctx context.Context, name string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", f.short(name))
}

func (f *socketFolder) remove(name string) { _ = os.Remove(filepath.Join(f.path, name)) }

// ends are the host's ends of what a worker reaches: a server on a socket each.
type ends struct {
	folder  *socketFolder
	context context.Context
	cancel  context.CancelFunc
	servers []*http.Server
	names   []string
	binds   []sandbox.Bind
	// active counts the requests and tunnels under way.
	active atomic.Int64
}

func newEnds(folder *socketFolder) *ends {
	e := &ends{folder: folder}
	e.context, e.cancel = context.WithCancel(context.Background())
	return e
}

// serve answers with handler on a socket that the worker sees as inside, on as many
// connections at a time as conns.
func (e *ends) serve(name, inside string, conns int, handler http.Handler) error {
	listener, err := e.folder.listen(name, 0o666)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           e.counted(handler),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    256 << 10,
		// What hostile code sends is no event of ours.
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return e.context },
	}
	e.names = append(e.names, name)
	e.servers = append(e.servers, server)
	e.binds = append(e.binds, sandbox.Bind{Source: filepath.Join(e.folder.path, name), Destination: insideSockets + "/" + inside})
	go func() { _ = server.Serve(egress.LimitListener(listener, conns)) }()
	return nil
}

func (e *ends) counted(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.active.Add(1)
		defer e.active.Add(-1)
		handler.ServeHTTP(w, r)
	})
}

// close ends every request and tunnel, and removes the sockets.
func (e *ends) close() {
	e.cancel()
	for _, server := range e.servers {
		_ = server.Close()
	}
	for _, name := range e.names {
		e.folder.remove(name)
	}
}

// emptyCache is the cache API, in which nothing is ever found: what a worker puts
// into caches.default is taken and forgotten. It speaks what workerd asks of
// cacheApiOutbound (src/workerd/api/cache.c++): PUT, GET with only-if-cached, PURGE.
func emptyCache(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPut:
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	case "PURGE":
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Cf-Cache-Status", "MISS")
		w.WriteHeader(http.StatusGatewayTimeout)
	}
}

// noWayOut refuses what a worker sends out.
func noWayOut(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Workers cannot reach the network on this host.", http.StatusForbidden)
}
