package certs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"

	"github.com/slipwayhq/slipway/models"
)

// engine is certmagic, set up twice: for custom domains, whose challenges come
// over HTTP and TLS, and for the platform's own by DNS-01.
type engine struct {
	onDemand, wildcard *certmagic.Config
	// http answers HTTP-01.
	http      *certmagic.ACMEIssuer
	issuerKey string
	cache     *certmagic.Cache
	log       *zap.Logger
	instance  string
	taken     *takenPort
	// isWildcard says which of the two a name belongs to.
	isWildcard func(name string) bool
}

func newEngine(opts Options, storage certmagic.Storage) (*engine, error) {
	roots, err := trust(opts.CAFile)
	if err != nil {
		return nil, err
	}
	taken, err := takePort()
	if err != nil {
		return nil, fmt.Errorf("certificates need a port of the loopback interface: %w", err)
	}
	e := &engine{log: bridge(opts.Log), instance: rand.Text(), taken: taken}
	// certmagic looks through its memory by itself, and leaves alone what is got on
	// demand: what is there while manage works is manage's to renew.
	var idle *certmagic.Config
	e.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return idle, nil },
		RenewCheckInterval: opts.CheckEvery, // zero takes certmagic's default
		Logger:             e.log,
	})
	idle = certmagic.New(e.cache, certmagic.Config{OnDemand: &certmagic.OnDemandConfig{}, Storage: storage, Logger: e.log})
	set := func(solver acmez.Solver) (*certmagic.Config, *certmagic.ACMEIssuer) {
		config := certmagic.New(e.cache, certmagic.Config{
			RenewalWindowRatio: opts.RenewalWindow,
			KeySource:          certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
			Storage:            storage,
			// The lock on the name is a write that fails first.
			DisableStorageCheck: true,
			// With a proxy function, even this one, questions to OCSP responders
			// have a time limit.
			OCSP:   certmagic.OCSPConfig{HTTPProxy: http.ProxyFromEnvironment},
			Logger: e.log,
		})
		issuer := certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
			CA: opts.Directory,
			// Without an address certmagic asks on the terminal; a blank one is none.
			Email:        opts.Email + " ",
			Agreed:       true,
			TrustedRoots: roots,
			DNS01Solver:  solver,
			// It listens for challenges itself unless somebody does already.
			ListenHost: taken.host, AltHTTPPort: taken.port, AltTLSALPNPort: taken.port,
			Logger: e.log,
		})
		config.Issuers = []certmagic.Issuer{issuer}
		return config, issuer
	}
	e.onDemand, e.http = set(nil)
	idle.Issuers = e.onDemand.Issuers // not certmagic's default, which is Let's Encrypt
	e.wildcard = e.onDemand
	if opts.DNS01.enabled() {
		e.wildcard, _ = set(newDNSSolver(opts.DNS01, opts.Domain))
	}
	e.issuerKey = e.http.IssuerKey()
	own := newOwnHosts(opts.Domain, opts.OwnHosts)
	e.isWildcard = func(name string) bool {
		_, kind := own.classify(name)
		return kind == hostWildcard
	}
	return e, nil
}

// config is the one that gets the certificate of a name.
func (e *engine) config(name string) *certmagic.Config {
	if e.isWildcard(name) {
		return e.wildcard
	}
	return e.onDemand
}

// manage makes sure that storage has a valid certificate for a name, with a fresh
// OCSP answer if there can be one, and returns it.
func (e *engine) manage(ctx context.Context, name string) (tls.Certificate, error) {
	type result struct {
		certificate tls.Certificate
		err         error
	}
	done := make(chan result, 1)
	// certmagic waits half a minute for an OCSP responder whatever ctx says.
	go func() {
		certificate, err := e.manageNow(ctx, name)
		done <- result{certificate, err}
	}()
	select {
	case r := <-done:
		return r.certificate, r.err
	case <-ctx.Done():
		return tls.Certificate{}, ctx.Err()
	}
}

func (e *engine) manageNow(ctx context.Context, name string) (tls.Certificate, error) {
	// certmagic keeps it in its own memory only meanwhile.
	defer e.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
	if err := e.config(name).ManageSync(ctx, []string{name}); err != nil {
		return tls.Certificate{}, err
	}
	var newest certmagic.Certificate
	for _, certificate := range e.cache.AllMatchingCertificates(name) {
		if slices.Contains(certificate.Names, name) && (newest.Empty() || certificate.Leaf.NotAfter.After(newest.Leaf.NotAfter)) {
			newest = certificate
		}
	}
	if newest.Empty() {
		return tls.Certificate{}, errors.New("certmagic manages a certificate and does not have it")
	}
	return newest.Certificate, nil
}

func (e *engine) stop() {
	e.cache.Stop()
	e.taken.close()
}

// trust is the system's certificate pool with one more.
func trust(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, models.Errorf(models.CodeValidation, "ACME_CA_FILE cannot be read: %s", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, models.Errorf(models.CodeValidation, "ACME_CA_FILE %s holds no certificate in PEM", file)
	}
	return pool, nil
}

// takenPort is a port on which connections are closed at once. certmagic answers
// challenges on a port of its own unless that is taken, in which case it trusts
// that whoever listens has them answered. Ours are answered by the dispatchers'
// listeners, wherever those are.
type takenPort struct {
	listener net.Listener
	host     string
	port     int
	ended    chan struct{}
}

func takePort() (*takenPort, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().(*net.TCPAddr)
	t := &takenPort{listener: listener, host: address.IP.String(), port: address.Port, ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		for {
			connection, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_ = connection.Close()
			}
		}
	}()
	return t, nil
}

func (t *takenPort) close() {
	_ = t.listener.Close()
	<-t.ended
}
