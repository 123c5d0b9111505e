package dispatcher

import (
	"context"
	"crypto/tls"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/clientaddr"
)

// Server answers connections for a dispatcher: HTTP/1.1 through a guard that
// refuses ambiguous requests and answers the commonest itself, HTTP/2 and the
// rest by net/http. Its methods are safe for concurrent use; those that an
// http.Server has too mean the same.
type Server struct {
	d      *Dispatcher
	limits Limits
	http   *http.Server
	// hard says that answers under way are cut off too.
	hard  atomic.Bool
	dates dates

	clients *clientaddr.Connections

	mu     sync.Mutex
	guards map[*guardConn]struct{}
}

// Server makes a server for this dispatcher. The caller listens, serves and
// shuts it down.
func (d *Dispatcher) Server() *Server {
	s := &Server{d: d, limits: d.opts.Limits, guards: make(map[*guardConn]struct{}), clients: clientaddr.NewConnections(d.opts.Limits.ClientConnections)}
	d.serversMu.Lock()
	d.servers = append(d.servers, s)
	d.serversMu.Unlock()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:     d.opts.HTTPS.handler(bounded(&s.limits, d)),
		Protocols:   protocols,
		IdleTimeout: s.limits.IdleTimeout,
		// The guard bounds headers on HTTP/1.1.
		MaxHeaderBytes: s.limits.HeaderBytes,
		HTTP2:          &http.HTTP2Config{SendPingTimeout: s.limits.IdleTimeout, WriteByteTimeout: s.limits.SlowGrace},
		ErrorLog:       stdlog.New(serverLog{d.opts.Log}, "", 0),
		ConnState:      connectionState,
	}
	return s
}

// Serve answers the connections of a listener until Shutdown or Close, and
// returns http.ErrServerClosed then.
func (s *Server) Serve(l net.Listener) error {
	return s.http.Serve(&guardListener{Listener: l, server: s})
}

// ServeTLS is Serve for TLS. The configuration chooses certificates; HTTP/2 and
// HTTP/1.1 are offered besides the protocols it names. A connection that agreed
// on another protocol, such as acme-tls/1, ends with its handshake.
func (s *Server) ServeTLS(l net.Listener, config *tls.Config) error {
	config = config.Clone()
	for _, protocol := range []string{"h2", "http/1.1"} {
		if !slices.Contains(config.NextProtos, protocol) {
			config.NextProtos = append(config.NextProtos, protocol)
		}
	}
	return s.http.Serve(newTLSListener(s, l, config))
}

// Shutdown stops listening, ends idle connections and waits for answers under
// way, but for those on upgraded connections, until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Shutdown(ctx) }()
	wait := time.NewTicker(drainInterval)
	defer wait.Stop()
	done := false
	var err error
	for {
		left := s.eachGuard((*guardConn).drain)
		select {
		case err = <-ended:
			done = true
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if done && left == 0 {
			s.d.access.flush()
			return err
		}
	}
}

const drainInterval = 5 * time.Millisecond

// Close ends all connections but upgraded ones at once.
func (s *Server) Close() error {
	s.hard.Store(true)
	err := s.http.Close()
	s.eachGuard(func(g *guardConn) { _ = g.Close() })
	return err
}

// connections counts what all servers have open.
func (d *Dispatcher) connections() int {
	d.serversMu.Lock()
	defer d.serversMu.Unlock()
	n := 0
	for _, s := range d.servers {
		s.mu.Lock()
		n += len(s.guards)
		s.mu.Unlock()
	}
	return n
}

func (s *Server) eachGuard(do func(*guardConn)) int {
	s.mu.Lock()
	all := make([]*guardConn, 0, len(s.guards))
	for g := range s.guards {
		all = append(all, g)
	}
	s.mu.Unlock()
	for _, g := range all {
		do(g)
	}
	return len(all)
}

func (s *Server) forget(g *guardConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guards, g)
}

// guard puts a guard before a connection.
func (s *Server) guard(conn net.Conn, release func()) *guardConn {
	_, encrypted := conn.(*tls.Conn)
	g := &guardConn{Conn: conn, server: s, encrypted: encrypted, release: release, fresh: true, parked: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guards[g] = struct{}{}
	return g
}

// connectionState tells a guard what net/http does with its connection.
func connectionState(conn net.Conn, state http.ConnState) {
	guarded, ok := conn.(interface{ guard() *guardConn })
	if !ok {
		return
	}
	switch g := guarded.guard(); state {
	case http.StateIdle:
		g.idle()
	case http.StateHijacked:
		g.phase = phaseRaw
		g.server.forget(g)
	}
}

// admit counts a connection against its client's address. Not ok means that the
// address has all it may have. Those of trusted proxies are not counted: they are
// many people's, and whoever ends the connections of people bounds them.
func (s *Server) admit(conn net.Conn) (release func(), ok bool) {
	peer := clientaddr.Peer(conn)
	if s.d.opts.Addresses.Trusts(peer) {
		return func() {}, true
	}
	return s.clients.Take(peer)
}

// serverLog takes what net/http has to say: mostly clients that broke off,
// which only debugging wants to know.
type serverLog struct {
	log logrus.FieldLogger
}

// Write logs one line.
func (s serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: panic serving") {
		s.log.Error(text)
	} else {
		s.log.Debug(text)
	}
	return len(line), nil
}
