package api_test

import (
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// hourly is so slow that nothing comes back during a test.
func hourly(n int) ratelimit.Limit {
	return ratelimit.Limit{Count: n, Period: time.Duration(n) * time.Hour}
}

// tooMany checks for a RATE_LIMITED with what a client needs to know.
func (a answer) tooMany(limit int) {
	a.Helper()
	details := a.failed(models.CodeRateLimited)["details"].(map[string]any)
	require.EqualValues(a, limit, details["limit"])
	// An hour, less what went by since the first of them.
	require.InDelta(a, 3000, details["retryAfterSeconds"], 600)
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	require.NoError(a, err)
	require.EqualValues(a, details["retryAfterSeconds"], after)
	require.Equal(a, strconv.Itoa(limit), a.header.Get("RateLimit-Limit"))
	require.Equal(a, "0", a.header.Get("RateLimit-Remaining"))
	require.NotEmpty(a, a.header.Get("RateLimit-Reset"))
	require.Equal(a, strconv.Itoa(limit)+";w="+strconv.Itoa(limit*3600), a.header.Get("RateLimit-Policy"))
}

func TestRates_boundWhatOneAddressSendsBeforeItIsKnownWhoItIs(t *testing.T) {
	g := newGateway(t, func(o *api.Options) {
		o.Rates.Address = hourly(5)
		o.Addresses = clientaddr.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	})
	from := func(address, token string) answer {
		return g.do("GET", "/projects", nil, header{"X-Forwarded-For": address, "Authorization": token})
	}
	for i := range 5 {
		a := from("203.0.113.1", "Bearer wrong")
		a.failed(models.CodeUnauthorized)
		require.Equal(t, strconv.Itoa(4-i), a.header.Get("RateLimit-Remaining"))
		require.Equal(t, "5", a.header.Get("RateLimit-Limit"))
	}
	from("203.0.113.1", "Bearer "+g.token).tooMany(5)
	from("1.1.1.1, 203.0.113.1", "Bearer "+g.token).tooMany(5)
	require.Equal(t, 200, from("203.0.113.2", "Bearer "+g.token).status)
	for i := range 5 {
		require.Equal(t, 200, from("2001:db8::"+strconv.Itoa(i), "Bearer "+g.token).status)
	}
	from("2001:db8::ffff", "Bearer "+g.token).tooMany(5)
	require.Equal(t, 200, from("2001:db8:0:1::1", "Bearer "+g.token).status)
	require.Contains(t, g.log.String(), `"remote":"203.0.113.1"`)
}

func TestRates_boundATokenOverAllGateways(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Rates.Token = hourly(40) })
	second, err := api.New(g.opts)
	require.NoError(t, err)
	other := &gateway{T: t, http: httptest.NewServer(second), token: g.token}
	defer other.http.Close()

	var allowed atomic.Int64
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for range 10 {
				if []*gateway{g, other}[i%2].do("GET", "/projects", nil).status == 200 {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 40, allowed.Load())
	g.do("GET", "/projects", nil).tooMany(40)
	_, stranger := g.newOwner("stranger@example.com")
	a := g.do("GET", "/projects", nil, header{"Authorization": "Bearer " + stranger})
	require.Equal(t, 200, a.status)
	require.Equal(t, "39", a.header.Get("RateLimit-Remaining"))
}

func TestRates_boundDeploymentsOfAnOrganization(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Rates = api.Rates{Token: hourly(1000), Deploy: hourly(2)} })
	for i := range 2 {
		a := g.do("POST", "/deploy", g.deployBody(nil))
		require.Equal(t, 200, a.status)
		require.Equal(t, strconv.Itoa(1-i), a.header.Get("RateLimit-Remaining"), "the limit that is nearest")
	}
	_, another, err := g.store.CreateToken(t.Context(), models.NewToken{OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "another"})
	require.NoError(t, err)
	g.do("POST", "/deploy", g.deployBody(nil), header{"Authorization": "Bearer " + another}).tooMany(2)
	a := g.do("GET", "/projects", nil)
	require.Equal(t, 200, a.status)
	require.Equal(t, "1000", a.header.Get("RateLimit-Limit"))
}

func TestRates_boundThePublicStatusByAddress(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Rates.Status = hourly(3) })
	row := g.deploy(nil)
	ask := func() answer { return g.do("GET", "/deploy-status?id="+row.ID, nil, header{"Authorization": ""}) }
	for range 3 {
		require.Equal(t, 200, ask().status)
	}
	ask().tooMany(3)
	require.Equal(t, 200, g.do("GET", "/projects", nil).status)
}

func TestRates_boundCodesForDevicesByAddress(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Rates.Device = hourly(1) })
	ask := func() answer { return g.do("POST", "/device/code", map[string]any{}, header{"Authorization": ""}) }
	require.NotEqual(t, 429, ask().status)
	ask().tooMany(1)
}

func TestRates_letPassWhatCannotBeCounted(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Rates.Device, o.Rates.Address = hourly(1), hourly(100) })
	require.NoError(t, g.store.Close())
	g.do("POST", "/device/code", map[string]any{}, header{"Authorization": ""}).failed(models.CodeDatabase)
	require.Contains(t, g.log.String(), "rate not counted")
}

func TestDeployStatus_isAnsweredFromMemoryForAWhile(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	ask := func() models.Status {
		var status models.Status
		g.do("GET", "/deploy-status?id="+row.ID, nil, header{"Authorization": ""}).into(200, &status)
		return status
	}
	before := ask()
	require.NoError(t, g.store.RecordStatus(t.Context(), models.Status{
		DeploymentID: row.ID, Version: before.Version + 1, Status: models.StatusInProgress, Steps: models.NewSteps(), Timestamp: time.Now().UTC()}))
	require.Eventually(t, func() bool { return ask().Status == models.StatusInProgress }, patience, 20*time.Millisecond)
}
