package worker

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// zone answers for one address that every host has, but for ours when it is gone.
type zone struct {
	gone  atomic.Bool
	looks atomic.Int64
}

func (z *zone) LookupTXT(context.Context, string) ([]string, error) {
	return nil, &net.DNSError{IsNotFound: true}
}

func (z *zone) LookupCNAME(_ context.Context, host string) (string, error) { return host, nil }

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "shop.example.com." && z.gone.Load() {
		return nil, &net.DNSError{IsNotFound: true}
	}
	z.looks.Add(1)
	return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
}

func TestReconcile_looksAtActiveDomainsAgain(t *testing.T) {
	h := newHooked(t)
	z := &zone{}
	h.Activities.Resolver, h.Activities.CNAMETarget = z, "dispatcher.slipway.test"
	h.Activities.DomainCheckEvery, h.Activities.DomainPatience = time.Hour, time.Hour
	h.reconciler.DomainTimeout = time.Hour
	d, err := h.courier.Store.AddDomain(t.Context(), h.proj, "shop.example.com")
	require.NoError(t, err)
	require.NoError(t, h.courier.Store.VerifyDomain(t.Context(), d.ID))
	require.NoError(t, h.courier.Store.ActivateDomain(t.Context(), d))
	row := func() models.Domain {
		row, err := h.courier.Store.Domain(t.Context(), d.ID)
		require.NoError(t, err)
		return row
	}
	h.work()
	require.NoError(t, h.checkDomains(t.Context()))
	eventually(t, func() bool { return row().CheckAt.After(time.Now().Add(checkLease)) })
	looks := z.looks.Load()
	require.NoError(t, h.checkDomains(t.Context()))
	require.NoError(t, h.courier.Temporal.GetWorkflow(t.Context(), d.ID, "").Get(t.Context(), nil))
	require.Equal(t, looks, z.looks.Load(), "it is not due yet")

	// It has no address, and has had none for days.
	z.gone.Store(true)
	h.exec("UPDATE domains SET check_at = now(), failing_since = now() - interval '2 hours', failed_checks = 100")
	require.NoError(t, h.checkDomains(t.Context()))
	eventually(t, func() bool { return row().Status == models.DomainFailed })
	require.NoError(t, h.courier.Temporal.GetWorkflow(t.Context(), d.ID, "").Get(t.Context(), nil), "the workflow has ended")

	h.exec("UPDATE domains SET status = 'active', check_at = now()")
	h.Activities.DomainCheckEvery = 0
	require.NoError(t, h.checkDomains(t.Context()))
	require.True(t, row().CheckAt.Before(time.Now().Add(time.Minute)), "never is never")
}
