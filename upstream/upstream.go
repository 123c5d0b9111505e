// Package upstream is a pooled HTTP/1.1 client to one server, made for the hot
// path between the dispatcher and the workers behind it.
//
//	Forward → connection (pool.go) → request head and body (request.go, upload.go)
//	        → answer head (head.go) → answer body (body.go) or tunnel (tunnel.go)
//
// The server is not trusted: an answer that could be read in two ways is
// refused, and its connection is never used again.
package upstream

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Options are a client's settings. Dial is needed.
type Options struct {
	// Dial opens a connection to the server.
	Dial func(ctx context.Context) (net.Conn, error)
	// MaxIdle bounds the connections kept for the next request. Default 64.
	MaxIdle int
	// IdleTimeout closes a connection that waited so long for its next request.
	// Default 4 s, because workerd closes them after 5.
	IdleTimeout time.Duration
}

// Forwarding is how a request is changed on its way.
type Forwarding struct {
	// Target is the request target to send, as bytes: path and query.
	Target string
	// Host is the Host header to send.
	Host string
	// Set are headers to send besides the request's own, which they replace.
	Set []Header
	// Drop names request headers, canonical, that are not sent.
	Drop []string
	// Answer, when not nil, may change the answer's headers before they are
	// written. It sees 1xx answers too.
	Answer func(status int, header http.Header)

	// MaxBody bounds the request's body, announced or not, in bytes; 0 is no
	// bound. A longer one ends the request with ErrBodyTooLarge.
	MaxBody int64
	// AnswerTimeout bounds the time from the last byte of the request until the
	// answer begins, which may take up to a quarter longer; 0 is no bound.
	AnswerTimeout time.Duration
	// Pace ends requests of clients that send or read too slowly.
	Pace Pace
}

// Pace is the least speed of a client. A body being sent must keep up with Rate,
// in bytes a second, after the Grace; one being read must take each part within
// the Grace. A stream on which the server is silent costs the client nothing,
// and neither does one to which an answer has begun. The zero Pace has no limits.
type Pace struct {
	Grace time.Duration
	Rate  int64
}

// Header is one header with one value; Name is canonical.
type Header struct{ Name, Value string }

const (
	defaultMaxIdle     = 64
	defaultIdleTimeout = 4 * time.Second
)

// Client sends requests to one server. Safe for concurrent use.
type Client struct {
	options Options
	pool    pool
}

// New makes a client; it connects when it is first used.
func New(options Options) *Client {
	if options.MaxIdle == 0 {
		options.MaxIdle = defaultMaxIdle
	}
	if options.IdleTimeout == 0 {
		options.IdleTimeout = defaultIdleTimeout
	}
	return &Client{options: options, pool: pool{max: options.MaxIdle, timeout: options.IdleTimeout}}
}

// Close closes the connections that wait for a request. Requests under way are
// not disturbed; their connections are closed after them.
func (c *Client) Close() { c.pool.close() }

// Forward sends a request to the server and its answer to w: bodies as streams
// in both directions, 1xx answers and trailers included. A WebSocket upgrade
// that the server accepts becomes a tunnel; Forward returns when it has ended.
//
// The server is left at once when the request's context ends. A request that
// found its pooled connection closed is sent again on a new one if nothing can
// have come of the first.
//
// Errors are *Error. Unless Began says otherwise nothing was written to w, and
// the caller answers; else the caller must cut the client's connection, so that
// the client sees that it has not got everything. When the client's request body
// was not read to its end, "Connection: close" has been added to an HTTP/1
// answer, because what follows on the connection is not a request.
func (c *Client) Forward(w http.ResponseWriter, r *http.Request, f Forwarding) error {
	x := exchange{client: c, w: w, r: r, f: &f, down: downstream{w: w, pace: f.Pace, http2: r.ProtoMajor > 1}}
	if err := x.prepare(); err != nil {
		return err
	}
	conn, err := c.connect(r.Context())
	if err != nil {
		return err
	}
	err = x.run(conn)
	if err == nil || !x.mayRetry(conn, err) {
		return err
	}
	if conn, err = c.dial(r.Context()); err != nil {
		return err
	}
	return x.run(conn)
}
