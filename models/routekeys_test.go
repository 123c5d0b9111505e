package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestRouteKeys_areThoseOfRoutesAndOfWorkersThatMayHavePreviews(t *testing.T) {
	store, id := openStore(t)
	live := newProject(t, store, id, "live")
	newProject(t, store, id, "not-yet")
	_, err := store.GoLive(t.Context(), checked(t, store, newDeployment(t, store, id, live)))
	require.NoError(t, err)
	keys := make(map[string]bool)
	require.NoError(t, store.RouteKeys(t.Context(), func(key string) { keys[key] = true }))
	require.Equal(t, map[string]bool{models.WorkerRouteKey("live"): true, models.WorkerRouteKey("not-yet"): true}, keys)
}
