package clientaddr

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// ended is a connection from somewhere.
type ended struct {
	net.Conn
	from net.Addr
}

func (e ended) RemoteAddr() net.Addr { return e.from }

func TestPeer_isWhoTheConnectionIsWith(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2:3:4:5:6",
		"[fe80::1%eth0]:80":         "fe80::1",
	} {
		require.Equal(t, want, String(Peer(ended{from: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))})), address)
	}
	require.False(t, Peer(ended{from: &net.UnixAddr{Name: "/a", Net: "unix"}}).IsValid())
}

func TestConnections_boundWhatOneClientHas(t *testing.T) {
	connections := NewConnections(2)
	client, neighbour := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	first, ok := connections.Take(client)
	require.True(t, ok)
	_, ok = connections.Take(neighbour)
	require.True(t, ok)
	_, ok = connections.Take(client)
	require.False(t, ok, "whoever has one address of a /64 has all of it")
	_, ok = connections.Take(netip.MustParseAddr("2001:db8:0:1::1"))
	require.True(t, ok, "another client")
	first()
	first()
	_, ok = connections.Take(client)
	require.True(t, ok, "the place was given back")
	_, ok = connections.Take(client)
	require.False(t, ok, "but once only")
}

func TestConnections_withoutABoundOrAnAddressAreNotCounted(t *testing.T) {
	for _, most := range []int{0, -1} {
		connections := NewConnections(most)
		for range 100 {
			release, ok := connections.Take(netip.MustParseAddr("192.0.2.1"))
			require.True(t, ok)
			release()
		}
	}
	connections := NewConnections(1)
	for range 100 {
		_, ok := connections.Take(netip.Addr{})
		require.True(t, ok)
	}
}

func TestConnections_forgetClientsThatHaveNone(t *testing.T) {
	connections := NewConnections(3)
	var most atomic.Int64
	var all sync.WaitGroup
	for n := range 8 {
		client := netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 2)})
		all.Go(func() {
			for range 1000 {
				if release, ok := connections.Take(client); ok {
					most.Add(1)
					release()
				}
			}
		})
	}
	all.Wait()
	require.Positive(t, most.Load())
	require.Empty(t, connections.open)
}
