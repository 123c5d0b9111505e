// Package pebbletest starts pebble, Let's Encrypt's own small ACME server for
// tests, with its challenge test server as the name server that sends every host
// to this machine.
package pebbletest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipwayhq/slipway/tools/program"
)

// Options change how the authority behaves.
type Options struct {
	// Resolver is the name server that challenges are looked up with; "" starts
	// pebble-challtestsrv, which has 127.0.0.1 for every name.
	Resolver string
	// Validity is how long certificates are good for; default 90 days.
	Validity time.Duration
	// OCSPURL goes into certificates; "" leaves them without.
	OCSPURL string
	// HTTPPort and TLSPort are where challenges are looked for; 0 picks free ones.
	HTTPPort, TLSPort int
}

// Server is a running authority.
type Server struct {
	// Directory is its ACME directory, CAFile a PEM file with what its own HTTPS
	// is trusted by.
	Directory, CAFile string
	// HTTPPort and TLSPort are where it looks for HTTP-01 and TLS-ALPN-01.
	HTTPPort, TLSPort int

	management string
	client     *http.Client
	log        *buffer
}

// build is done once in a test binary: even finding that there is nothing to do
// takes Go half a second.
var build = sync.OnceValues(func() (bin string, err error) {
	const pebble = "github.com/letsencrypt/pebble/v2/cmd/"
	return program.Build("pebble", pebble+"pebble", pebble+"pebble-challtestsrv")
})

const startTimeout = 20 * time.Second

// Start builds the server when needed (some seconds the first time on a machine),
// and stops it when the test ends.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &Server{CAFile: filepath.Join(dir, "ca.pem"), HTTPPort: opts.HTTPPort, TLSPort: opts.TLSPort, log: &buffer{}}
	for _, port := range []*int{&s.HTTPPort, &s.TLSPort} {
		if *port == 0 {
			*port = FreePort(t)
		}
	}
	resolver := opts.Resolver
	if resolver == "" {
		resolver = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		run(t, s.log, filepath.Join(bin, "pebble-challtestsrv"), "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
			"-dnsserver", resolver, "-management", fmt.Sprintf("127.0.0.1:%d", FreePort(t)), "-defaultIPv6", "")
	}
	keyFile := filepath.Join(dir, "key.pem")
	if err := writeCertificate(s.CAFile, keyFile); err != nil {
		t.Fatal(err)
	}
	listen := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	management := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	s.Directory, s.management = "https://"+listen+"/dir", "https://"+management
	if opts.Validity == 0 {
		opts.Validity = 90 * 24 * time.Hour
	}
	config := filepath.Join(dir, "pebble.json")
	settings, _ := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": s.CAFile, "privateKey": keyFile,
		"httpPort": s.HTTPPort, "tlsPort": s.TLSPort, "ocspResponderURL": opts.OCSPURL,
		"keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 0, "order": 0},
		"profiles": map[string]any{"default": map[string]any{"description": "test", "validityPeriod": int(opts.Validity.Seconds())}},
	}})
	if err := os.WriteFile(config, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	own, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(own)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	s.client = &http.Client{Timeout: 5 * time.Second, Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	run(t, s.log, filepath.Join(bin, "pebble"), "-config", config, "-dnsserver", resolver)
	s.await(t)
	return s
}

// Roots are what certificates of this authority are trusted by.
func (s *Server) Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	answer, err := s.client.Get(s.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	root, err := io.ReadAll(answer.Body)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(root) {
		t.Fatalf("the ACME server gives no root: %v", err)
	}
	return pool
}

// Requests is how many ACME requests there were, the directory's aside.
func (s *Server) Requests() int {
	log := s.log.String()
	return strings.Count(log, "-> calling handler()") - strings.Count(log, "/dir -> calling handler()") -
		strings.Count(log, "/roots/ -> calling handler()")
}

// Orders is how many certificates were ordered.
func (s *Server) Orders() int {
	return strings.Count(s.log.String(), "POST /order-plz -> calling handler()")
}

// Log is what the server said.
func (s *Server) Log() string { return s.log.String() }

func (s *Server) await(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		answer, err := s.client.Get(s.Directory)
		if err == nil {
			_ = answer.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the ACME test server does not start: %v\n%s", err, s.log.String())
		}
	}
}

// run starts a program that dies with the test, or with the test binary.
func run(t testing.TB, log io.Writer, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	// No faults, no pauses: tests want to know what happens, soon.
	cmd.Env = append(os.Environ(), "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // reports the signal
	})
}

// FreePort is one that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// writeCertificate makes a certificate for 127.0.0.1 that vouches for itself.
func writeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble's own"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// buffer is a bytes.Buffer that a process writes while a test reads.
type buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
