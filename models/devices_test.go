package models_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestDevice_getsItsTokenOnceItsPersonApproved(t *testing.T) {
	store, owner := openStore(t)
	ctx := t.Context()
	grant, secret, err := store.RequestDevice(ctx, "laptop", "203.0.113.7", models.ScopeDeploy)
	require.NoError(t, err)
	require.Regexp(t, `^[BCDFGHJKLMNPQRSTVWXZ]{8}$`, grant.UserCode)

	_, _, err = store.RedeemDevice(ctx, secret, time.Minute)
	requireCode(t, models.CodeAuthorizationPending, err)
	_, _, err = store.RedeemDevice(ctx, secret, time.Minute)
	requireCode(t, models.CodeSlowDown, err)
	_, _, err = store.RedeemDevice(ctx, secret, 0)
	requireCode(t, models.CodeAuthorizationPending, err)
	for _, wrong := range []string{"", grant.UserCode, secret + "x", secret[:len(secret)-1]} {
		_, _, err = store.RedeemDevice(ctx, wrong, 0)
		requireCode(t, models.CodeExpiredToken, err)
	}

	stranger := newUser(t, store, "stranger@example.com")
	requireCode(t, models.CodeOrganizationNotFound, store.ApproveDevice(ctx, grant.UserCode, stranger.ID, owner.OrganizationID, models.ScopeAdmin))
	requireCode(t, models.CodeNotFound, store.ApproveDevice(ctx, "BBBBBBBB", owner.UserID, owner.OrganizationID, models.ScopeRead))
	require.NoError(t, store.ApproveDevice(ctx, grant.UserCode, owner.UserID, owner.OrganizationID, models.ScopeRead))
	requireCode(t, models.CodeConflict, store.ApproveDevice(ctx, grant.UserCode, owner.UserID, owner.OrganizationID, models.ScopeAdmin))
	requireCode(t, models.CodeConflict, store.DenyDevice(ctx, grant.UserCode))

	var mu sync.Mutex
	var tokens []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, token, err := store.RedeemDevice(ctx, secret, time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				tokens = append(tokens, token)
			} else if models.CodeOf(err) != models.CodeExpiredToken {
				t.Errorf("redeem: %v", err)
			}
		})
	}
	wg.Wait()
	require.Len(t, tokens, 1, "a grant is used once")
	identity, err := store.Authenticate(ctx, tokens[0])
	require.NoError(t, err)
	require.Equal(t, owner.UserID, identity.UserID)
	require.Equal(t, models.ScopeRead, identity.Scope)
	rows, err := store.Tokens(ctx, models.TokenFilter{OrganizationID: owner.OrganizationID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, "slipway login laptop", rows[0].Name)
	require.WithinDuration(t, time.Now().Add(models.DeviceTokenTTL), *rows[0].ExpiresAt, time.Minute)
}

func TestDevice_thatIsRefusedOrLateGetsNothing(t *testing.T) {
	store, owner, conn := openDatabase(t)
	ctx := t.Context()
	refused, secret, err := store.RequestDevice(ctx, "", "", models.ScopeDeploy)
	require.NoError(t, err)
	require.NoError(t, store.DenyDevice(ctx, refused.UserCode))
	_, _, err = store.RedeemDevice(ctx, secret, 0)
	requireCode(t, models.CodeAccessDenied, err)
	_, _, err = store.RedeemDevice(ctx, secret, 0)
	requireCode(t, models.CodeExpiredToken, err)

	late, secret, err := store.RequestDevice(ctx, "", "", models.ScopeDeploy)
	require.NoError(t, err)
	require.NoError(t, store.ApproveDevice(ctx, late.UserCode, owner.UserID, owner.OrganizationID, models.ScopeRead))
	_, err = conn.Exec(ctx, "UPDATE device_grants SET expires_at = now()")
	require.NoError(t, err)
	_, _, err = store.RedeemDevice(ctx, secret, 0)
	requireCode(t, models.CodeExpiredToken, err)
	_, err = store.DeviceByCode(ctx, late.UserCode)
	requireCode(t, models.CodeNotFound, err)
	requireCode(t, models.CodeNotFound, store.DenyDevice(ctx, late.UserCode))

	_, _, err = store.RequestDevice(ctx, "", "", models.ScopeDeploy)
	require.NoError(t, err)
	var left int
	require.NoError(t, conn.QueryRow(ctx, "SELECT count(*) FROM device_grants").Scan(&left))
	require.Equal(t, 1, left, "those that ended are removed along the way")

	// Who was removed between the approval and the question gets no token.
	admin := join(t, store, owner.OrganizationID, models.RoleAdmin)
	gone, secret, err := store.RequestDevice(ctx, "", "", models.ScopeDeploy)
	require.NoError(t, err)
	require.NoError(t, store.ApproveDevice(ctx, gone.UserCode, admin.ID, owner.OrganizationID, models.ScopeAdmin))
	require.NoError(t, store.RemoveMember(ctx, owner.OrganizationID, owner.UserID, admin.ID))
	_, _, err = store.RedeemDevice(ctx, secret, 0)
	requireCode(t, models.CodeExpiredToken, err)
}

func FuzzFoldUserCode(f *testing.F) {
	for _, seed := range []string{"BCDF-GHJK", "bcdfghjk", " b c d f g h j k ", "BCDF-GHJY", "ﬀﬀﬀﬀ", "ſſſſſſſſ", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := models.FoldUserCode(typed)
		if !ok {
			return
		}
		again, ok := models.FoldUserCode(models.ShowUserCode(code))
		if !ok || again != code || strings.Trim(code, "BCDFGHJKLMNPQRSTVWXZ") != "" || len(code) != 8 {
			t.Fatalf("%q became %q and then %q", typed, code, again)
		}
	})
}

// A viewer's token would do more as soon as they got another role.
func TestApproveDevice_givesAViewerNoMoreThanReading(t *testing.T) {
	store, owner := openStore(t)
	ctx := t.Context()
	viewer := join(t, store, owner.OrganizationID, models.RoleViewer)
	row, _, err := store.RequestDevice(ctx, "", "", models.ScopeAdmin)
	require.NoError(t, err)
	for _, scope := range []models.Scope{models.ScopeAdmin, models.ScopeDeploy} {
		requireCode(t, models.CodeForbidden, store.ApproveDevice(ctx, row.UserCode, viewer.ID, owner.OrganizationID, scope))
	}
	require.NoError(t, store.ApproveDevice(ctx, row.UserCode, viewer.ID, owner.OrganizationID, models.ScopeRead))
}
