package dispatcher

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClientNetwork_isWhatOneClientHas(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:80":                "192.0.2.1",
		"[::ffff:192.0.2.1]:80":       "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80":   "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:81":    "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":           "fe80::/64",
		"[2001:db8:1:3:3:4:5:6]:8080": "2001:db8:1:3::/64",
	} {
		require.Equal(t, want, clientNetwork(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))), address)
	}
	require.Empty(t, clientNetwork(&net.UnixAddr{Name: "/a", Net: "unix"}))
}
