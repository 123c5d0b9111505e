package outbound

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

var forbidden = []string{
	"0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.1.2.3", "169.254.169.254", "168.63.129.16", "172.16.0.1",
	"192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"::2", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1",
	"2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
}

func TestProxy_refusesAddressesThatAreNotPublic(t *testing.T) {
	var answer atomic.Pointer[netip.Addr]
	_, socket := serve(t, Options{Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		if host == "name.test" {
			return []netip.Addr{*answer.Load()}, nil
		}
		return Resolve(ctx, host)
	}})
	client := through(t, socket)
	for _, text := range forbidden {
		address := netip.MustParseAddr(text)
		answer.Store(&address)
		literal := net.JoinHostPort(text, "443")
		for _, host := range []string{literal, "name.test:443"} {
			for _, scheme := range []string{"http", "https"} {
				response, body := get(t, client, scheme+"://"+host+"/latest/meta-data")
				require.Equal(t, http.StatusForbidden, response.StatusCode, "%s %s", text, body)
				require.Equal(t, "slipway; error=destination_ip_prohibited", response.Header.Get("Proxy-Status"))
				require.Contains(t, body, host, "the answer names the host")
				if host == literal {
					require.Contains(t, body, " is ", "the answer says why")
				} else {
					require.NotContains(t, body, text, "nobody learns to what a name resolves here")
				}
			}
			_, _, response := dialConnect(t, socket, host)
			require.Equal(t, http.StatusForbidden, response.StatusCode, text)
		}
	}
}

func TestProxy_refusesOwnPublicAddressesAndThoseTheOperatorNames(t *testing.T) {
	own := netip.MustParseAddr("203.0.113.7")
	_, socket := serve(t, Options{
		OwnAddresses: func() ([]netip.Addr, error) { return []netip.Addr{own}, nil },
		Refuse:       []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
	})
	client := through(t, socket)
	for host, says := range map[string]string{"203.0.113.7": "this machine", "198.51.100.9": "the platform's"} {
		response, body := get(t, client, "http://"+host+"/")
		require.Equal(t, http.StatusForbidden, response.StatusCode)
		require.Contains(t, body, says)
	}
}

func TestProxy_dialsTheAddressItChecked(t *testing.T) {
	// A name that is public when first asked for and this machine afterwards.
	port := echo(t)
	var lookups atomic.Int64
	_, socket := serve(t, Options{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		if lookups.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}, AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	_, _, answer := dialConnect(t, socket, "rebind.test:"+port)
	require.Equal(t, http.StatusBadGateway, answer.StatusCode, "nothing listens on the address that was checked")
	require.EqualValues(t, 1, lookups.Load(), "one lookup a connection")
	_, _, answer = dialConnect(t, socket, "rebind.test:"+port)
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
}

func TestProxy_reachesTheAllowedOneOfSeveralAddresses(t *testing.T) {
	port := echo(t)
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("127.0.0.1")}, nil
	}})
	_, _, answer := dialConnect(t, socket, "mixed.test:"+port)
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestProxy_saysWhatFailed(t *testing.T) {
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	plain, _ := origin(t, false, func(http.ResponseWriter, *http.Request) {})
	secure, _ := origin(t, true, func(http.ResponseWriter, *http.Request) {})
	_, socket := serve(t, Options{AllowPrivate: loopback, Log: logger, Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "missing.test":
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		case "slow.test":
			return nil, &net.DNSError{Err: "timeout", Name: host, IsTimeout: true}
		}
		return toLoopback(ctx, host)
	}})
	client := through(t, socket)
	began := time.Now()
	for url, want := range map[string]struct {
		status int
		kind   string
	}{
		"http://missing.test/":            {502, "dns_error"},
		"http://slow.test/":               {504, "dns_timeout"},
		"http://a.test:1/":                {502, "connection_refused"}, // nobody listens there
		"https://a.test:" + plain + "/":   {502, "tls_protocol_error"},
		"https://a.test:" + secure + "/":  {502, "tls_certificate_error"},
		"http://a.test:25/":               {403, "http_request_denied"},
		"http://a.test:0/":                {400, "http_request_error"},
		"http://a.test:99999/":            {400, "http_request_error"},
		"https://user:pw@missing.test:1/": {502, "dns_error"},
	} {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		require.NoError(t, err)
		answer, err := client.Do(request)
		require.NoError(t, err, url)
		answer.Body.Close()
		require.Equal(t, want.status, answer.StatusCode, url)
		require.Equal(t, "slipway; error="+want.kind, answer.Header.Get("Proxy-Status"), url)
	}
	for target, status := range map[string]int{"a.test:25": 403, "missing.test:1": 502, "a.test:0": 400, "a.test": 400, ":1": 400} {
		_, _, answer := dialConnect(t, socket, target)
		require.Equal(t, status, answer.StatusCode, target)
	}
	require.Contains(t, log.String(), "organization=org_1")
	require.Contains(t, log.String(), "release=rel_1")
	most := 2 + int(time.Since(began).Seconds())
	require.LessOrEqual(t, strings.Count(log.String(), "\n"), most, "one line a second however often a worker tries")
}
