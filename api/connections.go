package api

import (
	"net"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
)

// tellRefusals is how often at most the log says that connections are refused.
const tellRefusals = time.Minute

// boundedListener gives the connections of clients that may have one more. Those
// of trusted proxies are not counted: they are many people's, and boundRequests
// counts what each of them has under way.
type boundedListener struct {
	net.Listener
	server *Server
	// refused counts those that were not told of, told is when the log last was.
	refused int
	told    time.Time
}

// Accept is called by one goroutine, that of the http.Server.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := clientaddr.Peer(conn)
		if l.server.opts.Addresses.Trusts(peer) {
			return conn, nil
		}
		if release, ok := l.server.connections.Take(peer); ok {
			return &countedConn{conn, release}, nil
		}
		_ = conn.Close()
		if l.refused++; time.Since(l.told) >= tellRefusals {
			l.server.log.WithField("remote", clientaddr.String(peer)).WithField("refused", l.refused).
				Warn("connections refused: the address has as many as SLIPWAY_MAX_CLIENT_CONNECTIONS allows")
			l.refused, l.told = 0, time.Now()
		}
	}
}

// countedConn gives back its place among its client's connections.
type countedConn struct {
	net.Conn
	release func()
}

// Close ends the connection.
func (c *countedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// boundRequests bounds what a client behind a trusted proxy has under way at a
// time, which with HTTP/1.1 is as many connections as it would have here itself.
func (s *Server) boundRequests(c *gin.Context) {
	if !s.opts.Addresses.Proxied(c.Request) {
		return
	}
	release, ok := s.connections.Take(clientaddr.From(c.Request.Context()))
	if !ok {
		s.writeError(c, models.Errorf(models.CodeRateLimited, "Your address has %d requests under way, as many as it may at a time.", s.opts.Limits.ClientConnections))
		return
	}
	defer release()
	c.Next()
}
