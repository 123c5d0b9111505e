package models_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

// newRollout is a project with one release live and another to roll out.
func newRollout(t *testing.T, store *models.Store, id models.Identity) (models.RolloutInput, models.Release, models.Release) {
	t.Helper()
	p := newProject(t, store, id, "site")
	live, next := checked(t, store, newDeployment(t, store, id, p)), checked(t, store, newDeployment(t, store, id, p))
	_, err := store.GoLive(t.Context(), live)
	require.NoError(t, err)
	in := models.RolloutInput{RolloutID: models.NewID(models.PrefixRollout), ProjectID: p.ID, OrgID: p.OrganizationID,
		ReleaseID: next.ID, BaseReleaseID: live.ID, Steps: []int{10, 100}, Every: time.Minute, MaxErrorRate: 0.05}
	_, err = store.CreateRollout(t.Context(), in, id.UserID)
	require.NoError(t, err)
	return in, live, next
}

func TestWeighRollout_setsTheCanaryAndAtLastGoesLive(t *testing.T) {
	store, id := openStore(t)
	in, live, next := newRollout(t, store, id)
	route := func() models.Route {
		r, err := store.Route(t.Context(), models.WorkerRouteKey("site"))
		require.NoError(t, err)
		return r
	}
	for range 2 {
		superseded, err := store.WeighRollout(t.Context(), in, 10)
		require.NoError(t, err)
		require.False(t, superseded)
		require.Equal(t, live.ID, route().ReleaseID)
		require.Equal(t, next.ID, route().CanaryReleaseID)
		require.Equal(t, next.ManifestDigest, route().CanaryManifestDigest)
		require.Equal(t, 10, route().CanaryPercent)
	}
	_, err := store.WeighRollout(t.Context(), in, 0)
	require.NoError(t, err)
	require.Zero(t, route().CanaryPercent)
	require.Empty(t, route().CanaryReleaseID)
	for range 2 {
		superseded, err := store.WeighRollout(t.Context(), in, 100)
		require.NoError(t, err)
		require.False(t, superseded)
		require.Equal(t, next.ID, route().ReleaseID)
		require.Empty(t, route().CanaryReleaseID)
	}
	require.NoError(t, store.EndRollout(t.Context(), in.RolloutID, models.RolloutCompleted, ""))
	require.NoError(t, store.EndRollout(t.Context(), in.RolloutID, models.RolloutCanceled, "late"))
	row, err := store.Rollout(t.Context(), in.ProjectID, in.RolloutID)
	require.NoError(t, err)
	require.Equal(t, models.RolloutCompleted, row.Status)
	require.Equal(t, 100, row.Percent)
}

func TestWeighRollout_changesNothingOnceSomethingElseIsLive(t *testing.T) {
	store, id := openStore(t)
	in, _, _ := newRollout(t, store, id)
	_, err := store.WeighRollout(t.Context(), in, 10)
	require.NoError(t, err)
	p, err := store.Project(t.Context(), in.OrgID, in.ProjectID)
	require.NoError(t, err)
	other := checked(t, store, newDeployment(t, store, id, p))
	live, err := store.GoLive(t.Context(), other)
	require.NoError(t, err)
	require.True(t, live)
	for _, percent := range []int{50, 100, 0} {
		superseded, err := store.WeighRollout(t.Context(), in, percent)
		require.NoError(t, err)
		require.True(t, superseded)
	}
	route, err := store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	require.Equal(t, other.ID, route.ReleaseID)
	require.Zero(t, route.CanaryPercent, "going live ends the canary")
}

func TestCreateRollout_aProjectHasOneAtATime(t *testing.T) {
	store, id := openStore(t)
	in, _, _ := newRollout(t, store, id)
	second := in
	second.RolloutID = models.NewID(models.PrefixRollout)
	_, err := store.CreateRollout(t.Context(), second, id.UserID)
	requireCode(t, models.CodeConflict, err)
	require.NoError(t, store.EndRollout(t.Context(), in.RolloutID, models.RolloutReverted, "worse"))
	_, err = store.CreateRollout(t.Context(), second, id.UserID)
	require.NoError(t, err)
	rows, err := store.Rollouts(t.Context(), in.ProjectID, models.Position{}, 10)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, second.RolloutID, rows[0].ID)
}

