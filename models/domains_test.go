package models_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
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

func TestDomains_ofAProjectAreBounded(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	host := func(n int) string { return fmt.Sprintf("d%d.example.com", n) }
	for n := range models.MaxDomains {
		_, err := store.AddDomain(t.Context(), p, host(n))
		require.NoError(t, err)
	}
	_, err := store.AddDomain(t.Context(), p, host(models.MaxDomains))
	requireCode(t, models.CodeValidation, err)
	_, err = store.AddDomain(t.Context(), p, host(0))
	require.NoError(t, err, "it is there already")
	require.NoError(t, store.RemoveDomain(t.Context(), p.ID, host(0)))
	_, err = store.AddDomain(t.Context(), p, host(models.MaxDomains))
	require.NoError(t, err)
}

// active is an active domain of a project.
func active(t *testing.T, store *models.Store, p models.Project, host string) models.Domain {
	t.Helper()
	d, err := store.AddDomain(t.Context(), p, host)
	require.NoError(t, err)
	require.NoError(t, store.VerifyDomain(t.Context(), d.ID))
	require.NoError(t, store.ActivateDomain(t.Context(), d))
	d, err = store.Domain(t.Context(), d.ID)
	require.NoError(t, err)
	return d
}

func TestNoteLook_countsWhatIsSureUntilItIsMended(t *testing.T) {
	store, id := openStore(t)
	d := active(t, store, newProject(t, store, id, "site"), "shop.example.com")
	require.NotNil(t, d.CheckedAt)
	next := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	note := func(lacks string, unsure bool) models.Domain {
		t.Helper()
		d, err := store.NoteLook(t.Context(), d.ID, models.DomainLook{Lacks: lacks, Unsure: unsure, NextAt: next})
		require.NoError(t, err)
		require.Equal(t, models.DomainActive, d.Status)
		require.Equal(t, lacks, d.Reason)
		require.True(t, next.Equal(d.CheckAt))
		return d
	}
	unsure := note("Nobody answered.", true)
	require.Nil(t, unsure.FailingSince)
	first := note("It has no address.", false)
	require.Equal(t, 1, first.FailedChecks)
	require.Equal(t, 1, note("Nobody answered.", true).FailedChecks, "nothing is known, for either side")
	second := note("It has no address.", false)
	require.Equal(t, 2, second.FailedChecks)
	require.Equal(t, first.FailingSince, second.FailingSince)
	mended := note("", false)
	require.Zero(t, mended.FailedChecks)
	require.Nil(t, mended.FailingSince)

	pending, err := store.AddDomain(t.Context(), newProject(t, store, id, "other"), "pending.example.com")
	require.NoError(t, err)
	_, err = store.NoteLook(t.Context(), pending.ID, models.DomainLook{NextAt: next})
	requireCode(t, models.CodeDomainNotFound, err)
}

func TestDueDomains_areTakenOnceEach(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	_, err := store.AddDomain(t.Context(), p, "pending.example.com")
	require.NoError(t, err)
	for i := range 5 {
		active(t, store, p, fmt.Sprintf("d%d.example.com", i))
	}
	taken := map[string]int{}
	for _, limit := range []int{2, 2, 2, 2} {
		rows, err := store.DueDomains(t.Context(), time.Hour, limit)
		require.NoError(t, err)
		for _, d := range rows {
			taken[d.Host]++
			require.NotEmpty(t, d.OrganizationID)
		}
	}
	require.Len(t, taken, 5)
	for host, times := range taken {
		require.Equal(t, 1, times, host)
	}
}

func TestLoseDomain_answersNoMoreAndLeavesTheHostToOthers(t *testing.T) {
	store, id := openStore(t)
	const host = "shop.example.com"
	p, other := newProject(t, store, id, "site"), newProject(t, store, id, "other")
	newWebhook(t, store, id)
	release := checked(t, store, newDeployment(t, store, id, p))
	_, err := store.GoLive(t.Context(), release)
	require.NoError(t, err)
	d := active(t, store, p, host)
	_, err = store.Route(t.Context(), models.HostRouteKey(host))
	require.NoError(t, err)
	_, err = store.AddDomain(t.Context(), other, host)
	requireCode(t, models.CodeDomainUnavailable, err)
	_, _, err = store.FanOut(t.Context(), 100)
	require.NoError(t, err)

	for range 2 {
		require.NoError(t, store.LoseDomain(t.Context(), d, "It has not pointed here for days."))
	}
	lost, err := store.Domain(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, models.DomainFailed, lost.Status)
	require.Equal(t, "It has not pointed here for days.", lost.Reason)
	requireCode(t, models.CodeDomainNotFound, store.DomainServes(t.Context(), host))
	_, err = store.Route(t.Context(), models.HostRouteKey(host))
	requireCode(t, models.CodeNotFound, err)
	taken, _, err := store.FanOut(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 1, taken, "domain.failed, once")

	again, err := store.AddDomain(t.Context(), p, host)
	require.NoError(t, err)
	require.Equal(t, models.DomainPending, again.Status)
	theirs, err := store.AddDomain(t.Context(), other, host)
	require.NoError(t, err)
	require.NoError(t, store.VerifyDomain(t.Context(), theirs.ID))
	require.NoError(t, store.ActivateDomain(t.Context(), theirs))
	require.NoError(t, store.LoseDomain(t.Context(), d, "late"), "which changes nothing any more")
	require.NoError(t, store.DomainServes(t.Context(), host))
}

