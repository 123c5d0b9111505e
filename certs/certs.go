// Package certs has the certificates that HTTPS is served with: one for the
// platform's own domain and everything directly under it, from files or by
// DNS-01, and one for each custom domain, got from an ACME certificate
// authority (RFC 8555) when a visitor first asks for it.
//
//	handshake → memory → may this host have one? → PostgreSQL, or the copy on
//	this machine's disk → the certificate authority
//
// certmagic does the work with the authority: accounts, orders, challenges,
// renewal windows, OCSP. What is served from memory is kept apart from its
// cache, in a form that costs a quarter of it.
//
// The files, in reading order: handshake.go chooses a certificate, entry.go is one
// in memory, fetch.go gets one that is not there, upkeep.go renews; engine.go sets certmagic up;
// decide.go, storage.go, lease.go and localcopy.go are what they use.
package certs

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
)

// Options are what certificates need. Domain, Allowed, Rows, Key and Log are
// required; the zero values of the rest take the defaults given.
type Options struct {
	// Domain is what worker names are put before. It and what is directly under
	// it share one wildcard certificate.
	Domain string
	// OwnHosts are further hosts of the platform itself, which may have
	// certificates without Allowed being asked.
	OwnHosts []string
	// Allowed says whether a custom domain may have a certificate: nil for yes;
	// CodeDomainNotFound, CodeNotFound or another of the caller's codes for no;
	// any other error when the answer is not known. It is asked for names that
	// strangers chose.
	Allowed func(ctx context.Context, host string) error

	Rows Rows
	// Key seals what is stored.
	Key *seal.Key
	// LocalDir is where certificates in use are kept, sealed, for the time when
	// the database is away; "" keeps none.
	LocalDir string
	Log      logrus.FieldLogger

	// CertFile and KeyFile hold the wildcard certificate, in PEM; they are read
	// again when they change.
	CertFile, KeyFile string
	// DNS01 gets the wildcard certificate instead; the zero value does not.
	DNS01 DNS01

	// Directory is the ACME server's, default Let's Encrypt; Email the account's;
	// CAFile a certificate, in PEM, that the server is trusted by besides the
	// system's.
	Directory, Email, CAFile string

	// MaxInMemory bounds the certificates in memory; default 100,000, some 100 MB.
	MaxInMemory int
	// RenewalWindow is the part of a certificate's life, at its end, in which it
	// is renewed; default a third.
	RenewalWindow float64
	// CheckEvery is how often certificates in memory are looked through for those
	// that are due, and files for changes; default 10 minutes and 10 seconds.
	CheckEvery time.Duration
	// Lease is how long a dispatcher that was killed blocks the others from
	// getting the certificate it was getting; default 20 s.
	Lease time.Duration
}

// Certs gives handshakes their certificates. Run must be running; everything is
// safe for concurrent use.
type Certs struct {
	opts    Options
	storage *storage
	engine  *engine
	decide  *decisions
	own     ownHosts
	files   *certFiles // nil without

	memory  *lru[string, *entry]
	hot     *lru[*entry, *tls.Certificate]
	chains  chains
	flights singleflight.Group
	failed  *lru[string, failure]
	// told is when a certificate that cannot be read was last logged.
	told atomic.Int64
	// issuing bounds the certificates that are being got at once.
	issuing chan struct{}
	// due tells Run that a certificate needs to be looked at now.
	due chan struct{}

	// Background work ends with Run.
	background context.Context
	stop       context.CancelFunc
	mu         sync.Mutex
	closed     bool
	jobs       sync.WaitGroup
}

const (
	defaultCheckEvery = 10 * time.Minute
	defaultInMemory   = 100_000
	concurrentIssues  = 16
)

// New reads what it needs from disk and asks no server. CodeValidation says
// which setting is wrong.
func New(opts Options) (*Certs, error) {
	opts.Domain = strings.ToLower(strings.Trim(opts.Domain, "."))
	if opts.Domain == "" || opts.Allowed == nil || opts.Rows == nil || opts.Key == nil || opts.Log == nil {
		return nil, models.Errorf(models.CodeValidation, "certificates need a domain, a decision, rows, a key and a log")
	}
	if opts.Directory == "" {
		opts.Directory = certmagic.LetsEncryptProductionCA
	}
	if opts.MaxInMemory == 0 {
		opts.MaxInMemory = defaultInMemory
	}
	if opts.RenewalWindow == 0 {
		opts.RenewalWindow = certmagic.DefaultRenewalWindowRatio
	}
	if opts.Lease == 0 {
		opts.Lease = defaultLease
	}
	c := &Certs{
		opts:    opts,
		decide:  newDecisions(opts.Allowed),
		own:     newOwnHosts(opts.Domain, opts.OwnHosts),
		memory:  newLRU[string, *entry](opts.MaxInMemory),
		hot:     newLRU[*entry, *tls.Certificate](hotCertificates),
		failed:  newLRU[string, failure](deniedNames),
		issuing: make(chan struct{}, concurrentIssues),
		due:     make(chan struct{}, 1),
	}
	c.storage = &storage{rows: opts.Rows, key: opts.Key, log: opts.Log}
	c.storage.leases = &leases{rows: opts.Rows, lasts: opts.Lease, outage: &outage{}, log: opts.Log}
	if opts.LocalDir != "" {
		local, err := newLocalCopy(filepath.Clean(opts.LocalDir))
		if err != nil {
			return nil, models.Errorf(models.CodeValidation, "The folder for certificates cannot be used: %s", err)
		}
		c.storage.local = local
	}
	if opts.CertFile != "" {
		files, err := openCertFiles(opts.CertFile, opts.KeyFile, opts.Domain, opts.Log)
		if err != nil {
			return nil, err
		}
		c.files = files
	}
	if c.files == nil && !opts.DNS01.enabled() {
		opts.Log.Warnf("there is no certificate for *.%s: over HTTPS its hosts are refused; set DISPATCH_TLS_CERT_FILE and DISPATCH_TLS_KEY_FILE, or ACME_DNS01_SERVER", opts.Domain)
	}
	if err := opts.DNS01.check(opts.Domain); err != nil {
		return nil, err
	}
	c.background, c.stop = context.WithCancel(context.Background())
	engine, err := newEngine(opts, c.storage)
	if err != nil {
		c.stop()
		return nil, err
	}
	c.engine = engine
	return c, nil
}

// Run keeps certificates valid until ctx ends, then ends what goes on in the
// background. It is called once, and returns nil.
func (c *Certs) Run(ctx context.Context) error {
	defer c.close()
	c.run(ctx)
	return nil
}

func (c *Certs) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.jobs.Wait()
	c.engine.stop()
}

// begin announces a piece of background work; false when there is to be no more.
func (c *Certs) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.jobs.Add(1)
	return true
}

// TLSConfig is for a listener of HTTP/2 and HTTP/1.1. Session tickets are left to
// crypto/tls: keys of this process, changed daily.
func (c *Certs) TLSConfig() *tls.Config {
	return &tls.Config{
		GetCertificate: c.getCertificate,
		NextProtos:     []string{"h2", "http/1.1", acmez.ACMETLS1Protocol},
		MinVersion:     tls.VersionTLS12,
	}
}

// Forget drops what is remembered against a host, so that a domain that became
// active is served at once and not after some seconds.
func (c *Certs) Forget(host string) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	c.decide.denied.remove(host)
	c.failed.remove(host)
}
