package dispatcher_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// preparing notes what it is to start ahead.
type preparing struct {
	*workers
	mu       sync.Mutex
	prepared []string
}

func (p *preparing) Prepare(r edge.Release, _ bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepared = append(p.prepared, r.ID+" "+r.WorkerDigest)
}

func (p *preparing) has(prepared ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Equal(p.prepared, prepared)
}

func TestPrepare_startsTheReleasesThatAKnownRouteMovesTo(t *testing.T) {
	p := &preparing{workers: leasing(t, serveUnix(t, reflect))}
	w := newWorld(t, func(o *dispatcher.Options) { o.Workers = p })
	key := models.WorkerRouteKey("my-app")
	deploy := func(date string) models.Route {
		w.deployWorker("my-app", assets.Config{}, files{"/date.txt": date}, models.WorkerBundle{CompatibilityDate: date})
		return w.board.rows[key]
	}
	settled := func() {
		reads := w.board.reads.Load()
		eventually(t, func() bool {
			require.Equal(t, http.StatusOK, w.get("my-app.localhost", "/").status)
			return w.board.reads.Load() > reads
		})
	}
	deploy("2026-01-01")
	require.Equal(t, http.StatusOK, w.get("my-app.localhost", "/").status)
	require.True(t, p.has(), "a first request starts its worker itself")

	second := deploy("2026-01-02")
	settled()
	eventually(t, func() bool { return p.has(second.ReleaseID + " " + second.WorkerDigest) })

	canary := models.Route{ReleaseID: "rel-canary", ManifestDigest: second.ManifestDigest, WorkerDigest: second.WorkerDigest}
	w.weigh("my-app", canary, 1)
	settled()
	want := []string{second.ReleaseID + " " + second.WorkerDigest, "rel-canary " + canary.WorkerDigest}
	eventually(t, func() bool { return p.has(want...) })

	// More of the visitors, or all of them, start nothing again.
	w.weigh("my-app", canary, 50)
	settled()
	w.board.mu.Lock()
	row := w.board.rows[key]
	row.ReleaseID, row.CanaryReleaseID, row.CanaryManifestDigest, row.CanaryWorkerDigest, row.CanaryPercent = "rel-canary", "", "", "", 0
	row.Generation += 100
	w.board.rows[key] = row
	w.board.announce(key)
	w.board.mu.Unlock()
	settled()
	require.True(t, p.has(want...))
}

// counts adds up what it is told.
type counts struct {
	mu               sync.Mutex
	requests, errors map[string]int64
}

func (c *counts) AddReleaseCounts(_ context.Context, counts []models.ReleaseCount) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, count := range counts {
		c.requests[count.ReleaseID] += count.Requests
		c.errors[count.ReleaseID] += count.Errors
	}
	return nil
}

func TestRollout_aWorkerThatDoesNotStartIsAnError(t *testing.T) {
	counted := &counts{errors: map[string]int64{}, requests: map[string]int64{}}
	leased := leasing(t, serveUnix(t, reflect))
	w := newWorld(t, func(o *dispatcher.Options) { o.Workers, o.Counts = leased, counted })
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{CompatibilityDate: "2026-01-01"})
	row := w.board.rows[models.WorkerRouteKey("my-app")]
	w.weigh("my-app", models.Route{ReleaseID: "rel-canary", ManifestDigest: row.ManifestDigest, WorkerDigest: row.WorkerDigest}, 50)
	require.Equal(t, http.StatusOK, w.get("my-app.localhost", "/", "Cookie", "slipway_bucket=99").status)
	leased.setFail(models.Errorf(models.CodeWorkerStart, "It does not start."))
	require.Equal(t, http.StatusBadGateway, w.get("my-app.localhost", "/", "Cookie", "slipway_bucket=0").status)
	require.Equal(t, http.StatusBadGateway, w.get("localhost", "/dispatch/my-app/").status, "by path too")
	eventually(t, func() bool {
		counted.mu.Lock()
		defer counted.mu.Unlock()
		return counted.requests["rel-canary"]+counted.requests[row.ReleaseID] == 3 && counted.errors["rel-canary"]+counted.errors[row.ReleaseID] == 2
	})
}
