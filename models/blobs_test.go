package models_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

func newBlobs(t *testing.T) (*models.Store, string) {
	t.Helper()
	store, err := models.OpenStore(models.StoreOptions{URL: modelstest.URL(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	return store, id.OrganizationID
}

func digestsOf(n int) []string {
	digests := make([]string, n)
	for i := range digests {
		sum := sha256.Sum256(fmt.Append(nil, i))
		digests[i] = hex.EncodeToString(sum[:])
	}
	return digests
}

// A column that names objects and that nobody reads here would have them deleted.
func TestBlobRoots_readEveryColumnThatNamesAnObject(t *testing.T) {
	url := modelstest.URL(t)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	rows, err := conn.Query(t.Context(), `SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND (column_name LIKE '%digest%' OR column_name LIKE '%blob%' OR column_name LIKE '%sha256%') ORDER BY 1`)
	require.NoError(t, err)
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{
		"build_cache.output_digest", "condemned_blobs.digest",
		"deployments.log_digest", "deployments.output_digest", "deployments.request_digest", "deployments.source_digest",
		"projects.source_digest", "releases.manifest_digest", "releases.output_digest", "releases.source_digest", "releases.worker_digest",
		"routes.canary_manifest_digest", "routes.canary_worker_digest", "routes.manifest_digest", "routes.worker_digest",
	}, columns, "blobRoots has to read what is new")
}

const allDigests = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

func TestBlobs_whatIsHeldIsNoLongerClaimed(t *testing.T) {
	store, org := newBlobs(t)
	ctx := t.Context()
	digests := digestsOf(3)
	require.NoError(t, store.CondemnBlobs(ctx, org, digests))
	require.NoError(t, store.HoldBlobs(ctx, org, digests[:1]))
	require.NoError(t, store.HoldBlobs(ctx, "org_other", digests))

	claim, err := store.ClaimBlobs(ctx, org, digests, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Empty(t, claim.Digests, "condemned too late")
	claim, err = store.ClaimBlobs(ctx, org, digests, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.ElementsMatch(t, digests[1:], claim.Digests)
	again, err := store.ClaimBlobs(ctx, org, digests, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Empty(t, again.Digests, "one deletes each")
	require.NoError(t, store.SpareBlobs(ctx, org, digests))
	listed, err := store.CondemnedBlobs(ctx, org, "", allDigests)
	require.NoError(t, err)
	require.Len(t, listed, 2, "what is being deleted stays on the list")

	limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, store.HoldBlobs(limited, org, digests), context.DeadlineExceeded)
	require.NoError(t, store.SettleBlobs(ctx, org, claim, claim.Digests))
	require.NoError(t, store.HoldBlobs(ctx, org, digests))
}

// A claim that was settled late, after its time, must not end another's.
func TestBlobs_aLateSettlementIsNotAnothers(t *testing.T) {
	store, org := newBlobs(t)
	ctx := t.Context()
	digests := digestsOf(1)
	later := time.Now().Add(time.Hour)
	require.NoError(t, store.CondemnBlobs(ctx, org, digests))
	first, err := store.ClaimBlobs(ctx, org, digests, later)
	require.NoError(t, err)
	require.NoError(t, store.SettleBlobs(ctx, org, first, digests))
	require.NoError(t, store.CondemnBlobs(ctx, org, digests))
	second, err := store.ClaimBlobs(ctx, org, digests, later)
	require.NoError(t, err)
	require.Equal(t, digests, second.Digests)
	require.NoError(t, store.SettleBlobs(ctx, org, first, digests))
	listed, err := store.CondemnedBlobs(ctx, org, "", allDigests)
	require.NoError(t, err)
	require.Len(t, listed, 1)
}

func TestHoldBlobs_takesManyAtOnce(t *testing.T) {
	store, org := newBlobs(t)
	digests := digestsOf(20_500)
	require.NoError(t, store.CondemnBlobs(t.Context(), org, digests[:5000]))
	require.NoError(t, store.HoldBlobs(t.Context(), org, digests))
	listed, err := store.CondemnedBlobs(t.Context(), org, "", allDigests)
	require.NoError(t, err)
	require.Empty(t, listed)
	require.NoError(t, store.HoldBlobs(t.Context(), org, nil))
	requireCode(t, models.CodeValidation, store.HoldBlobs(t.Context(), org, []string{"not hexadecimal"}))
}

func TestLeaseCollection_givesEachOrganizationToOne(t *testing.T) {
	store, org := newBlobs(t)
	ctx := t.Context()
	leased, ok, err := store.LeaseCollection(ctx, time.Hour, time.Minute)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, org, leased)
	_, ok, err = store.LeaseCollection(ctx, time.Hour, time.Minute)
	require.NoError(t, err)
	require.False(t, ok, "it is another's")
	require.NoError(t, store.ExtendCollection(ctx, org, -time.Minute))
	_, ok, err = store.LeaseCollection(ctx, time.Hour, time.Minute)
	require.NoError(t, err)
	require.True(t, ok, "whoever had it died")
	require.NoError(t, store.EndCollection(ctx, org))
	_, ok, err = store.LeaseCollection(ctx, time.Hour, time.Minute)
	require.NoError(t, err)
	require.False(t, ok, "it is not due")
	require.NoError(t, store.ForgetCollection(ctx, org))
	_, ok, err = store.LeaseCollection(ctx, 0, time.Minute)
	require.NoError(t, err)
	require.True(t, ok, "an organization that is there is never forgotten")
}
