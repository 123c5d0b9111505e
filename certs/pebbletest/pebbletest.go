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
	"errors"
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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

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

const startTimeout = 2 * time.Minute

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
		resolver = startNames(t, bin, s.log)
	}
	keyFile := filepath.Join(dir, "key.pem")
	if err := writeCertificate(s.CAFile, keyFile); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	own, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(own)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	s.client = &http.Client{Timeout: startTimeout, Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	if opts.Validity == 0 {
		opts.Validity = 90 * 24 * time.Hour
	}
	config := filepath.Join(dir, "pebble.json")
	// It must be told its ports, and somebody else may take a free one first.
	for range 10 {
		listen := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		management := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		s.Directory, s.management = "https://"+listen+"/dir", "https://"+management
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
		if s.serves(t, run(t, s.log, filepath.Join(bin, "pebble"), "-config", config, "-dnsserver", resolver)) {
			return s
		}
	}
	t.Fatalf("the ACME test server finds no ports:\n%s", s.log.String())
	return nil
}

// startNames starts the name server that has 127.0.0.1 for every name.
func startNames(t testing.TB, bin string, log io.Writer) (addr string) {
	t.Helper()
	for range 10 { // as above
		addr = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		ended := run(t, log, filepath.Join(bin, "pebble-challtestsrv"), "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
			"-dnsserver", addr, "-management", fmt.Sprintf("127.0.0.1:%d", FreePort(t)), "-defaultIPv6", "")
		if answersNames(t, addr, ended) {
			return addr
		}
	}
	t.Fatal("the name server for challenges finds no ports")
	return ""
}

// answersNames waits until a name server answers. It is false when the process
// ended instead.
func answersNames(t testing.TB, addr string, ended <-chan struct{}) bool {
	t.Helper()
	question := new(dns.Msg).SetQuestion("ready.test.", dns.TypeA)
	for deadline := time.Now().Add(startTimeout); ; {
		_, err := dns.Exchange(question, addr)
		if err == nil {
			return true
		}
		if time.Now().After(deadline) {
			t.Fatalf("the name server for challenges does not start: %v", err)
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
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

// serves waits until the server answers at both its addresses. It is false when
// the process ended instead.
func (s *Server) serves(t testing.TB, ended <-chan struct{}) bool {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); ; {
		err := errors.Join(s.ask(s.Directory), s.ask(s.management+"/roots/0"))
		if err == nil {
			return true
		}
		if time.Now().After(deadline) {
			t.Fatalf("the ACME test server does not start: %v\n%s", err, s.log.String())
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) ask(url string) error {
	answer, err := s.client.Get(url)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// run starts a program that dies with the test, or with the test binary.
func run(t testing.TB, log io.Writer, program string, args ...string) (ended <-chan struct{}) {
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
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = cmd.Wait() // reports the signal
	}()
	t.Cleanup(func() {
		cancel()
		<-gone
	})
	return gone
}

// portsGiven counts what FreePort has tried in this process.
var portsGiven atomic.Uint32

// FreePort is one at which nobody takes TCP or UDP on 127.0.0.1, and which nobody
// comes by before it is used: no two calls of a process give the same, and the
// kernel gives ports from 32768 on to those who ask for any (ip(7),
// ip_local_port_range).
func FreePort(t testing.TB) int {
	t.Helper()
	const first, count = 20000, 12000
	for range count {
		// Test programs that run at once begin apart.
		port := first + int((uint32(os.Getpid())*89+portsGiven.Add(1))%count)
		if isFree(fmt.Sprintf("127.0.0.1:%d", port)) {
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func isFree(addr string) bool {
	stream, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer stream.Close()
	packets, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	_ = packets.Close()
	return true
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
