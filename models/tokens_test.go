package models_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestTokens_endByRevocationExpiryAndTheirProject(t *testing.T) {
	store, owner, conn := openDatabase(t)
	ctx := t.Context()
	project := newProject(t, store, owner, "shop")
	make := func(n models.NewToken) (models.Token, string) {
		n.OrganizationID, n.UserID, n.Name = owner.OrganizationID, owner.UserID, "test"
		row, secret, err := store.CreateToken(ctx, n)
		require.NoError(t, err)
		_, err = store.Authenticate(ctx, secret)
		require.NoError(t, err)
		return row, secret
	}
	in := models.TokenFilter{OrganizationID: owner.OrganizationID}

	revoked, revokedSecret := make(models.NewToken{Scope: models.ScopeRead})
	require.NoError(t, store.RevokeToken(ctx, revoked.ID, in))
	requireCode(t, models.CodeTokenNotFound, store.RevokeToken(ctx, revoked.ID, in))
	end := time.Now().Add(time.Hour)
	expired, expiredSecret := make(models.NewToken{Scope: models.ScopeRead, ExpiresAt: &end})
	_, err := conn.Exec(ctx, "UPDATE tokens SET expires_at = now() WHERE id = $1", expired.ID)
	require.NoError(t, err)
	limited, limitedSecret := make(models.NewToken{Scope: models.ScopeDeploy, ProjectID: project.ID})
	_, _ = make(models.NewToken{})

	_, err = store.Token(ctx, limited.ID, models.TokenFilter{OrganizationID: owner.OrganizationID, UserID: models.NewID(models.PrefixUser)})
	requireCode(t, models.CodeTokenNotFound, err)
	requireCode(t, models.CodeTokenNotFound, store.RevokeToken(ctx, limited.ID, models.TokenFilter{OrganizationID: models.NewID(models.PrefixOrganization)}))
	rows, err := store.Tokens(ctx, models.TokenFilter{OrganizationID: owner.OrganizationID, ProjectID: project.ID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, limited.ID, rows[0].ID)
	require.NotNil(t, rows[0].LastUsedAt)
	rows, err = store.Tokens(ctx, models.TokenFilter{OrganizationID: owner.OrganizationID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, rows, 3, "expired ones are listed, revoked ones are not")

	_, err = conn.Exec(ctx, "DELETE FROM projects WHERE id = $1", project.ID)
	require.NoError(t, err)
	for _, secret := range []string{revokedSecret, expiredSecret, limitedSecret} {
		_, err := store.Authenticate(ctx, secret)
		requireCode(t, models.CodeUnauthorized, err)
	}
}

func TestTokens_thatCountAreBounded(t *testing.T) {
	store, owner, conn := openDatabase(t)
	_, err := conn.Exec(t.Context(), `INSERT INTO tokens (id, hash, organization_id, user_id, name, expires_at)
		SELECT 'tok_' || n, n::text::bytea, $1, $2, '', CASE WHEN n = 1 THEN now() END FROM generate_series(1, $3) n`,
		owner.OrganizationID, owner.UserID, models.MaxTokens)
	require.NoError(t, err)
	for i, code := range []models.Code{"", models.CodeQuotaExceeded} {
		_, _, err := store.CreateToken(t.Context(), models.NewToken{OrganizationID: owner.OrganizationID, UserID: owner.UserID, Name: "one more"})
		if code == "" {
			require.NoError(t, err, i)
			continue
		}
		requireCode(t, code, err)
	}
}

// What is made while its maker is removed must not count again when they come back.
func TestCreateToken_whileItsMakerIsRemovedMakesNone(t *testing.T) {
	store, owner, conn := openDatabase(t)
	ctx := t.Context()
	user := join(t, store, owner.OrganizationID, models.RoleDeveloper)
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "DELETE FROM memberships WHERE organization_id = $1 AND user_id = $2", owner.OrganizationID, user.ID)
	require.NoError(t, err)
	made := make(chan error, 1)
	go func() {
		_, _, err := store.CreateToken(ctx, models.NewToken{OrganizationID: owner.OrganizationID, UserID: user.ID, Name: "late"})
		made <- err
	}()
	require.Eventually(t, func() bool {
		var waits int
		err := tx.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&waits)
		return err == nil && waits > 0
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, tx.Commit(ctx))
	requireCode(t, models.CodeOrganizationNotFound, <-made)
	rows, err := store.Tokens(ctx, models.TokenFilter{OrganizationID: owner.OrganizationID, UserID: user.ID, Limit: 10})
	require.NoError(t, err)
	require.Empty(t, rows)
}
