package models_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

// checked is a release that may go live.
func checked(t *testing.T, store *models.Store, d models.Deployment) models.Release {
	t.Helper()
	r := release(t, store, d)
	require.NoError(t, store.MarkChecked(t.Context(), r.ID))
	return r
}

// impatient ends a context at the second statement that looks for dispatchers which
// are behind.
type impatient struct {
	looks int
	leave context.CancelFunc
}

// TraceQueryStart is pgx.QueryTracer.
func (i *impatient) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, "CROSS JOIN dispatchers") {
		if i.looks++; i.looks == 2 {
			i.leave()
		}
	}
	return ctx
}

// TraceQueryEnd is pgx.QueryTracer.
func (i *impatient) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestAwaitRoutes_waitsForEveryLiveDispatcher(t *testing.T) {
	who := &impatient{}
	store, err := models.OpenStore(models.StoreOptions{URL: modelstest.URL(t), Tracer: who})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	p := newProject(t, store, id, "site")
	_, err = store.GoLive(t.Context(), checked(t, store, newDeployment(t, store, id, p)))
	require.NoError(t, err)
	route, err := store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	// late is what somebody is told who leaves while it is looked again.
	late := func() string {
		t.Helper()
		require.NoError(t, store.BeatDispatcher(t.Context(), "dsp_a", "a.example"))
		require.NoError(t, store.BeatDispatcher(t.Context(), "dsp_b", "b.example"))
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		who.looks, who.leave = 0, leave
		err := store.AwaitRoutes(ctx, p.ID)
		requireCode(t, models.CodeDispatcher, err)
		return models.MessageOf(err)
	}
	require.Contains(t, late(), ".example")
	ack := []models.RouteAck{{Key: route.Key, Generation: route.Generation}}
	require.NoError(t, store.AckRoutes(t.Context(), "dsp_a", ack))
	require.Contains(t, late(), "b.example")
	require.NoError(t, store.AckRoutes(t.Context(), "dsp_b", append(ack, models.RouteAck{Key: "w:other", Generation: 9})))
	require.NoError(t, store.AwaitRoutes(t.Context(), p.ID))

	// An older ack that arrives late takes nothing back, and one of a stranger is dropped.
	ack[0].Generation--
	require.NoError(t, store.AckRoutes(t.Context(), "dsp_b", ack))
	require.NoError(t, store.AckRoutes(t.Context(), "dsp_gone", ack))
	require.NoError(t, store.AwaitRoutes(t.Context(), p.ID))
}

func TestAwaitRoutes_waitsForNobodyWhoHasGone(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	require.NoError(t, store.BeatDispatcher(t.Context(), "dsp_a", "a.example"))
	_, err := store.GoLive(t.Context(), checked(t, store, newDeployment(t, store, id, p)))
	require.NoError(t, err)
	require.NoError(t, store.RemoveDispatcher(t.Context(), "dsp_a"))
	require.NoError(t, store.AwaitRoutes(t.Context(), p.ID))
}

func TestAwaitRoutes_announcesAgainToThoseWhoMissedIt(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	require.NoError(t, store.BeatDispatcher(t.Context(), "dsp_a", "a.example"))
	_, err := store.GoLive(t.Context(), checked(t, store, newDeployment(t, store, id, p)))
	require.NoError(t, err)
	// It begins to listen only now.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- store.Listen(ctx, models.RoutesChannel, func() {}, func(payload string) {
			key, generation := models.ParseRouteChange(payload)
			_ = store.AckRoutes(ctx, "dsp_a", []models.RouteAck{{Key: key, Generation: generation}})
		})
	}()
	require.NoError(t, store.AwaitRoutes(t.Context(), p.ID))
	cancel()
	<-ended
}

func TestRoute_aReleaseHasAnAddressOfItsOwn(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	first := checked(t, store, newDeployment(t, store, id, p))
	second := checked(t, store, newDeployment(t, store, id, p))
	unchecked := release(t, store, newDeployment(t, store, id, p))
	for _, r := range []models.Release{first, second} {
		_, err := store.GoLive(t.Context(), r)
		require.NoError(t, err)
	}
	name := models.PreviewName(first.ID, "site")
	require.LessOrEqual(t, len(name), models.MaxWorkerNameLength-models.MaxNewWorkerNameLength+len("site"))
	route, err := store.Route(t.Context(), models.WorkerRouteKey(name))
	require.NoError(t, err)
	require.Equal(t, first.ID, route.ReleaseID)
	require.Equal(t, first.ManifestDigest, route.ManifestDigest)
	require.True(t, route.Preview)
	for _, absent := range []string{
		models.PreviewName(unchecked.ID, "site"), models.PreviewName(first.ID, "other"), "--site", "rel--site",
		"%%%%%%%%%%--site", "__________--site", models.ShortReleaseID(first.ID) + "--",
	} {
		_, err := store.Route(t.Context(), models.WorkerRouteKey(absent))
		requireCode(t, models.CodeNotFound, err)
	}
}

func TestRoute_anExactNameWinsOverAPreview(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	first := checked(t, store, newDeployment(t, store, id, p))
	taken := models.PreviewName(first.ID, "site")
	// Such a name was possible before they were reserved for previews.
	older := newProject(t, store, id, taken)
	own := checked(t, store, newDeployment(t, store, id, older))
	_, err := store.GoLive(t.Context(), own)
	require.NoError(t, err)
	route, err := store.Route(t.Context(), models.WorkerRouteKey(taken))
	require.NoError(t, err)
	require.Equal(t, own.ID, route.ReleaseID)
}
