// Package outbound is the way out of running workers: what their fetch() and
// connect() leave through. Workers have no network of their own; workerd sends
// everything to a unix socket on which a Proxy answers, which looks at the
// address it is about to dial and originates TLS.
//
// workerd is told so with an external service as the worker's globalOutbound:
//
//	(name = "outbound", external = (address = "unix:…", http = (style = proxy,
//	  injectRequestHeaders = [(name = "Host", value = "outbound")])))
//
// In that style it sends requests in absolute form (RFC 9112, section 3.2.2)
// with the scheme the worker named, and connect() as CONNECT. It sends no Host
// header of its own, without which net/http answers 400, hence the injected
// one; the URL decides where a request goes. TLS within connect() (its option
// secureTransport) is not available: workerd does not do it over a proxy and
// tells the worker so.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/sandbox/egress"
)

// Options are what a Proxy is made of. The zero value works.
type Options struct {
	// AllowPrivate exempts addresses from the refusal of private, loopback and
	// other special ranges.
	AllowPrivate []netip.Prefix
	// Refuse adds addresses that are never reached, exempt or not: the platform's
	// own public ones that no interface of this machine shows, behind NAT say.
	Refuse []netip.Prefix
	// MaxPerRelease and MaxPerOrganization bound the requests and tunnels under
	// way at a time; what exceeds them is refused. Default 256 and 1024.
	MaxPerRelease      int
	MaxPerOrganization int
	// OpensPerSecond bounds how many new connections each release opens; more wait
	// their turn, for as long as DialTimeout. Default 200.
	OpensPerSecond int
	// DialTimeout bounds resolving and connecting. Default 10 s.
	DialTimeout time.Duration
	// HeaderTimeout bounds the wait for the head of an answer once the request is
	// sent. Default 100 s.
	HeaderTimeout time.Duration
	// IdleTimeout closes a connection in use on which nothing moved either way.
	// Default 5 min.
	IdleTimeout time.Duration
	// RootCAs verify the certificates of origins; nil is the system's, with what
	// SSL_CERT_FILE and SSL_CERT_DIR say.
	RootCAs *x509.CertPool
	// Resolve looks names up; default is the system's resolver, which is asked
	// for names as they stand, without its search domains.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// OwnAddresses are this machine's, never reached; default looks at its
	// interfaces at every connection.
	OwnAddresses func() ([]netip.Addr, error)
	Log          logrus.FieldLogger
}

// Usage is what an organization's workers have used since the process started.
type Usage struct {
	// Requests counts requests and tunnels let through, Refused those that were
	// not, for their destination or for a limit.
	Requests, Refused int64
	// SentBytes and ReceivedBytes are counted on the network side: with TLS and
	// HTTP framing.
	SentBytes, ReceivedBytes int64
	// Active is the number of requests and tunnels now, Sockets that of network
	// connections with those kept for the next request.
	Active, Sockets int64
}

const (
	// maxIdle is how many connections are kept for an organization's next requests.
	maxIdle = 32

	maxResponseHeader = 128 << 10
)

// Proxy is the way out of all workers of a machine. Safe for concurrent use.
type Proxy struct {
	options Options
	dialer  egress.Dialer
	buffers bufferPool
	// discard is for what net/http would write about those who talk to it: what
	// hostile clients send is no event of ours.
	discard *log.Logger

	mu            sync.Mutex
	organizations map[string]*organization
}

// New makes a proxy.
func New(options Options) *Proxy {
	defaultTo(&options.MaxPerRelease, 256)
	defaultTo(&options.MaxPerOrganization, 1024)
	defaultTo(&options.OpensPerSecond, 200)
	defaultTo(&options.DialTimeout, 10*time.Second)
	defaultTo(&options.HeaderTimeout, 100*time.Second)
	defaultTo(&options.IdleTimeout, 5*time.Minute)
	if options.Resolve == nil {
		options.Resolve = Resolve
	}
	if options.Log == nil {
		options.Log = logrus.StandardLogger()
	}
	return &Proxy{
		options: options,
		dialer: egress.Dialer{
			Resolve: options.Resolve, OwnAddresses: options.OwnAddresses,
			AllowPrivate: options.AllowPrivate, Refuse: options.Refuse,
		},
		discard:       log.New(io.Discard, "", 0),
		organizations: map[string]*organization{},
	}
}

