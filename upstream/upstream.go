// Package upstream is a pooled HTTP/1.1 client to one server, made for the hot
// path between the dispatcher and the workers behind it.
package upstream

import (
	"context"
	"net"
	"net/http"
)

// Options are a client's settings. Dial is needed.
type Options struct {
	// Dial opens a connection to the server.
	Dial func(ctx context.Context) (net.Conn, error)
	// MaxIdle bounds the connections kept for the next request. Default 64.
	MaxIdle int
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
}

// Header is one header with one value; Name is canonical.
type Header struct{ Name, Value string }

// Client sends requests to one server. Safe for concurrent use.
type Client struct {
	options Options
}

// New makes a client; it connects when it is first used.
func New(options Options) *Client {
	if options.MaxIdle == 0 {
		options.MaxIdle = 64
	}
	return &Client{options: options}
}
