package activities

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// watched is an active domain with the name server it is looked up at.
type watched struct {
	*bench
	ns     *nameServer
	domain models.Domain
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	b := newBench(t)
	ns, resolver := startNameServer(t)
	b.Resolver, b.CNAMETarget = resolver, "dispatcher.slipway.test"
	b.DomainCheckEvery, b.DomainPatience = 24*time.Hour, 72*time.Hour
	ns.set("dispatcher.slipway.test", "A 192.0.2.7")
	d, err := b.Store.AddDomain(t.Context(), b.project, "shop.example.com")
	require.NoError(t, err)
	ns.set("_slipway-challenge.shop.example.com", `TXT "`+d.Token+`"`)
	ns.set("shop.example.com", "CNAME dispatcher.slipway.test.")
	w := &watched{b, ns, d}
	require.Equal(t, models.DomainActive, w.look().Status)
	// People were told that it may go.
	ns.set("_slipway-challenge.shop.example.com")
	return w
}

// look looks once and gives the row.
func (w *watched) look() models.Domain {
	w.t.Helper()
	state, err := w.CheckDomain(w.t.Context(), models.DomainInput{DomainID: w.domain.ID, Host: w.domain.Host})
	require.NoError(w.t, err)
	row, err := w.Store.Domain(w.t.Context(), w.domain.ID)
	require.NoError(w.t, err)
	require.Equal(w.t, models.DomainState{Status: row.Status, Reason: row.Reason}, state)
	return row
}

// inAbout says that a time is so far away, a tenth more or less.
func inAbout(t *testing.T, wait time.Duration, at time.Time) {
	t.Helper()
	require.InDelta(t, wait.Hours(), time.Until(at).Hours(), wait.Hours()/10+0.2)
}

func TestLookAgain_warnsBeforeADomainFails(t *testing.T) {
	w := newWatched(t)
	row := w.look()
	require.Empty(t, row.Reason)
	inAbout(t, 24*time.Hour, row.CheckAt)

	w.ns.set("shop.example.com")
	row = w.look()
	require.Equal(t, models.DomainActive, row.Status)
	require.Contains(t, row.Reason, "shop.example.com has no address: make it a CNAME of dispatcher.slipway.test")
	require.Contains(t, row.Reason, "Otherwise it stops answering here after "+dateOf(row.FailingSince.Add(72*time.Hour)))
	require.NoError(t, w.Store.DomainServes(t.Context(), row.Host), "it is served meanwhile")
	inAbout(t, time.Hour, row.CheckAt)

	w.ns.set("shop.example.com", "A 192.0.2.7")
	row = w.look()
	require.Empty(t, row.Reason)
	require.Nil(t, row.FailingSince)
	inAbout(t, 24*time.Hour, row.CheckAt)
}

func TestLookAgain_failsADomainWithoutAddressForDays(t *testing.T) {
	for name, records := range map[string][]string{
		"nothing at all":     nil,
		"an alias of nobody": {"CNAME gone.example.net."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t)
			w.DomainPatience = 10 * time.Millisecond
			w.ns.set("shop.example.com", records...)
			for range leastFailedLooks - 1 {
				require.Equal(t, models.DomainActive, w.look().Status)
			}
			require.Eventually(t, func() bool { return w.look().Status == models.DomainFailed }, time.Minute, 10*time.Millisecond)
			row, err := w.Store.Domain(t.Context(), w.domain.ID)
			require.NoError(t, err)
			require.Contains(t, row.Reason, "It has had no address since "+dateOf(*row.FailingSince)+". shop.example.com ")
			require.NotContains(t, row.Reason, "Otherwise")
			requireCode(t, models.CodeDomainNotFound, w.Store.DomainServes(t.Context(), row.Host))

			// It is verified anew, from the beginning.
			again, err := w.Store.AddDomain(t.Context(), w.project, row.Host)
			require.NoError(t, err)
			require.Equal(t, models.DomainPending, again.Status)
			require.Contains(t, w.look().Reason, "There is no TXT record")
			w.ns.set("_slipway-challenge.shop.example.com", `TXT "`+row.Token+`"`)
			w.ns.set("shop.example.com", "A 192.0.2.7")
			row = w.look()
			require.Equal(t, models.DomainActive, row.Status)
			require.Zero(t, row.FailedChecks)
			require.Nil(t, row.FailingSince)
		})
	}
}