func TestMeasureRollout_addsUpWhatDispatchersCounted(t *testing.T) {
	store, id := openStore(t)
	in, live, next := newRollout(t, store, id)
	began := time.Now()
	for range 2 {
		require.NoError(t, store.AddReleaseCounts(t.Context(), []models.ReleaseCount{
			{ReleaseID: live.ID, Requests: 90, Errors: 1}, {ReleaseID: next.ID, Requests: 10, Errors: 4}, {ReleaseID: "rel_gone", Requests: 5}}))
	}
	m, err := store.MeasureRollout(t.Context(), in, began)
	require.NoError(t, err)
	require.Equal(t, models.RolloutMeasure{Requests: 20, Errors: 8, BaseRequests: 180, BaseErrors: 2}, m)
	m, err = store.MeasureRollout(t.Context(), in, began.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, models.RolloutMeasure{}, m)
}

func TestWeighRollout_changesNothingOnceTheRolloutHasEnded(t *testing.T) {
	store, id := openStore(t)
	in, live, _ := newRollout(t, store, id)
	require.NoError(t, store.EndRollout(t.Context(), in.RolloutID, models.RolloutCanceled, "Its workflow was ended from outside."))
	for _, percent := range []int{10, 100} {
		// An attempt of the workflow's that was late.
		superseded, err := store.WeighRollout(t.Context(), in, percent)
		require.NoError(t, err)
		require.True(t, superseded)
	}
	route, err := store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	require.Equal(t, live.ID, route.ReleaseID)
	require.Zero(t, route.CanaryPercent)
	row, err := store.Rollout(t.Context(), in.ProjectID, in.RolloutID)
	require.NoError(t, err)
	require.Zero(t, row.Percent)
}

func TestAddReleaseCounts_dispatchersDoNotBlockEachOther(t *testing.T) {
	// As PostgreSQL plans it when there are many releases.
	address, err := url.Parse(pgtest.URL(t))
	require.NoError(t, err)
	query := address.Query()
	for _, setting := range []string{"enable_hashjoin", "enable_mergejoin", "enable_seqscan"} {
		query.Set(setting, "off")
	}
	address.RawQuery = query.Encode()
	store, err := models.OpenStore(models.StoreOptions{URL: address.String()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.Migrate(t.Context()))
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	in, _, _ := newRollout(t, store, id)
	forth := []models.ReleaseCount{{ReleaseID: in.ReleaseID, Requests: 1}, {ReleaseID: in.BaseReleaseID, Requests: 1}}
	back := []models.ReleaseCount{forth[1], forth[0]}
	const each = 300
	var dispatchers errgroup.Group
	for _, counts := range [][]models.ReleaseCount{forth, back, forth, back} {
		dispatchers.Go(func() error {
			for range each {
				if err := store.AddReleaseCounts(t.Context(), counts); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, dispatchers.Wait())
	m, err := store.MeasureRollout(t.Context(), in, time.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.EqualValues(t, 4*each, m.Requests)
	require.EqualValues(t, 4*each, m.BaseRequests)
}

// A rollback to what was live already cleared the canary, and the next step of the
// rollout set it again.
func TestRollback_toWhatIsLiveEndsARollout(t *testing.T) {
	store, id := openStore(t)
	in, live, _ := newRollout(t, store, id)
	_, err := store.WeighRollout(t.Context(), in, 10)
	require.NoError(t, err)
	require.NoError(t, store.Rollback(t.Context(), live))
	superseded, err := store.WeighRollout(t.Context(), in, 100)
	require.NoError(t, err)
	require.True(t, superseded)
	route, err := store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	require.Equal(t, live.ID, route.ReleaseID)
	require.Zero(t, route.CanaryPercent)
}
