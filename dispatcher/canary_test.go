package dispatcher_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// weigh gives a second release a share of a worker's visitors.
func (w *world) weigh(worker string, canary models.Route, percent int) {
	w.t.Helper()
	key := models.WorkerRouteKey(worker)
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	row := w.board.rows[key]
	w.board.next++
	row.ProjectID, row.Generation = "prj", w.board.next
	row.CanaryReleaseID, row.CanaryManifestDigest, row.CanaryWorkerDigest, row.CanaryPercent = canary.ReleaseID, canary.ManifestDigest, canary.WorkerDigest, percent
	w.board.rows[key] = row
	w.board.announce(key)
}

// rollOut is a world with a site of which a canary has a share.
func rollOut(t *testing.T, percent int) *world {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "old", "/_headers": "/*\n  Cache-Control: public, max-age=600, s-maxage=900\n  CDN-Cache-Control: max-age=900\n"})
	canary := models.Route{ReleaseID: "rel-canary", ManifestDigest: w.release(assets.Config{}, files{"/index.html": "new"})}
	w.weigh("my-app", canary, percent)
	eventually(t, func() bool { return len(w.get("my-app.localhost", "/").header["Set-Cookie"]) > 0 })
	return w
}

func TestCanary_aVisitorStaysWithItsRelease(t *testing.T) {
	w := rollOut(t, 10)
	for bucket, want := range map[string]string{"0": "new", "9": "new", "10": "old", "99": "old"} {
		for range 3 {
			a := w.get("my-app.localhost", "/", "Cookie", "a=b; slipway_bucket="+bucket+"; c=d")
			require.Equal(t, want, a.body, bucket)
			require.Empty(t, a.header["Set-Cookie"], "it is not set again")
		}
	}
	for _, bad := range []string{"", "100", "-1", "+1", "1x", "0x1", "٣"} {
		require.Len(t, w.get("my-app.localhost", "/", "Cookie", "slipway_bucket="+bad).header["Set-Cookie"], 1, bad)
	}
	first := w.get("my-app.localhost", "/")
	require.Regexp(t, `^slipway_bucket=\d{1,2}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax$`, first.header.Get("Set-Cookie"))
	require.Equal(t, first.header.Get("Set-Cookie"), w.get("my-app.localhost", "/").header.Get("Set-Cookie"), "one address is in one bucket")
	cookie, _, _ := strings.Cut(first.header.Get("Set-Cookie"), ";")
	require.Equal(t, first.body, w.get("my-app.localhost", "/", "Cookie", cookie).body)

	// Nobody's cookie is set on our own host, whose cookies are not the tenants'.
	byPath := w.get("localhost", "/dispatch/my-app/", "Cookie", "slipway_bucket=0")
	require.Equal(t, first.body, byPath.body)
	require.Empty(t, byPath.header["Set-Cookie"])
}

func TestCanary_noSharedCacheMixesTheReleasesUp(t *testing.T) {
	w := rollOut(t, 50)
	for _, cookie := range []string{"slipway_bucket=99", "slipway_bucket=0", "none=0"} {
		a := w.get("my-app.localhost", "/", "Cookie", cookie)
		require.Contains(t, a.header.Get("Cache-Control"), "private", cookie)
		require.NotRegexp(t, `public|s-maxage`, a.header.Get("Cache-Control"), cookie)
		require.Empty(t, a.header["Cdn-Cache-Control"], cookie)
	}
	require.Equal(t, "private, max-age=600", w.get("my-app.localhost", "/", "Cookie", "slipway_bucket=99").header.Get("Cache-Control"))
	missing := w.get("my-app.localhost", "/missing", "Cookie", "slipway_bucket=0", "Accept", "text/html")
	require.Equal(t, 404, missing.status)
	require.Contains(t, missing.header.Get("Cache-Control"), "private")

	// When it is over, answers are what they were, by the fast path too.
	w.weigh("my-app", models.Route{}, 0)
	eventually(t, func() bool { return w.get("my-app.localhost", "/").header["Set-Cookie"] == nil })
	request := "GET / HTTP/1.1\r\nHost: my-app.localhost\r\nCookie: slipway_bucket=0\r\n\r\n"
	a := w.raw(request, "GET")
	require.Equal(t, "old", a.body)
	require.Equal(t, "public, max-age=600, s-maxage=900", a.header.Get("Cache-Control"))
}