func TestLookAgain_timeAloneFailsNoDomain(t *testing.T) {
	w := newWatched(t)
	w.DomainPatience = time.Nanosecond
	w.ns.set("shop.example.com")
	row := w.look()
	require.Equal(t, models.DomainActive, row.Status, "nobody looked in between")
	w.DomainPatience = time.Hour
	for range 2 * leastFailedLooks {
		row = w.look()
	}
	require.Equal(t, models.DomainActive, row.Status, "somebody asked again and again")
	require.Greater(t, row.FailedChecks, leastFailedLooks)
}

func TestLookAgain_holdsSilentNameServersAgainstNobody(t *testing.T) {
	w := newWatched(t)
	w.DomainPatience = time.Nanosecond
	never := func(what string) {
		t.Helper()
		for range leastFailedLooks + 1 {
			row := w.look()
			require.Equal(t, models.DomainActive, row.Status, what)
			require.Nil(t, row.FailingSince, what)
			require.NotEmpty(t, row.Reason, what)
		}
	}
	w.ns.setBroken(true)
	never("SERVFAIL")
	w.ns.setBroken(false)
	w.ns.set("shop.example.com", "A 192.0.2.99")
	w.ns.mu.Lock()
	w.ns.halfBroken = true
	w.ns.mu.Unlock()
	never("an answer of which a part is missing")
	w.ns.mu.Lock()
	w.ns.halfBroken = false
	w.ns.mu.Unlock()
	w.ns.set("dispatcher.slipway.test")
	never("our own name has no address")
}

// A proxy that was put before us shows addresses of its own; its visitors come here.
func TestLookAgain_onlyWarnsOfADomainThatPointsElsewhere(t *testing.T) {
	w := newWatched(t)
	w.DomainPatience = time.Nanosecond
	w.ns.set("proxy.example.net", "A 192.0.2.98")
	for _, record := range []string{"A 192.0.2.99", "CNAME proxy.example.net."} {
		w.ns.set("shop.example.com", record)
		for range leastFailedLooks + 1 {
			row := w.look()
			require.Equal(t, models.DomainActive, row.Status)
			require.Contains(t, row.Reason, "shop.example.com points elsewhere: make it a CNAME of dispatcher.slipway.test")
			require.NotContains(t, row.Reason, "Otherwise")
			require.Nil(t, row.FailingSince)
		}
	}
}

func TestLookAgain_failsNoDomainWhenDomainsAreNeverLookedAtAgain(t *testing.T) {
	w := newWatched(t)
	w.DomainPatience, w.DomainCheckEvery = time.Nanosecond, 0
	w.ns.set("shop.example.com")
	for range leastFailedLooks + 1 {
		require.Equal(t, models.DomainActive, w.look().Status)
	}
}

// turning answers each question for an address with another one.
type turning struct {
	Resolver
	last byte
}

func (r *turning) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.last++
	return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, r.last})}, nil
}

func TestPointsElsewhere_followsATargetWhoseAddressesChange(t *testing.T) {
	w := newWatched(t)
	w.ns.set("dispatcher.slipway.test", "CNAME balancer.example.net.")
	w.ns.set("balancer.example.net", "A 192.0.2.50")
	w.ns.set("shop.example.com", "CNAME balancer.example.net.")
	w.Resolver = &turning{Resolver: w.Resolver}
	require.Empty(t, w.look().Reason)
}
