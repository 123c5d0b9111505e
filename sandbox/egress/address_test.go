package egress

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func none() ([]netip.Addr, error) { return nil, nil }

func TestCheckAddress_refusesWhatIsNotThePublicInternet(t *testing.T) {
	for _, text := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.8.8", "169.254.169.254",
		"168.63.129.16", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1",
		"239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "::ffff:0:0:7f00:1",
		"64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2002:a00:1::", "fc00::1", "fd00:ec2::254", "fe80::1",
		"fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1",
	} {
		require.Error(t, checkAddress(netip.MustParseAddr(text), none, nil), text)
	}
	for _, text := range []string{
		"1.1.1.1", "104.16.0.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "198.17.0.1",
		"198.20.0.1", "223.255.255.255", "2606:4700:4700::1111", "::ffff:1.1.1.1",
	} {
		require.NoError(t, checkAddress(netip.MustParseAddr(text), none, nil), text)
	}
}

func TestCheckAddress_refusesTheMachineItself(t *testing.T) {
	own := func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("8.8.4.4")}, nil }
	require.Error(t, checkAddress(netip.MustParseAddr("8.8.4.4"), own, nil))
	require.Error(t, checkAddress(netip.MustParseAddr("::ffff:8.8.4.4"), own, nil))
	require.NoError(t, checkAddress(netip.MustParseAddr("8.8.8.8"), own, nil))
	unknown := func() ([]netip.Addr, error) { return nil, errors.New("away") }
	require.Error(t, checkAddress(netip.MustParseAddr("8.8.8.8"), unknown, nil), "not knowing means no")
	mine, err := machineAddresses()
	require.NoError(t, err)
	require.Contains(t, mine, netip.MustParseAddr("127.0.0.1"))
}

func TestCheckAddress_exemptsWhatTheOperatorNames(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	require.NoError(t, checkAddress(netip.MustParseAddr("10.1.2.3"), none, allowed))
	require.NoError(t, checkAddress(netip.MustParseAddr("::ffff:10.1.2.3"), none, allowed))
	require.Error(t, checkAddress(netip.MustParseAddr("10.2.0.1"), none, allowed))
}
