package models_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestDomains_whoProvesItFirstHasIt(t *testing.T) {
	store, id := openStore(t)
	a, b := newProject(t, store, id, "a"), newProject(t, store, id, "b")
	first, err := store.AddDomain(t.Context(), a, "shop.example.com")
	require.NoError(t, err)
	again, err := store.AddDomain(t.Context(), a, "shop.example.com")
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, first.Token, again.Token, "what was put into DNS goes on counting")
	second, err := store.AddDomain(t.Context(), b, "shop.example.com")
	require.NoError(t, err, "a mere claim keeps nobody out")
	require.NotEqual(t, first.Token, second.Token)

	require.NoError(t, store.VerifyDomain(t.Context(), second.ID))
	requireCode(t, models.CodeDomainUnavailable, store.VerifyDomain(t.Context(), first.ID))
	_, err = store.AddDomain(t.Context(), a, "shop.example.com")
	requireCode(t, models.CodeDomainUnavailable, err)
	requireCode(t, models.CodeDomainNotFound, store.DomainServes(t.Context(), "shop.example.com"))
}

func TestDomains_answerWithTheLiveReleaseFromActivationOn(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	activate := func(host string) {
		d, err := store.AddDomain(t.Context(), p, host)
		require.NoError(t, err)
		require.NoError(t, store.VerifyDomain(t.Context(), d.ID))
		require.NoError(t, store.ActivateDomain(t.Context(), d))
		require.NoError(t, store.ActivateDomain(t.Context(), d), "twice is harmless")
		require.NoError(t, store.DomainServes(t.Context(), host))
	}
	live := func(host string) string {
		route, err := store.Route(t.Context(), models.HostRouteKey(host))
		require.NoError(t, err)
		return route.ReleaseID
	}
	activate("early.example.com")
	_, err := store.Route(t.Context(), models.HostRouteKey("early.example.com"))
	requireCode(t, models.CodeNotFound, err)
	first := checked(t, store, newDeployment(t, store, id, p))
	_, err = store.GoLive(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, first.ID, live("early.example.com"))
	activate("late.example.com")
	require.Equal(t, first.ID, live("late.example.com"))
	second := checked(t, store, newDeployment(t, store, id, p))
	_, err = store.GoLive(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, second.ID, live("early.example.com"))
	require.Equal(t, second.ID, live("late.example.com"))

	require.NoError(t, store.RemoveDomain(t.Context(), p.ID, "late.example.com"))
	_, err = store.Route(t.Context(), models.HostRouteKey("late.example.com"))
	requireCode(t, models.CodeNotFound, err)
	requireCode(t, models.CodeDomainNotFound, store.RemoveDomain(t.Context(), p.ID, "late.example.com"))
	requireCode(t, models.CodeDomainNotFound, store.RemoveDomain(t.Context(), newProject(t, store, id, "other").ID, "early.example.com"))
	require.Equal(t, second.ID, live("early.example.com"))
}

func TestDomains_aFailedClaimMayBeMadeAgain(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	d, err := store.AddDomain(t.Context(), p, "shop.example.com")
	require.NoError(t, err)
	require.NoError(t, store.MarkDomainStarted(t.Context(), d.ID, "run"))
	require.NoError(t, store.NoteDomain(t.Context(), d.ID, "There is no TXT record."))
	require.NoError(t, store.FailDomain(t.Context(), d.ID, "Nothing was proved in time."))
	failed, err := store.Domain(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, models.DomainFailed, failed.Status)
	require.Equal(t, "Nothing was proved in time.", failed.Reason)
	again, err := store.AddDomain(t.Context(), p, "shop.example.com")
	require.NoError(t, err)
	require.Equal(t, d.ID, again.ID)
	require.Equal(t, models.DomainPending, again.Status)
	waiting, err := store.UnstartedDomains(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	waiting, err = store.UnstartedDomains(t.Context(), time.Hour, 10)
	require.NoError(t, err)
	require.Empty(t, waiting)
}