// visit asks as a client without cookies at an address.
func visit(d *dispatcher.Dispatcher, host, address string, cookies ...string) answer {
	request := httptest.NewRequest("GET", "/", nil)
	request.Host, request.RemoteAddr = host, address+":4000"
	request.Header["Cookie"] = cookies
	return recorded(d, request)
}

func TestCanary_raisingTheShareOnlyAddsVisitors(t *testing.T) {
	const visitors = 10_000
	w := rollOut(t, 1)
	canary := models.Route{ReleaseID: "rel-canary", ManifestDigest: w.board.rows[models.WorkerRouteKey("my-app")].CanaryManifestDigest}
	had := map[int]bool{}
	for _, percent := range []int{1, 10, 50, 99} {
		w.weigh("my-app", canary, percent)
		eventually(t, func() bool {
			return visit(w.d, "my-app.localhost", "::1", fmt.Sprint("slipway_bucket=", percent-1)).body == "new"
		})
		count := 0
		for n := range visitors {
			address := fmt.Sprintf("10.1.%d.%d", n/256, n%256)
			if n%2 == 1 {
				address = fmt.Sprintf("[2001:db8:%x::1]", n)
			}
			isNew := visit(w.d, "my-app.localhost", address).body == "new"
			require.False(t, had[n] && !isNew, "a visitor went back")
			if had[n] = isNew; isNew {
				count++
			}
		}
		share := float64(percent) / 100
		// Within five standard deviations; it is the same in every run.
		require.InDelta(t, share*visitors, count, 5*math.Sqrt(visitors*share*(1-share)), "%d %%", percent)
		t.Logf("%d %%: %d of %d visitors", percent, count, visitors)
	}
}

func TestCanary_workersNeverSeeTheCookie(t *testing.T) {
	w, leased := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "own=1")
		reflect(w, r)
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{CompatibilityDate: "2026-01-01"})
	for cookie, want := range map[string][]string{
		"slipway_bucket=7": nil, "a=b; slipway_bucket=7": {"a=b"}, "slipway_bucket=7; a=b": {"a=b"}, "a=b;slipway_bucket=7;c=d": {"a=b;c=d"}, "a=b": {"a=b"},
	} {
		require.Equal(t, want, w.get("my-app.localhost", "/", "Cookie", cookie).seen(t).Header["Cookie"], cookie)
	}
	row := w.board.rows[models.WorkerRouteKey("my-app")]
	w.weigh("my-app", models.Route{ReleaseID: "rel-canary", ManifestDigest: row.ManifestDigest, WorkerDigest: row.WorkerDigest}, 30)
	eventually(t, func() bool { return len(w.get("my-app.localhost", "/").header["Set-Cookie"]) == 2 })
	require.Equal(t, "own=1", w.get("my-app.localhost", "/").header["Set-Cookie"][0])
	require.Equal(t, []string{"a=b"}, w.get("my-app.localhost", "/", "Cookie", "a=b; slipway_bucket=29").seen(t).Header["Cookie"])
	require.Equal(t, "rel-canary", leased.last.ID)
	w.get("my-app.localhost", "/", "Cookie", "slipway_bucket=30")
	require.Equal(t, row.ReleaseID, leased.last.ID)
}

