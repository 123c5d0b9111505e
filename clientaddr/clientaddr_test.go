package clientaddr

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOf_isTheLastAddressThatNoTrustedProxyHas(t *testing.T) {
	finder := New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")})
	tests := map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"nothing forwarded":           {"203.0.113.7:4000", nil, "203.0.113.7"},
		"forwarded by a stranger":     {"203.0.113.7:4000", []string{"1.1.1.1"}, "203.0.113.7"},
		"one proxy":                   {"10.0.0.1:4000", []string{"203.0.113.7"}, "203.0.113.7"},
		"a proxy that says nothing":   {"10.0.0.1:4000", nil, "10.0.0.1"},
		"two proxies":                 {"10.0.0.1:4000", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"what the client made up":     {"10.0.0.1:4000", []string{"1.1.1.1, 203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"several lines":               {"10.0.0.1:4000", []string{"1.1.1.1", "203.0.113.7", "10.0.0.2"}, "203.0.113.7"},
		"all trusted":                 {"10.0.0.1:4000", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		"with a port":                 {"10.0.0.1:4000", []string{"203.0.113.7:99"}, "203.0.113.7"},
		"IPv6 with a port":            {"[fd00::1]:4000", []string{"[2001:db8::1]:99"}, "2001:db8::1"},
		"IPv6 in brackets":            {"[fd00::1]:4000", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"with a zone":                 {"[fd00::1%eth0]:4000", []string{"2001:db8::1%x"}, "2001:db8::1"},
		"IPv4 in its IPv6 form":       {"[::ffff:10.0.0.1]:4000", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		"no address":                  {"10.0.0.1:4000", []string{"1.1.1.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		"an empty entry":              {"10.0.0.1:4000", []string{"1.1.1.1,,10.0.0.2"}, "10.0.0.2"},
		"no remote address":           {"", []string{"1.1.1.1"}, ""},
		"a Unix socket":               {"@", []string{"1.1.1.1"}, ""},
		"more hops than anybody has":  {"10.0.0.1:4000", []string{"1.1.1.1" + strings.Repeat(",10.0.0.9", 5000)}, "10.0.0.9"},
		"more lines than anybody has": {"10.0.0.1:4000", append([]string{"1.1.1.1"}, strings.Fields(strings.Repeat("10.0.0.9 ", 100))...), "10.0.0.9"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
			require.Equal(t, tt.want, String(finder.Of(r)))
			require.Equal(t, tt.want, String(From(finder.In(r).Context())))
		})
	}
}

func TestOf_believesNobodyWhenNoProxyIsTrusted(t *testing.T) {
	r := &http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"1.1.1.1"}}}
	require.Equal(t, "127.0.0.1", String(Finder{}.Of(r)))
}

func TestNetwork_isAnIPv4AddressOrThe64OfAnIPv6One(t *testing.T) {
	require.Equal(t, "203.0.113.7", Network(netip.MustParseAddr("203.0.113.7")))
	require.Equal(t, "2001:db8:1:2::/64", Network(netip.MustParseAddr("2001:db8:1:2:ffff::1")))
	require.Equal(t, "", Network(netip.Addr{}))
	require.False(t, From(context.Background()).IsValid())
}

func FuzzOf(f *testing.F) {
	f.Add("10.0.0.1:4000", "1.1.1.1, 203.0.113.7")
	f.Add("[fd00::1]:1", "[::1]:x,")
	finder := New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")})
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		got := finder.Of(r)
		if got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%s is not in its one form", got)
		}
		if !parse(remote).IsValid() && got.IsValid() {
			t.Fatalf("a caller without an address got %s", got)
		}
	})
}
