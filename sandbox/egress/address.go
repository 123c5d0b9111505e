package egress

import (
	"fmt"
	"net"
	"net/netip"
)

// refusedPrefixes are addresses no tenant may reach, whatever a name resolves
// to: everything that is not the public internet's unicast space and might
// lead to this host, its network or its cloud. From the IANA special-purpose
// registries; the documentation ranges lead nowhere and are left out.
var refusedPrefixes = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 791)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "carrier-grade NAT (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local or cloud metadata (RFC 3927)"},
	{netip.MustParsePrefix("168.63.129.16/32"), "cloud metadata (Azure)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments (RFC 6890)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking (RFC 2544)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved or broadcast"},
	{netip.MustParsePrefix("::/96"), "unspecified, loopback or IPv4-compatible"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64 (RFC 6052)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "local NAT64 (RFC 8215)"},
	{netip.MustParsePrefix("::/8"), "reserved, other IPv4 in IPv6 among it (RFC 4291)"},
	{netip.MustParsePrefix("100::/64"), "discard (RFC 6666)"},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments, Teredo among them (RFC 2928)"},
	{netip.MustParsePrefix("2002::/16"), "6to4 (RFC 3056)"},
	{netip.MustParsePrefix("3fff::/20"), "documentation (RFC 9637)"},
	{netip.MustParsePrefix("5f00::/16"), "segment routing (RFC 9602)"},
	{netip.MustParsePrefix("fc00::/7"), "unique local (RFC 4193)"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local (RFC 3879)"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// checkAddress says why an address must not be dialled; nil means it may be.
// IPv4 written as IPv6 counts as the IPv4 address. own are this machine's
// addresses, allowed the operator's exceptions.
func checkAddress(address netip.Addr, own func() ([]netip.Addr, error), allowed []netip.Prefix) error {
	if address.Zone() != "" {
		return fmt.Errorf("%s has a zone", address)
	}
	address = address.Unmap()
	for _, prefix := range allowed {
		if prefix.Contains(address) {
			return nil
		}
	}
	for _, refused := range refusedPrefixes {
		if refused.prefix.Contains(address) {
			return fmt.Errorf("%s is %s", address, refused.why)
		}
	}
	mine, err := own()
	if err != nil {
		return fmt.Errorf("this machine's addresses are unknown: %w", err)
	}
	for _, a := range mine {
		if a == address {
			return fmt.Errorf("%s is this machine", address)
		}
	}
	return nil
}

// machineAddresses lists the addresses of this machine's interfaces now: they
// change while a long-lived worker runs.
func machineAddresses() ([]netip.Addr, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(network.IP); ok {
				out = append(out, a.Unmap())
			}
		}
	}
	return out, nil
}
