package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/certs/pebbletest"
)

// zone is a name server for which every host is this machine, with TXT records
// that can be set.
type zone struct {
	addr string

	mu  sync.Mutex
	txt map[string]string
}

func startZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{txt: map[string]string{}}
	// The authority asks over TCP, the system under test over UDP.
	z.addr = "127.0.0.1:" + freePort(t)
	stream, err := net.Listen("tcp", z.addr)
	require.NoError(t, err)
	packets, err := net.ListenPacket("udp", z.addr)
	require.NoError(t, err)
	for _, server := range []*dns.Server{{Listener: stream}, {PacketConn: packets}} {
		ready, ended := make(chan struct{}), make(chan error, 1)
		server.Handler, server.NotifyStartedFunc = dns.HandlerFunc(z.answer), func() { close(ready) }
		go func() { ended <- server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() {
			require.NoError(t, server.Shutdown())
			require.NoError(t, <-ended)
		})
	}
	return z
}

func (z *zone) set(name, text string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.txt[dns.CanonicalName(name)] = text
}

func (z *zone) answer(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET}
	switch text := z.txt[dns.CanonicalName(header.Name)]; {
	case header.Rrtype == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: header, A: netip.MustParseAddr("127.0.0.1").AsSlice()})
	case header.Rrtype == dns.TypeTXT && text != "":
		m.Answer = append(m.Answer, &dns.TXT{Hdr: header, Txt: []string{text}})
	}
	_ = w.WriteMsg(m)
}

// customDomain is the parts of the API's answer this test reads.
type customDomain struct {
	Status, Reason string
	DNS            []struct{ Type, Name, Value string }
}

func TestDomain_isVerifiedAndServedOverHTTPS(t *testing.T) {
	const host = "shop.example.com"
	z := startZone(t)
	authority := pebbletest.Start(t, pebbletest.Options{Resolver: z.addr})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(authority.Log())
		}
	})
	s := boot(t, fmt.Sprintf("SLIPWAY_DISPATCHER_PORT=%d", authority.HTTPPort), fmt.Sprintf("DISPATCH_TLS_ADDR=127.0.0.1:%d", authority.TLSPort), "DISPATCH_HSTS=max-age=60",
		"ACME_DIRECTORY="+authority.Directory, "ACME_CA_FILE="+authority.CAFile, "DOMAIN_RESOLVER="+z.addr)
	project := s.newProject("shop")
	s.succeed(s.deploy(project, []initFile{{Path: "index.html", Content: "first"}}))
	path := "/projects/" + project + "/domains"

	var d customDomain
	s.must(http.MethodPost, path, map[string]any{"host": host}, nil)
	s.must(http.MethodGet, path+"/"+host, nil, &d)
	require.Equal(t, "pending", d.Status)
	require.Equal(t, "TXT", d.DNS[0].Type)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: authority.Roots(t)}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", authority.TLSPort))
		},
	}}
	_, err := client.Get("https://" + host + "/")
	require.Error(t, err, "nobody has proved that it is theirs")
	require.Zero(t, authority.Orders(), "and no certificate was asked for")

	z.set(d.DNS[0].Name, d.DNS[0].Value)
	s.must(http.MethodPost, path+"/"+host+"/check", nil, nil)
	s.wait(patience, "the domain to be active", func() bool {
		s.must(http.MethodGet, path+"/"+host, nil, &d)
		return d.Status == "active"
	})
	get := func() (string, *http.Response) {
		answer, err := client.Get("https://" + host + "/")
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return string(body), answer
	}
	s.wait(patience, "the certificate", func() bool {
		answer, err := client.Get("https://" + host + "/")
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil
	})
	body, answer := get()
	require.Equal(t, "first", body)
	require.Equal(t, 2, answer.ProtoMajor)
	require.Equal(t, "max-age=60", answer.Header.Get("Strict-Transport-Security"))
	require.Equal(t, 1, authority.Orders())

	s.succeed(s.deploy(project, []initFile{{Path: "index.html", Content: "second"}}))
	body, _ = get()
	require.Equal(t, "second", body, "a deployment goes live on the domain too")

	plain, err := http.NewRequest(http.MethodGet, s.DispatcherURL+"/a?b=c", nil)
	require.NoError(t, err)
	plain.Host = host
	redirect, err := http.DefaultTransport.RoundTrip(plain)
	require.NoError(t, err)
	require.NoError(t, redirect.Body.Close())
	require.Equal(t, http.StatusPermanentRedirect, redirect.StatusCode)
	require.Equal(t, fmt.Sprintf("https://%s:%d/a?b=c", host, authority.TLSPort), redirect.Header.Get("Location"))

	s.must(http.MethodDelete, path+"/"+host, nil, nil)
	s.wait(patience, "the domain to be gone", func() bool {
		answer, err := client.Get("https://" + host + "/")
		if err != nil {
			return true
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusNotFound
	})
}