func defaultTo[T int | time.Duration](setting *T, value T) {
	if *setting <= 0 {
		*setting = value
	}
}

// Resolve asks for the name as it stands: the search domains of this machine's
// network are no business of a tenant's. Go's own resolver holds no thread.
func Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	if host != "" && host[len(host)-1] != '.' {
		host += "."
	}
	resolver := net.Resolver{PreferGo: true}
	return resolver.LookupNetIP(ctx, "ip", host)
}

// Handler answers the requests of one release's worker. Requests end with their
// context, tunnels too. Refusals are answered 403 (an address or port that is
// not reachable from here) or 429 (a limit), failures 502 and 504, each with a
// text that names the host and a Proxy-Status header (RFC 9209). It is safe for
// concurrent use and may be made any number of times.
//
// A server that bounds its connections should accept some more than
// MaxPerRelease, for the rest to be told; and its connections should half-close
// (CloseWrite), as egress.LimitListener's do.
func (p *Proxy) Handler(organizationID, releaseID string) http.Handler {
	return &exit{proxy: p, organization: p.organization(organizationID), release: releaseID, pace: newPace(p.options)}
}

// Usage tells what each organization has used, by its id.
func (p *Proxy) Usage() map[string]Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	usage := make(map[string]Usage, len(p.organizations))
	for id, o := range p.organizations {
		usage[id] = o.usage()
	}
	return usage
}

// Close closes the connections that are kept for later requests.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.organizations {
		o.transport.CloseIdleConnections()
	}
}

// organization gives the one state of an organization. It is kept for ever: its
// counters must not go back, and without connections it is small.
func (p *Proxy) organization(id string) *organization {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.organizations[id]
	if o == nil {
		o = &organization{id: id, releases: map[string]int{}}
		o.transport = p.transport(o)
		p.organizations[id] = o
	}
	return o
}

// transport makes an organization's client. Connections are never shared
// between organizations: what one has sent on a connection, credentials say,
// must be nothing to another.
func (p *Proxy) transport(o *organization) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := splitHostPort(address)
			if err != nil {
				return nil, err
			}
			return p.dial(ctx, o, host, port)
		},
		TLSClientConfig:        &tls.Config{RootCAs: p.options.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    p.options.DialTimeout,
		ResponseHeaderTimeout:  p.options.HeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle / 2,
		IdleConnTimeout:        30 * time.Second,
	}
}

// dial connects for an organization at the pace that ctx brings, and counts what
// moves.
func (p *Proxy) dial(ctx context.Context, o *organization, host string, port uint16) (net.Conn, error) {
	// Connections may outlive the requests they were opened for, so requests
	// alone do not bound them.
	if o.sockets.Add(1) > int64(p.options.MaxPerOrganization+maxIdle) {
		o.sockets.Add(-1)
		return nil, errTooManySockets
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.DialTimeout)
	defer cancel()
	if err := paceOf(ctx).wait(ctx); err != nil {
		o.sockets.Add(-1)
		return nil, err
	}
	conn, err := p.dialer.Dial(ctx, host, port)
	if err != nil {
		o.sockets.Add(-1)
		return nil, err
	}
	return newConn(conn, o, p.options.IdleTimeout), nil
}

// splitHostPort reads "host:port"; the port is not zero.
func splitHostPort(text string) (string, uint16, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", text)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || host == "" {
		return "", 0, fmt.Errorf("%q is not host:port", text)
	}
	return host, uint16(port), nil
}
