// Package egress is the only way out of a sandbox: a proxy on a unix socket
// that answers nothing but CONNECT, to places on an allow-list, after looking
// at the address it is about to dial.
package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// Options are what a Proxy is made of.
type Options struct {
	// Allow are the only places reachable, as "host:port".
	Allow []string
	// AllowPrivate exempts addresses from the refusal of private, loopback and
	// other special ranges: for an operator whose registry is on such an
	// address. It widens what an allowed name may resolve to, nothing else.
	AllowPrivate []netip.Prefix
	// Upstream answers which HTTP proxy leads to a target, nil for none, as
	// http.ProxyFromEnvironment does. The names of allowed places then go to
	// that proxy unresolved: it is the operator's and decides about addresses.
	Upstream func(target Target) (*url.URL, error)
	// MaxConnections at a time; more wait, and are answered 503 in the end. Default 256.
	MaxConnections int
	// IdleTimeout closes a connection on which nothing moved. Default 60 s.
	IdleTimeout time.Duration
	// DialTimeout bounds resolving and connecting. Default 15 s.
	DialTimeout time.Duration
	// MaxBytes, both ways together, after which everything is refused.
	// Default 16 GiB.
	MaxBytes int64
	// Resolve looks names up; default is the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// OwnAddresses are this machine's; default looks at its interfaces.
	OwnAddresses func() ([]netip.Addr, error)
	Log          logrus.FieldLogger
}

// Proxy is one sandbox's way out. Safe for concurrent use.
type Proxy struct {
	options Options
	allow   map[Target]bool
	slots   chan struct{}
	bytes   atomic.Int64

	mu       sync.Mutex
	closed   bool
	open     map[net.Conn]struct{}
	handlers sync.WaitGroup
}

// New makes a proxy. It fails when an entry of Allow is not host:port.
func New(options Options) (*Proxy, error) {
	if options.MaxConnections <= 0 {
		options.MaxConnections = 256
	}
	if options.IdleTimeout <= 0 {
		options.IdleTimeout = time.Minute
	}
	if options.DialTimeout <= 0 {
		options.DialTimeout = 15 * time.Second
	}
	if options.MaxBytes <= 0 {
		options.MaxBytes = 16 << 30
	}
	if options.Log == nil {
		options.Log = logrus.StandardLogger()
	}
	allow := make(map[Target]bool, len(options.Allow))
	for _, text := range options.Allow {
		target, err := ParseTarget(text)
		if err != nil {
			return nil, fmt.Errorf("allowed host: %w", err)
		}
		allow[target] = true
	}
	return &Proxy{
		options: options, allow: allow,
		slots: make(chan struct{}, options.MaxConnections),
		open:  map[net.Conn]struct{}{},
	}, nil
}

// Bytes counts what passed, both ways together.
func (p *Proxy) Bytes() int64 { return p.bytes.Load() }

// Serve answers connections until the context ends, then closes the listener
// and every tunnel and returns nil.
func (p *Proxy) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.answer(ctx, w, r) }),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		// What a hostile client sends is no event of ours.
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		_ = server.Close()
		p.closeTunnels()
	})
	defer stop()
	err := server.Serve(LimitListener(listener, 2*p.options.MaxConnections))
	_ = server.Close()
	p.closeTunnels()
	p.handlers.Wait()
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

// answer answers one CONNECT request; everything else is refused. The context
// is the server's: the request's own ends when the client has said all it has
// to say, which is no reason to give up.
func (p *Proxy) answer(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		// Returning would mean 200.
		panic(http.ErrAbortHandler)
	}
	defer p.handlers.Done()
	if r.Method != http.MethodConnect {
		p.refuse(w, http.StatusMethodNotAllowed, r.Method, "only CONNECT passes this proxy; use https")
		return
	}
	target, err := ParseTarget(r.RequestURI)
	if err != nil {
		p.refuse(w, http.StatusForbidden, r.RequestURI, "a build reaches package registries by name only")
		return
	}
	if !p.allow[target] {
		p.refuse(w, http.StatusForbidden, target.String(),
			"a build reaches package registries only; the operator's allow-list decides which")
		return
	}
	if p.bytes.Load() >= p.options.MaxBytes {
		p.refuse(w, http.StatusForbidden, target.String(), "this build has used up its network volume")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.DialTimeout)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		p.refuse(w, http.StatusServiceUnavailable, target.String(), "too many connections at once")
		return
	}
	upstream, err := p.dial(ctx, target)
	if err != nil {
		p.options.Log.WithError(err).WithField("target", target.String()).Warn("Registry connection failed")
		var refused *RefusedError
		if errors.As(err, &refused) {
			p.refuse(w, http.StatusForbidden, target.String(), "it resolves to addresses a build must not reach")
			return
		}
		p.refuse(w, http.StatusBadGateway, target.String(), "the platform could not connect to it")
		return
	}
	defer upstream.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.options.Log.WithError(err).Error("Registry connection could not be taken over")
		return
	}
	defer conn.Close()
	if !p.track(conn, upstream) {
		return
	}
	defer p.untrack(conn, upstream)
	_ = conn.SetDeadline(time.Time{})
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection Established\r\n\r\n")); err != nil {
		return
	}
	// What the client sent ahead of the answer is in the buffer.
	_ = conn.SetReadDeadline(time.Now().Add(p.options.IdleTimeout))
	hello, err := readHello(target, buffered.Reader)
	if err != nil {
		p.options.Log.WithField("target", target.String()).WithError(err).Info("Connection out of the sandbox refused")
		return
	}
	p.bytes.Add(int64(len(hello)))
	if _, err := upstream.Write(hello); err != nil {
		return
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		ahead, _ := buffered.Reader.Peek(n)
		p.bytes.Add(int64(n))
		if _, err := upstream.Write(ahead); err != nil {
			return
		}
	}
	p.carry(conn, upstream)
}

// refuse answers and writes down what was tried.
func (p *Proxy) refuse(w http.ResponseWriter, status int, what, why string) {
	p.options.Log.WithFields(logrus.Fields{"target": clip(what), "status": status}).
		Info("Connection out of the sandbox refused: " + why)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
	fmt.Fprintf(w, "Slipway does not connect builds to %q: %s.\n", clip(what), why)
}

func clip(text string) string {
	if len(text) > 200 {
		return text[:200]
	}
	return text
}

// enter counts a request that Serve has to wait for; false once it is ending.
func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.handlers.Add(1)
	return true
}

func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for _, conn := range conns {
		p.open[conn] = struct{}{}
	}
	return true
}

func (p *Proxy) untrack(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.open, conn)
	}
}

func (p *Proxy) closeTunnels() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for conn := range p.open {
		conn.Close()
	}
}
