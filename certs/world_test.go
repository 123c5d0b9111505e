package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipwayhq/slipway/certs"
	"github.com/slipwayhq/slipway/certs/pebbletest"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/tools/leaks"
)

const secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestMain(m *testing.M) {
	if settings := os.Getenv(processSettings); settings != "" {
		runProcess(settings)
		return
	}
	leaks.VerifyTestMain(pgtest.Wrap(m),
		// One for each account and authority, for as long as the process lives.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

func sealKey(t testing.TB) *seal.Key {
	t.Helper()
	key, err := seal.New(secret)
	require.NoError(t, err)
	return key
}

// database is one of the test's own with the schema in it.
func database(t testing.TB) string {
	t.Helper()
	return modelstest.URL(t)
}

func openStore(t testing.TB, url string) *models.Store {
	t.Helper()
	store, err := models.OpenStore(models.StoreOptions{URL: url, MaxConns: 8})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// domains decides like the table of domains will, and counts.
type domains struct {
	mu     sync.Mutex
	active []string
	asked  atomic.Int64
	// broken makes it not know.
	broken atomic.Bool
}

func (d *domains) allowed(_ context.Context, host string) error {
	d.asked.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.broken.Load():
		return models.Errorf(models.CodeDatabase, "broken")
	case slices.Contains(d.active, host):
		return nil
	default:
		return models.Errorf(models.CodeDomainNotFound, "no such domain")
	}
}

// running is what serves with certificates: HTTPS, and HTTP for challenges.
type running struct {
	*certs.Certs
	domains *domains
	log     *logLines
	tls     net.Listener
	http    net.Listener
	stop    func()
}

// testLease outlasts what may hold up a holder that lives, and is waited for by
// whoever comes after one that was killed.
const testLease = 4 * time.Second

// options are those of most tests.
func options(t testing.TB, store *models.Store, d *domains, authority *pebbletest.Server) certs.Options {
	t.Helper()
	o := certs.Options{Domain: "apps.test", Allowed: d.allowed, Rows: store, Key: sealKey(t), LocalDir: filepath.Join(t.TempDir(), "certs"), Lease: testLease}
	if authority != nil {
		o.Directory, o.CAFile, o.Email = authority.Directory, authority.CAFile, "ops@apps.test"
	}
	return o
}

// listen takes a free port.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// serve runs a dispatcher on listeners; either may be nil.
func serve(t testing.TB, o certs.Options, tlsListener, httpListener net.Listener, d *domains) *running {
	t.Helper()
	lines := &logLines{}
	if o.Log == nil {
		log := logrus.New()
		log.SetOutput(lines)
		o.Log = log
	}
	c, err := certs.New(o)
	require.NoError(t, err)
	x := &running{Certs: c, domains: d, log: lines, tls: tlsListener, http: httpListener}
	x.stop = start(c, tlsListener, httpListener)
	t.Cleanup(func() {
		x.stop()
		if t.Failed() {
			t.Log(lines.String())
		}
	})
	return x
}

// start serves until what it returns is called.
func start(c *certs.Certs, tlsListener, httpListener net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = c.Run(ctx) })
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.Host) })
	var servers []*http.Server
	if tlsListener != nil {
		server := &http.Server{Handler: hello, TLSConfig: c.TLSConfig(), ErrorLog: quietLog()}
		servers = append(servers, server)
		group.Go(func() { _ = server.ServeTLS(tlsListener, "", "") })
	}
	if httpListener != nil {
		server := &http.Server{Handler: c.HTTPChallenge(certs.Redirect(hello, 443)), ErrorLog: quietLog()}
		servers = append(servers, server)
		group.Go(func() { _ = server.Serve(httpListener) })
	}
	return sync.OnceFunc(func() {
		for _, server := range servers {
			_ = server.Close()
		}
		cancel()
		group.Wait()
	})
}

// handshake does a full handshake and returns the certificate served.
func handshake(addr, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: name, RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connection, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

func requireRefused(t testing.TB, addr, name string) {
	t.Helper()
	_, err := handshake(addr, name, nil)
	require.ErrorContains(t, err, "unrecognized name")
}

// patience is how long a test waits for what must come: long, because only a test
// that fails waits for all of it.
const patience = 2 * time.Minute

// eventually polls.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// settledRequests is how many ACME requests there were, once it stays the same:
// the authority writes down what it is asked a moment later.
func settledRequests(t testing.TB, authority *pebbletest.Server) int {
	t.Helper()
	last := -1
	eventually(t, "an end of the requests", func() bool {
		before := last
		time.Sleep(200 * time.Millisecond) // not a wait for something: nothing is to happen meanwhile
		last = authority.Requests()
		return last == before
	})
	return last
}

// logLines keeps what is logged.
type logLines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// processSettings makes the test binary a dispatcher of its own.
const processSettings = "SLIPWAY_CERTS_TEST_PROCESS"

// process are the settings of a dispatcher in another process.
type process struct {
	URL, Directory, CAFile, LocalDir string
	Active                           []string
	// TLS and HTTP say which of the inherited sockets, from descriptor 3 on, are
	// there.
	TLS, HTTP bool
	// HoldLock makes it take a lock, say so, and do nothing more.
	HoldLock string
}

// startProcess starts one with the sockets and returns when it serves; kill ends
// it as a crash would.
func startProcess(t testing.TB, p process, tlsListener, httpListener net.Listener) (kill func()) {
	t.Helper()
	p.TLS, p.HTTP = tlsListener != nil, httpListener != nil
	settings, err := json.Marshal(p)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), processSettings+"="+string(settings))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	for _, l := range []net.Listener{tlsListener, httpListener} {
		if l == nil {
			continue
		}
		file, err := l.(*net.TCPListener).File()
		require.NoError(t, err)
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	ready := make([]byte, 6)
	_, err = io.ReadFull(out, ready)
	require.NoError(t, err, "the other process did not start")
	return kill
}

func runProcess(settings string) {
	var p process
	check(json.Unmarshal([]byte(settings), &p))
	store, err := models.OpenStore(models.StoreOptions{URL: p.URL, MaxConns: 4})
	check(err)
	key, err := seal.New(secret)
	check(err)
	d := &domains{active: p.Active}
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	c, err := certs.New(certs.Options{Domain: "apps.test", Allowed: d.allowed, Rows: store, Key: key, LocalDir: p.LocalDir, Log: log,
		Directory: p.Directory, CAFile: p.CAFile, Email: "ops@apps.test", Lease: testLease})
	check(err)
	if p.HoldLock != "" {
		check(c.Storage().Lock(context.Background(), p.HoldLock))
	}
	var sockets []net.Listener
	for i, wanted := range []bool{p.TLS, p.HTTP} {
		if !wanted {
			sockets = append(sockets, nil)
			continue
		}
		fd := 3
		if i == 1 && p.TLS {
			fd = 4
		}
		l, err := net.FileListener(os.NewFile(uintptr(fd), "socket"))
		check(err)
		sockets = append(sockets, l)
	}
	start(c, sockets[0], sockets[1])
	fmt.Print("ready\n")
	select {}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
