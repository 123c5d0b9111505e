package api_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func (g *gateway) domainPath(rest string) string {
	return "/projects/" + g.project.ID + "/domains" + rest
}

func TestDomains_sayWhatToPutIntoDNS(t *testing.T) {
	g := newGateway(t)
	a := g.do("POST", g.domainPath(""), map[string]any{"host": "Büro.Example.com."})
	var made api.Domain
	a.into(201, &made)
	require.Equal(t, "xn--bro-hoa.example.com", made.Host)
	require.Equal(t, g.domainPath("/xn--bro-hoa.example.com"), a.header.Get("Location"))
	require.Equal(t, models.DomainPending, made.Status)
	require.Len(t, made.DNS, 2)
	require.Equal(t, "_slipway-challenge.xn--bro-hoa.example.com", made.DNS[0].Name)
	require.NotEmpty(t, made.DNS[0].Value)
	require.Equal(t, "dispatcher.slipway.test", made.DNS[1].Value)
	require.Len(t, g.looked, 1)

	var again api.Domain
	g.do("POST", g.domainPath(""), map[string]any{"host": "büro.example.com"}).into(201, &again)
	require.Equal(t, made, again)
	require.Len(t, g.looked, 1, "its workflow runs already")
	var listed api.DomainList
	g.do("GET", g.domainPath(""), nil).into(200, &listed)
	require.Equal(t, []api.Domain{made}, listed.Items)
	g.do("GET", g.domainPath("/b%C3%BCro.example.com"), nil).into(200, &again)
	require.Equal(t, made, again)
}

func TestDomains_areLookedAtOnDemandAndAnewAfterAFailure(t *testing.T) {
	g := newGateway(t)
	var d api.Domain
	g.do("POST", g.domainPath(""), map[string]any{"host": "shop.example.com"}).into(201, &d)
	g.do("POST", g.domainPath("/shop.example.com/check"), nil).into(200, &d)
	require.Len(t, g.looked, 2)
	require.NoError(t, g.store.FailDomain(t.Context(), d.ID, "It was not ready in time."))
	g.do("GET", g.domainPath("/shop.example.com"), nil).into(200, &d)
	require.Equal(t, models.DomainFailed, d.Status)
	require.Equal(t, "It was not ready in time.", d.Reason)
	d = api.Domain{}
	g.do("POST", g.domainPath("/shop.example.com/check"), nil).into(200, &d)
	require.Equal(t, models.DomainPending, d.Status)
	require.Empty(t, d.Reason)
	require.Len(t, g.looked, 3)
}

func TestDomains_showThatAnActiveOneIsFailing(t *testing.T) {
	g := newGateway(t)
	var d api.Domain
	g.do("POST", g.domainPath(""), map[string]any{"host": "shop.example.com"}).into(201, &d)
	require.NoError(t, g.store.VerifyDomain(t.Context(), d.ID))
	row, err := g.store.Domain(t.Context(), d.ID)
	require.NoError(t, err)
	require.NoError(t, g.store.ActivateDomain(t.Context(), row))
	row, err = g.store.NoteLook(t.Context(), d.ID, models.DomainLook{Lacks: "It has no address.", NextAt: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	g.do("GET", g.domainPath("/shop.example.com"), nil).into(200, &d)
	require.Equal(t, models.DomainActive, d.Status)
	require.Equal(t, "It has no address.", d.Reason)
	require.NotNil(t, d.CheckedAt)
	require.NotNil(t, d.FailingSince)
	g.do("POST", g.domainPath("/shop.example.com/check"), nil).into(200, &d)
	require.Len(t, g.looked, 2, "it is looked at on demand as well")

	require.NoError(t, g.store.LoseDomain(t.Context(), row, "It has not pointed here for days."))
	d = api.Domain{}
	g.do("GET", g.domainPath("/shop.example.com"), nil).into(200, &d)
	require.Equal(t, models.DomainFailed, d.Status)
	require.Equal(t, "It has not pointed here for days.", d.Reason)
	require.Nil(t, d.FailingSince)
	d = api.Domain{}
	g.do("POST", g.domainPath("/shop.example.com/check"), nil).into(200, &d)
	require.Equal(t, models.DomainPending, d.Status)
	require.Len(t, g.looked, 3)
}

func TestDomains_removalEndsTheClaim(t *testing.T) {
	g := newGateway(t)
	g.do("POST", g.domainPath(""), map[string]any{"host": "shop.example.com"})
	require.Equal(t, 204, g.do("DELETE", g.domainPath("/shop.example.com"), nil).status)
	g.do("GET", g.domainPath("/shop.example.com"), nil).failed(models.CodeDomainNotFound)
	g.do("DELETE", g.domainPath("/shop.example.com"), nil).failed(models.CodeDomainNotFound)
	g.do("POST", g.domainPath("/shop.example.com/check"), nil).failed(models.CodeDomainNotFound)
}

func TestDomains_refuseWhatCannotBeOnesOwn(t *testing.T) {
	g := newGateway(t)
	for _, host := range []string{"localhost", "10.0.0.1", "[::1]", "a", "*.example.com", "a.slipway.test", "slipway.test", "http://example.com", "a b.example.com", "-a.example.com", "example.com:80", "a..b", "xn--a.example.com"} {
		g.do("POST", g.domainPath(""), map[string]any{"host": host}).refuses("host", "")
	}
	other, _ := g.newOwner("other@example.com")
	foreign, err := g.store.CreateProject(t.Context(), other.OrganizationID, "Other", "other")
	require.NoError(t, err)
	g.own(foreign, "taken.example.com")
	g.do("POST", g.domainPath(""), map[string]any{"host": "taken.example.com"}).failed(models.CodeDomainUnavailable)
	for _, method := range []string{"GET", "DELETE"} {
		g.do(method, "/projects/"+foreign.ID+"/domains/taken.example.com", nil).failed(models.CodeProjectNotFound)
		g.do(method, g.domainPath("/taken.example.com"), nil).failed(models.CodeDomainNotFound)
	}
	require.Empty(t, g.looked)
}

func TestDomains_aClaimIsKeptWhenItCannotBeLookedAtNow(t *testing.T) {
	g := newGateway(t)
	g.lookFails = errors.New("down")
	var d api.Domain
	g.do("POST", g.domainPath(""), map[string]any{"host": "shop.example.com"}).into(201, &d)
	waiting, err := g.store.UnstartedDomains(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, waiting, 1, "the reconciler finds it")
	require.Equal(t, 500, g.do("POST", g.domainPath("/shop.example.com/check"), nil).status)
}