func TestRollout_isMeasuredAndWeighedByEveryDispatcher(t *testing.T) {
	f := newFleet(t, 2)
	_, err := f.store.GoLive(t.Context(), f.releases[0])
	require.NoError(t, err)
	in := models.RolloutInput{
		RolloutID: models.NewID(models.PrefixRollout), ProjectID: f.project.ID, OrgID: f.owner.OrganizationID,
		ReleaseID: f.releases[1].ID, BaseReleaseID: f.releases[0].ID, Steps: []int{1, 10, 100}, MaxErrorRate: 0.05,
	}
	_, err = f.store.CreateRollout(t.Context(), in, f.owner.UserID)
	require.NoError(t, err)
	began := time.Now()
	const visitors = 2000
	asked := 0
	for _, percent := range in.Steps {
		superseded, err := f.store.WeighRollout(t.Context(), in, percent)
		require.NoError(t, err)
		require.False(t, superseded)
		require.NoError(t, f.store.AwaitRoutes(t.Context(), f.project.ID))
		count := 0
		for n := range visitors {
			address := fmt.Sprintf("192.0.%d.%d", n/256, n%256)
			one := visit(f.dispatchers[0], "site.localhost", address)
			require.Equal(t, one.body, visit(f.dispatchers[1], "site.localhost", address).body, "dispatchers agree")
			if one.body == "1" {
				count++
			}
		}
		share := float64(percent) / 100
		// The project's id, by which they are chosen, is another in each run: seven
		// standard deviations are one run in many millions.
		require.InDelta(t, share*visitors, count, 7*math.Sqrt(visitors*share*(1-share))+0.5)
		if percent < 100 {
			asked += 2 * visitors
		}
	}
	var m models.RolloutMeasure
	eventually(t, func() bool {
		m, err = f.store.MeasureRollout(t.Context(), in, began)
		require.NoError(t, err)
		return m.Requests+m.BaseRequests >= int64(asked)
	})
	require.Equal(t, int64(asked), m.Requests+m.BaseRequests, "each request of the rollout is counted once, none after it")
	require.Zero(t, m.Errors+m.BaseErrors)
	require.Greater(t, m.Requests, int64(10))
}

func TestRollout_aReleaseThatFailsIsMeasuredAsWorse(t *testing.T) {
	f := newFleet(t, 1)
	_, err := f.store.GoLive(t.Context(), f.releases[0])
	require.NoError(t, err)
	d, _, err := f.store.CreateDeployment(t.Context(), models.NewDeployment{Input: models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: f.project.ID, OrgID: f.owner.OrganizationID, UserID: f.owner.UserID}})
	require.NoError(t, err)
	broken, err := f.store.WriteRelease(t.Context(), models.Release{
		ProjectID: f.project.ID, OrganizationID: f.owner.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence,
		ManifestDigest: strings.Repeat("0", 64),
	})
	require.NoError(t, err)
	require.NoError(t, f.store.MarkChecked(t.Context(), broken.ID))
	in := models.RolloutInput{
		RolloutID: models.NewID(models.PrefixRollout), ProjectID: f.project.ID, OrgID: f.owner.OrganizationID,
		ReleaseID: broken.ID, BaseReleaseID: f.releases[0].ID, Steps: []int{50, 100}, MaxErrorRate: 0.05,
	}
	_, err = f.store.CreateRollout(t.Context(), in, f.owner.UserID)
	require.NoError(t, err)
	began := time.Now()
	_, err = f.store.WeighRollout(t.Context(), in, 50)
	require.NoError(t, err)
	require.NoError(t, f.store.AwaitRoutes(t.Context(), f.project.ID))
	failed := int64(0)
	for n := range 100 {
		a := visit(f.dispatchers[n%2], "site.localhost", "192.0.2.1", fmt.Sprint("slipway_bucket=", n))
		if a.status == 500 {
			failed++
		} else {
			require.Equal(t, "0", a.body)
		}
	}
	require.Equal(t, int64(50), failed)
	var m models.RolloutMeasure
	eventually(t, func() bool {
		m, err = f.store.MeasureRollout(t.Context(), in, began)
		require.NoError(t, err)
		return m.Requests+m.BaseRequests == 100
	})
	require.Equal(t, models.RolloutMeasure{Requests: 50, Errors: 50, BaseRequests: 50}, m)
	reason, worse := m.Worse(in.MaxErrorRate)
	require.True(t, worse, reason)

	// Taking the weight away gives everybody the live release again.
	_, err = f.store.WeighRollout(t.Context(), in, 0)
	require.NoError(t, err)
	require.NoError(t, f.store.AwaitRoutes(t.Context(), f.project.ID))
	for n := range 100 {
		require.Equal(t, "0", visit(f.dispatchers[n%2], "site.localhost", "192.0.2.1", fmt.Sprint("slipway_bucket=", n)).body)
	}
}
