package activities

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// nameServer is an authoritative name server on a port of its own.
type nameServer struct {
	mu      sync.Mutex
	records map[string][]string
	// broken fails every question, halfBroken those for an IPv6 address.
	broken, halfBroken bool
}

// startNameServer gives the server and a resolver that asks it alone.
func startNameServer(t *testing.T) (*nameServer, *net.Resolver) {
	t.Helper()
	n := &nameServer{records: map[string][]string{}}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	ready := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(n.answer), NotifyStartedFunc: func() { close(ready) }}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-ended)
	})
	return n, &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// set replaces the records of a name: "TXT value", "CNAME name.", "A address".
func (n *nameServer) set(name string, records ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[dns.Fqdn(name)] = records
}

// setBroken has it fail every question, or answer again.
func (n *nameServer) setBroken(broken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = broken
}

func (n *nameServer) answer(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if n.broken || n.halfBroken && q.Question[0].Qtype == dns.TypeAAAA {
		m.Rcode = dns.RcodeServerFailure
	} else {
		n.fill(m, dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype)
		if len(m.Answer) == 0 && n.records[dns.CanonicalName(q.Question[0].Name)] == nil {
			m.Rcode = dns.RcodeNameError
		}
	}
	_ = w.WriteMsg(m)
}

func (n *nameServer) fill(m *dns.Msg, name string, kind uint16) {
	for _, record := range n.records[name] {
		rr, err := dns.NewRR(name + " 1 IN " + record)
		if err != nil {
			continue
		}
		if alias, ok := rr.(*dns.CNAME); ok && kind != dns.TypeTXT {
			m.Answer = append(m.Answer, rr)
			n.fill(m, alias.Target, kind)
		} else if rr.Header().Rrtype == kind {
			m.Answer = append(m.Answer, rr)
		}
	}
}

func TestCheckDomain_movesOnAsDNSAllows(t *testing.T) {
	b := newBench(t)
	ns, resolver := startNameServer(t)
	b.Resolver, b.CNAMETarget = resolver, "dispatcher.slipway.test"
	ns.set("dispatcher.slipway.test", "A 192.0.2.7")
	d, err := b.Store.AddDomain(t.Context(), b.project, "shop.example.com")
	require.NoError(t, err)
	in := models.DomainInput{DomainID: d.ID, Host: d.Host}
	expect := func(status models.DomainStatus, reason string) {
		t.Helper()
		state, err := b.CheckDomain(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, status, state.Status)
		row, err := b.Store.Domain(t.Context(), d.ID)
		require.NoError(t, err)
		require.Equal(t, status, row.Status)
		if reason == "" {
			require.Empty(t, row.Reason)
		} else {
			require.Contains(t, row.Reason, reason)
		}
	}
	expect(models.DomainPending, "There is no TXT record _slipway-challenge.shop.example.com")
	ns.set("_slipway-challenge.shop.example.com", `TXT "something else"`)
	expect(models.DomainPending, "has another value")
	ns.setBroken(true)
	expect(models.DomainPending, "did not answer")
	ns.setBroken(false)
	ns.set("_slipway-challenge.shop.example.com", `TXT "something else"`, `TXT "`+d.Token+`"`)
	expect(models.DomainVerified, "has no address")
	ns.set("shop.example.com", "A 192.0.2.99")
	expect(models.DomainVerified, "points elsewhere")
	ns.set("_slipway-challenge.shop.example.com")
	ns.set("shop.example.com", "CNAME dispatcher.slipway.test.")
	expect(models.DomainActive, "")
	expect(models.DomainActive, "")
	require.NoError(t, b.Store.DomainServes(t.Context(), "shop.example.com"))
}

func TestCheckDomain_theTopOfAZoneNeedsTheSameAddress(t *testing.T) {
	b := newBench(t)
	ns, resolver := startNameServer(t)
	b.Resolver, b.CNAMETarget = resolver, "dispatcher.slipway.test."
	ns.set("dispatcher.slipway.test", "A 192.0.2.7", "AAAA 2001:db8::7")
	d, err := b.Store.AddDomain(t.Context(), b.project, "example.com")
	require.NoError(t, err)
	ns.set("_slipway-challenge.example.com", `TXT "`+d.Token+`"`)
	ns.set("example.com", "AAAA 2001:db8::7")
	state, err := b.CheckDomain(t.Context(), models.DomainInput{DomainID: d.ID})
	require.NoError(t, err)
	require.Equal(t, models.DomainState{Status: models.DomainActive}, state)
}

func TestCheckDomain_theSecondToProveItFails(t *testing.T) {
	b := newBench(t)
	ns, resolver := startNameServer(t)
	b.Resolver, b.CNAMETarget = resolver, "dispatcher.slipway.test"
	other, err := b.Store.CreateProject(t.Context(), b.id.OrganizationID, "Other", "other")
	require.NoError(t, err)
	first, err := b.Store.AddDomain(t.Context(), b.project, "shop.example.com")
	require.NoError(t, err)
	second, err := b.Store.AddDomain(t.Context(), other, "shop.example.com")
	require.NoError(t, err)
	ns.set("_slipway-challenge.shop.example.com", `TXT "`+first.Token+`"`, `TXT "`+second.Token+`"`)
	state, err := b.CheckDomain(t.Context(), models.DomainInput{DomainID: first.ID})
	require.NoError(t, err)
	require.Equal(t, models.DomainVerified, state.Status)
	state, err = b.CheckDomain(t.Context(), models.DomainInput{DomainID: second.ID})
	require.NoError(t, err)
	require.Equal(t, models.DomainFailed, state.Status)
	require.Contains(t, state.Reason, "Another project")
	require.NoError(t, b.Store.RemoveDomain(t.Context(), other.ID, "shop.example.com"))
	state, err = b.CheckDomain(t.Context(), models.DomainInput{DomainID: second.ID})
	require.NoError(t, err)
	require.True(t, state.Removed)
	state, err = b.FailDomain(t.Context(), models.DomainInput{DomainID: first.ID})
	require.NoError(t, err)
	require.Equal(t, models.DomainFailed, state.Status)
}

// elsewhere finds nothing and remembers what it was asked.
type elsewhere struct{ asked []string }

func (e *elsewhere) LookupTXT(_ context.Context, name string) ([]string, error) {
	e.asked = append(e.asked, "TXT "+name)
	return nil, nil
}

func (e *elsewhere) LookupCNAME(_ context.Context, host string) (string, error) {
	e.asked = append(e.asked, "CNAME "+host)
	return host, nil
}

func (e *elsewhere) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	e.asked = append(e.asked, "address "+host)
	return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
}

func TestCheckDomain_asksForNoNameOfThisMachinesSearchDomains(t *testing.T) {
	resolver := &elsewhere{}
	a := &Activities{Options: Options{Resolver: resolver, CNAMETarget: "dispatcher.slipway.test"}}
	require.NotEmpty(t, a.missingProof(t.Context(), models.Domain{Host: "shop.example.com", Token: "token"}))
	reason, _ := a.pointsElsewhere(t.Context(), "shop.example.com")
	require.Empty(t, reason, "it shares an address")
	require.Equal(t, []string{
		"TXT _slipway-challenge.shop.example.com.", "CNAME shop.example.com.", "address shop.example.com.", "address dispatcher.slipway.test.",
	}, resolver.asked)
}
