package models_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func newPerson(t *testing.T, store *models.Store, email string) models.User {
	t.Helper()
	user, err := store.CreateUser(t.Context(), models.NewUser{Email: email, Name: "Ada", ProviderID: models.ProviderCredential, PasswordHash: "hash", OrganizationName: "Ada"})
	require.NoError(t, err)
	return user
}

func TestCreateUser_makesAllOrNothing(t *testing.T) {
	store, _ := openStore(t)
	ctx := t.Context()
	user := newPerson(t, store, "ada@example.com")
	_, hash, found, err := store.UserByEmail(ctx, "ADA@example.com")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "hash", hash)

	_, err = store.CreateUser(ctx, models.NewUser{Email: "Ada@Example.com", ProviderID: models.ProviderGitHub, AccountID: "1", OrganizationName: "Other"})
	requireCode(t, models.CodeConflict, err)
	require.NoError(t, store.LinkAccount(ctx, user.ID, models.ProviderGitHub, "1"))
	_, err = store.CreateUser(ctx, models.NewUser{Email: "eve@example.com", ProviderID: models.ProviderGitHub, AccountID: "1", OrganizationName: "Eve"})
	requireCode(t, models.CodeConflict, err)
	_, _, found, err = store.UserByEmail(ctx, "eve@example.com")
	require.NoError(t, err)
	require.False(t, found, "half a user is none")
	requireCode(t, models.CodeConflict, store.LinkAccount(ctx, user.ID, models.ProviderGitHub, "2"))
	owner, found, err := store.UserOfAccount(ctx, models.ProviderGitHub, "1")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, user.ID, owner.ID)
}

func TestVerification_isSpentOnceAndForItsKind(t *testing.T) {
	store, _ := openStore(t)
	ctx := t.Context()
	type payload struct{ Name string }
	require.NoError(t, store.AddVerification(ctx, "a", "secret", nil, payload{"Ada"}, time.Now().Add(time.Hour)))
	require.NoError(t, store.AddVerification(ctx, "a", "late", nil, payload{}, time.Now().Add(-time.Second)))
	var got payload
	for kind, secret := range map[string]string{"b": "secret", "a": "late", "": "a:secret"} {
		found, err := store.SpendVerification(ctx, kind, secret, &got)
		require.NoError(t, err)
		require.False(t, found)
	}
	var spent atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var got payload
			if found, err := store.SpendVerification(ctx, "a", "secret", &got); err == nil && found && got.Name == "Ada" {
				spent.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, spent.Load())
}

func TestResetPassword_endsSessionsAndOtherLinks(t *testing.T) {
	store, _ := openStore(t)
	ctx := t.Context()
	user, other := newPerson(t, store, "ada@example.com"), newPerson(t, store, "eve@example.com")
	end := time.Now().Add(time.Hour)
	_, token, err := store.CreateSession(ctx, models.Session{UserID: user.ID, ExpiresAt: end})
	require.NoError(t, err)
	_, kept, err := store.CreateSession(ctx, models.Session{UserID: other.ID, ExpiresAt: end})
	require.NoError(t, err)
	for _, secret := range []string{"one", "two"} {
		require.NoError(t, store.AddVerification(ctx, "reset", secret, &user.ID, nil, end))
	}
	_, found, err := store.ResetPassword(ctx, "other kind", "one", "new")
	require.NoError(t, err)
	require.False(t, found)
	whose, found, err := store.ResetPassword(ctx, "reset", "one", "new")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, user.ID, whose)
	_, found, err = store.ResetPassword(ctx, "reset", "two", "newer")
	require.NoError(t, err)
	require.False(t, found)
	hash, err := store.PasswordHash(ctx, user.ID)
	require.NoError(t, err)
	require.Equal(t, "new", hash)
	sessions, err := store.SessionsByToken(ctx, []string{token, kept})
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	require.Equal(t, other.ID, sessions[0].UserID)
}

// Anybody can sign up with an address that is not confirmed. Its owner, who gets
// in by a mailed link, shares the account with nobody.
func TestResetPassword_endsWhatAStrangerMadeBeforeTheAddressWasConfirmed(t *testing.T) {
	store, _ := openStore(t)
	ctx := t.Context()
	for _, verified := range []bool{false, true} {
		email := fmt.Sprintf("verified-%t@example.com", verified)
		user, err := store.CreateUser(ctx, models.NewUser{Email: email, EmailVerified: verified, ProviderID: models.ProviderCredential, PasswordHash: "x", OrganizationName: "Own"})
		require.NoError(t, err)
		own, err := store.MembershipOf(ctx, user.ID, "", "")
		require.NoError(t, err)
		_, token, err := store.CreateToken(ctx, models.NewToken{OrganizationID: own.OrganizationID, UserID: user.ID, Name: "planted"})
		require.NoError(t, err)
		device, deviceCode, err := store.RequestDevice(ctx, "planted", "", models.ScopeAdmin)
		require.NoError(t, err)
		require.NoError(t, store.ApproveDevice(ctx, device.UserCode, user.ID, own.OrganizationID, models.ScopeAdmin))

		require.NoError(t, store.AddVerification(ctx, "reset", email, &user.ID, nil, time.Now().Add(time.Hour)))
		_, found, err := store.ResetPassword(ctx, "reset", email, "new")
		require.NoError(t, err)
		require.True(t, found)
		_, _, err = store.RedeemDevice(ctx, deviceCode, 0)
		requireCode(t, models.CodeExpiredToken, err)
		_, err = store.Authenticate(ctx, token)
		if verified {
			require.NoError(t, err, "it is the owner's own")
		} else {
			requireCode(t, models.CodeUnauthorized, err)
		}
	}
}

func TestSessions_endForTheirOwnerAlone(t *testing.T) {
	store, _ := openStore(t)
	ctx := t.Context()
	user, other := newPerson(t, store, "ada@example.com"), newPerson(t, store, "eve@example.com")
	row, token, err := store.CreateSession(ctx, models.Session{UserID: user.ID, ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	ended, err := store.EndSession(ctx, other.ID, row.ID)
	require.NoError(t, err)
	require.False(t, ended)
	require.NoError(t, store.EndSessions(ctx, other.ID, ""))
	require.NoError(t, store.ActIn(ctx, row.ID, "org_x"))
	sessions, err := store.SessionsByToken(ctx, []string{token, "unknown"})
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	require.Equal(t, "org_x", sessions[0].OrganizationID)
	require.NoError(t, store.EndSessions(ctx, user.ID, row.ID))
	ended, err = store.EndSession(ctx, user.ID, row.ID)
	require.NoError(t, err)
	require.True(t, ended)
	_, found, err := store.RenewSession(ctx, row.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.False(t, found, "one that has ended does not come back")
}