func TestCreateDeployment_claimsItsDomainWithItsRow(t *testing.T) {
	store, id, _ := quotaStore(t, models.Quotas{Deployments: 2, Projects: 2, Domains: 1})
	p, other := newProject(t, store, id, "site"), newProject(t, store, id, "other")
	n := deploymentOf(id, p)
	n.Input.CustomDomain, n.IdempotencyKey, n.BodyHash = "shop.example.com", "key", "hash"
	_, created, err := store.CreateDeployment(t.Context(), n)
	require.NoError(t, err)
	require.True(t, created)
	_, err = store.DomainOf(t.Context(), p.ID, "shop.example.com")
	require.NoError(t, err)
	require.NoError(t, store.RemoveDomain(t.Context(), p.ID, "shop.example.com"))
	_, created, err = store.CreateDeployment(t.Context(), n)
	require.NoError(t, err)
	require.False(t, created)
	_, err = store.DomainOf(t.Context(), p.ID, "shop.example.com")
	requireCode(t, models.CodeDomainNotFound, err)

	active(t, store, other, "taken.example.com")
	refused := deploymentOf(id, p)
	refused.Input.CustomDomain = "taken.example.com"
	_, _, err = store.CreateDeployment(t.Context(), refused)
	requireCode(t, models.CodeDomainUnavailable, err)
	refused.Input.CustomDomain = "more.example.com"
	_, _, err = store.CreateDeployment(t.Context(), refused)
	refusal(t, err, models.ResourceDomains, 1, 1)
	require.EqualValues(t, 1, usedOf(t, store, id, models.ResourceDeployments).Used, "what was refused is not counted")
	_, err = store.Deployment(t.Context(), refused.Input.DeploymentID)
	requireCode(t, models.CodeDeploymentNotFound, err)
}

// TestRemoveDomain_leavesNoRouteBehindAFlip removes a domain while a first release
// goes live, whose route of the domain is written but not seen by anybody yet.
func TestRemoveDomain_leavesNoRouteBehindAFlip(t *testing.T) {
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	const host = "shop.example.com"
	p := newProject(t, store, id, "site")
	d, err := store.AddDomain(t.Context(), p, host)
	require.NoError(t, err)
	require.NoError(t, store.VerifyDomain(t.Context(), d.ID))
	require.NoError(t, store.ActivateDomain(t.Context(), d))
	release := checked(t, store, newDeployment(t, store, id, p))

	// The flip stops where it has written the route, until the lock is given back.
	holder, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, holder.Close(context.Background())) }()
	_, err = holder.Exec(t.Context(), `CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
		CREATE TRIGGER halt AFTER INSERT ON routes FOR EACH ROW WHEN (NEW.key LIKE 'h:%') EXECUTE FUNCTION halt();
		SELECT pg_advisory_lock(1)`)
	require.NoError(t, err)
	waiting := func() (n int) {
		err := holder.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n)
		require.NoError(t, err)
		return n
	}
	flipped, removed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := store.GoLive(t.Context(), release)
		flipped <- err
	}()
	require.Eventually(t, func() bool { return waiting() == 1 }, time.Minute, 5*time.Millisecond)
	go func() { removed <- store.RemoveDomain(t.Context(), p.ID, host) }()
	require.Eventually(t, func() bool { return len(removed) == 1 || waiting() == 2 }, time.Minute, 5*time.Millisecond)
	_, err = holder.Exec(t.Context(), "SELECT pg_advisory_unlock(1)")
	require.NoError(t, err)
	require.NoError(t, <-flipped)
	require.NoError(t, <-removed)
	_, err = store.Route(t.Context(), models.HostRouteKey(host))
	requireCode(t, models.CodeNotFound, err)
}
