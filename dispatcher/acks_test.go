package dispatcher_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

// fleet is two dispatchers on one database, with a project that has releases.
type fleet struct {
	*testing.T
	store       *models.Store
	project     models.Project
	owner       models.Identity
	dispatchers []*dispatcher.Dispatcher
	releases    []models.Release
}

// newFleet makes them; the start page of release n is n.
func newFleet(t *testing.T, releases int) *fleet {
	t.Helper()
	return newFleetBehind(t, releases, func(url string) string { return url })
}

// newFleetBehind has its dispatchers reach the database at another URL.
func newFleetBehind(t *testing.T, releases int, behind func(url string) string) *fleet {
	t.Helper()
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	f := &fleet{T: t, store: store}
	f.owner, err = store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	f.project, err = store.CreateProject(t.Context(), f.owner.OrganizationID, "site", "site")
	require.NoError(t, err)
	blobs, err := fs.New(fs.Options{Root: t.TempDir()})
	require.NoError(t, err)
	w := &world{t: t, blobs: blobs, scope: f.owner.OrganizationID}
	for n := range releases {
		d, _, err := store.CreateDeployment(t.Context(), models.NewDeployment{Input: models.DeploymentInput{
			DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: f.project.ID, OrgID: f.owner.OrganizationID, UserID: f.owner.UserID}})
		require.NoError(t, err)
		r, err := store.WriteRelease(t.Context(), models.Release{
			ProjectID: f.project.ID, OrganizationID: f.owner.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence,
			ManifestDigest: w.release(assets.Config{}, files{"/index.html": fmt.Sprint(n)}),
		})
		require.NoError(t, err)
		require.NoError(t, store.MarkChecked(t.Context(), r.ID))
		f.releases = append(f.releases, r)
	}
	log := logrus.New()
	log.SetOutput(t.Output())
	theirs, err := models.OpenStore(models.StoreOptions{URL: behind(url)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = theirs.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range 2 {
		d, err := dispatcher.New(dispatcher.Options{Domain: "localhost", Routes: theirs, Invalidations: theirs, Presence: theirs, Counts: theirs, Blobs: blobs, Log: log})
		require.NoError(t, err)
		running.Go(func() { _ = d.Run(ctx) })
		f.dispatchers = append(f.dispatchers, d)
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	f.awaitPresence(url)
	return f
}

// awaitPresence waits until deployments would wait for the dispatchers. Until then
// a flip may be answered by the old release for a moment.
func (f *fleet) awaitPresence(url string) {
	f.Helper()
	conn, err := pgx.Connect(f.Context(), url)
	require.NoError(f, err)
	defer func() { _ = conn.Close(context.Background()) }()
	eventually(f.T, func() bool {
		present := 0
		err := conn.QueryRow(f.Context(), "SELECT count(*) FROM dispatchers").Scan(&present)
		return err == nil && present == len(f.dispatchers)
	})
}

// ask asks one dispatcher for the start page.
func (f *fleet) ask(d *dispatcher.Dispatcher, host string) string {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "/", nil)
	request.Host = host
	d.ServeHTTP(recorder, request)
	return recorder.Body.String()
}

func TestFlip_nobodyGetsAnOldAnswerOnceADeploymentIsThrough(t *testing.T) {
	const flips = 200
	f := newFleet(t, flips)
	// Known to both, so that there is something stale to serve.
	_, err := f.store.GoLive(t.Context(), f.releases[0])
	require.NoError(t, err)
	for _, d := range f.dispatchers {
		require.Equal(t, "0", f.ask(d, "site.localhost"))
	}
	for n := 1; n < flips; n++ {
		_, err := f.store.GoLive(t.Context(), f.releases[n])
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		require.NoError(t, f.store.AwaitRoutes(ctx, f.project.ID))
		cancel()
		var askers sync.WaitGroup
		for _, d := range f.dispatchers {
			askers.Go(func() {
				for range requestsPerFlip / 2 {
					if got := f.ask(d, "site.localhost"); got != fmt.Sprint(n) {
						t.Errorf("release %d is live, release %s answered", n, got)
						return
					}
				}
			})
		}
		askers.Wait()
		if t.Failed() {
			return
		}
	}
}

func TestPreview_everyReleaseKeepsItsOwnAddress(t *testing.T) {
	f := newFleet(t, 2)
	for n, r := range f.releases {
		_, err := f.store.GoLive(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), f.ask(f.dispatchers[0], models.PreviewName(r.ID, "site")+".localhost"))
	}
	require.Equal(t, "0", f.ask(f.dispatchers[0], models.PreviewName(f.releases[0].ID, "site")+".localhost"))
	require.Contains(t, f.ask(f.dispatchers[0], "aaaaaaaaaa--site.localhost"), "Worker not found")
}
