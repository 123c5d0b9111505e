package models_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

// TestOrphans_anOrganizationDeletedAtThatMomentIsNotFound deletes an organization between
// the look at it and the row that refers to it, which is not the database's failure.
func TestOrphans_anOrganizationDeletedAtThatMomentIsNotFound(t *testing.T) {
	url := pgtest.URL(t)
	ctx := t.Context()
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.Migrate(ctx))
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	for name, refer := range map[string]func(models.Identity) error{
		"device": func(owner models.Identity) error {
			grant, _, err := store.RequestDevice(ctx, "laptop", "", models.ScopeDeploy)
			require.NoError(t, err)
			return store.ApproveDevice(ctx, grant.UserCode, owner.UserID, owner.OrganizationID, models.ScopeRead)
		},
		"token": func(owner models.Identity) error {
			_, _, err := store.CreateToken(ctx, models.NewToken{OrganizationID: owner.OrganizationID, UserID: owner.UserID, Name: "late"})
			return err
		},
		"webhook": func(owner models.Identity) error {
			_, err := store.CreateWebhook(ctx, models.Webhook{ID: models.NewID(models.PrefixWebhook), OrganizationID: owner.OrganizationID, Format: models.WebhookStandard, Events: []string{"deployment.*"}, Sealed: []byte("x")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			owner, err := store.EnsureOwner(ctx, "Going", name+"@example.com")
			require.NoError(t, err)
			tx, err := conn.Begin(ctx)
			require.NoError(t, err)
			_, err = tx.Exec(ctx, "DELETE FROM organizations WHERE id = $1", owner.OrganizationID)
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() { done <- refer(owner) }()
			require.Eventually(t, func() bool {
				var waits int
				err := tx.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&waits)
				return err == nil && waits > 0
			}, 20*time.Second, 20*time.Millisecond)
			require.NoError(t, tx.Commit(ctx))
			requireCode(t, models.CodeOrganizationNotFound, <-done)
		})
	}
}
