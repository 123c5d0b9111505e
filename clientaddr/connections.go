package clientaddr

import (
	"net"
	"net/netip"
	"sync"
)

// Connections counts what each client has open, and bounds it. What counts as one
// client is what Network says. Its methods are safe for concurrent use.
type Connections struct {
	most int

	mu   sync.Mutex
	open map[string]int
}

// NewConnections allows each client so many at a time; with 0 and less there is no
// bound.
func NewConnections(most int) *Connections {
	return &Connections{most: most, open: make(map[string]int)}
}

// Take counts one more of a client's. Not ok means that it has all it may have;
// else release, which may be called more than once, gives the place back. A client
// without an address, the zero Addr, is not bounded.
func (c *Connections) Take(client netip.Addr) (release func(), ok bool) {
	if c.most <= 0 || !client.IsValid() {
		return func() {}, true
	}
	key := Network(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[key] >= c.most {
		return nil, false
	}
	c.open[key]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[key]--; c.open[key] == 0 {
			delete(c.open, key)
		}
	}), true
}

// Peer is the address at the other end of a connection, without a zone, an IPv4
// address never in its IPv6 form. It is the zero Addr for what has none, such as a
// Unix socket.
func Peer(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
