package models_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

// TestOrphans_whatIsDeletedAtThatMomentIsNotFound deletes something between the look at
// it and the row that refers to it, which is not the database's failure.
func TestOrphans_whatIsDeletedAtThatMomentIsNotFound(t *testing.T) {
	url := pgtest.URL(t)
	ctx := t.Context()
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.Migrate(ctx))
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	hookOf := func(owner models.Identity, project *string) models.Webhook {
		return models.Webhook{
			ID: models.NewID(models.PrefixWebhook), OrganizationID: owner.OrganizationID, ProjectID: project,
			Format: models.WebhookStandard, Events: []string{"deployment.*"}, Sealed: []byte("x"),
		}
	}
	whileDeleted := func(t *testing.T, statement, id string, refer func() error) error {
		tx, err := conn.Begin(ctx)
		require.NoError(t, err)
		_, err = tx.Exec(ctx, statement, id)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- refer() }()
		require.Eventually(t, func() bool {
			var waits int
			err := tx.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&waits)
			return err == nil && waits > 0
		}, time.Minute, 20*time.Millisecond)
		require.NoError(t, tx.Commit(ctx))
		return <-done
	}

	t.Run("of a webhook, a ping", func(t *testing.T) {
		owner, err := store.EnsureOwner(ctx, "Staying", "ping@example.com")
		require.NoError(t, err)
		hook, err := store.CreateWebhook(ctx, hookOf(owner, nil))
		require.NoError(t, err)
		requireCode(t, models.CodeWebhookNotFound, whileDeleted(t, "DELETE FROM webhooks WHERE id = $1", hook.ID, func() error {
			_, err := store.CreatePing(ctx, hook)
			return err
		}))
	})
	for name, refer := range map[string]func(models.Identity, string) error{
		"a token": func(owner models.Identity, project string) error {
			_, _, err := store.CreateToken(ctx, models.NewToken{OrganizationID: owner.OrganizationID, UserID: owner.UserID, Name: "late", ProjectID: project})
			return err
		},
		"a webhook": func(owner models.Identity, project string) error {
			_, err := store.CreateWebhook(ctx, hookOf(owner, &project))
			return err
		},
	} {
		t.Run("of a project, "+name, func(t *testing.T) {
			owner, err := store.EnsureOwner(ctx, "Staying", strings.ReplaceAll(name, " ", "-")+"@example.com")
			require.NoError(t, err)
			project, err := store.CreateProject(ctx, owner.OrganizationID, "Going", strings.ReplaceAll(name, " ", "-"))
			require.NoError(t, err)
			requireCode(t, models.CodeProjectNotFound, whileDeleted(t, "DELETE FROM projects WHERE id = $1", project.ID, func() error { return refer(owner, project.ID) }))
		})
	}
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
			_, err := store.CreateWebhook(ctx, hookOf(owner, nil))
			return err
		},
	} {
		t.Run("of an organization, a "+name, func(t *testing.T) {
			owner, err := store.EnsureOwner(ctx, "Going", name+"@example.com")
			require.NoError(t, err)
			gone := whileDeleted(t, "DELETE FROM organizations WHERE id = $1", owner.OrganizationID, func() error { return refer(owner) })
			requireCode(t, models.CodeOrganizationNotFound, gone)
		})
	}
}
