package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

func TestCollect_countsAndCondemnsWhatIsUnreferred(t *testing.T) {
	url, data := pgtest.URL(t), t.TempDir()
	t.Setenv("POSTGRES_URL", url)
	t.Setenv("SLIPWAY_DATA_DIR", data)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	defer store.Close()
	require.NoError(t, store.Migrate(t.Context()))
	owner, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	blobs, err := blobfs.New(blobfs.Options{Root: filepath.Join(data, "blobs")})
	require.NoError(t, err)
	_, err = blob.PutBytes(t.Context(), blobs, owner.OrganizationID, []byte("new"))
	require.NoError(t, err)

	run := func(args ...string) (string, error) { return runCommand(t, collectCommand(), args...) }
	for _, args := range [][]string{{"--dry-run", owner.OrganizationID}, {owner.OrganizationID}} {
		said, err := run(args...)
		require.NoError(t, err)
		require.Regexp(t, owner.OrganizationID+` +1 +3 +0 +0 +0 +0 +0 +0`, said, "it is too new")
	}
	_, err = run("org_none")
	require.Equal(t, models.CodeOrganizationNotFound, models.CodeOf(err))
}
