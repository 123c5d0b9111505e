package models_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestInvitations_areAcceptedOnceByWhoeverTheyWereSentTo(t *testing.T) {
	store, owner := openStore(t)
	ctx, org := t.Context(), owner.OrganizationID
	grace, other := newUser(t, store, "Grace@Example.com"), newUser(t, store, "other@example.com")
	row, secret, err := store.Invite(ctx, org, owner.UserID, "grace@example.com", models.RoleDeveloper)
	require.NoError(t, err)

	_, err = store.AcceptInvitation(ctx, other.ID, secret)
	requireCode(t, models.CodeForbidden, err)
	for _, wrong := range []string{"", secret[:len(secret)-1], secret + "x", strings.ToUpper(secret), row.ID} {
		_, err = store.AcceptInvitation(ctx, grace.ID, wrong)
		requireCode(t, models.CodeInvitationNotFound, err)
	}
	// The address is Grace's only once she has shown it.
	_, err = store.AcceptInvitationID(ctx, grace.ID, row.ID)
	requireCode(t, models.CodeInvitationNotFound, err)
	mine, err := store.InvitationsOf(ctx, grace.ID, models.Position{}, 10)
	require.NoError(t, err)
	require.Empty(t, mine)

	outcomes := make([]error, 8)
	var wg sync.WaitGroup
	for i := range outcomes {
		wg.Go(func() { _, outcomes[i] = store.AcceptInvitation(ctx, grace.ID, secret) })
	}
	wg.Wait()
	accepted := 0
	for _, err := range outcomes {
		if err == nil {
			accepted++
			continue
		}
		requireCode(t, models.CodeInvitationNotFound, err)
	}
	require.Equal(t, 1, accepted)
	member, err := store.Member(ctx, org, grace.ID)
	require.NoError(t, err)
	require.Equal(t, models.RoleDeveloper, member.Role)
	user, _, err := store.User(ctx, grace.ID)
	require.NoError(t, err)
	require.True(t, user.EmailVerified)

	_, _, err = store.Invite(ctx, org, owner.UserID, "GRACE@example.com", models.RoleAdmin)
	requireCode(t, models.CodeConflict, err)

	// From here on the id is enough.
	second, err := store.FoundOrganization(ctx, owner.UserID, "Second")
	require.NoError(t, err)
	row, _, err = store.Invite(ctx, second.ID, owner.UserID, "grace@example.com", models.RoleViewer)
	require.NoError(t, err)
	mine, err = store.InvitationsOf(ctx, grace.ID, models.Position{}, 10)
	require.NoError(t, err)
	require.Len(t, mine, 1)
	require.Equal(t, "Second", mine[0].OrganizationName)
	require.Equal(t, "owner@example.com", mine[0].InviterName)
	_, err = store.AcceptInvitationID(ctx, other.ID, row.ID)
	requireCode(t, models.CodeInvitationNotFound, err)
	_, err = store.AcceptInvitationID(ctx, grace.ID, row.ID)
	require.NoError(t, err)
}

func TestInvitations_replaceOneAnotherAndEnd(t *testing.T) {
	store, owner, conn := openDatabase(t)
	ctx, org := t.Context(), owner.OrganizationID
	grace := newUser(t, store, "grace@example.com")
	_, first, err := store.Invite(ctx, org, owner.UserID, "grace@example.com", models.RoleDeveloper)
	require.NoError(t, err)
	row, second, err := store.Invite(ctx, org, owner.UserID, "Grace@example.com", models.RoleViewer)
	require.NoError(t, err)
	_, err = store.AcceptInvitation(ctx, grace.ID, first)
	requireCode(t, models.CodeInvitationNotFound, err)
	open, err := store.Invitations(ctx, models.InvitationFilter{OrganizationID: org, Limit: 10})
	require.NoError(t, err)
	require.Len(t, open, 1)

	_, err = conn.Exec(ctx, "UPDATE invitations SET expires_at = now() WHERE id = $1", row.ID)
	require.NoError(t, err)
	_, err = store.AcceptInvitation(ctx, grace.ID, second)
	requireCode(t, models.CodeInvitationNotFound, err)
	invited, err := store.Invited(ctx, "grace@example.com")
	require.NoError(t, err)
	require.False(t, invited)

	// Expired ones do not count against the bound.
	_, err = conn.Exec(ctx, `INSERT INTO invitations (id, organization_id, email, role, hash, invited_by, expires_at)
		SELECT 'inv_' || n, $1, n || '@example.com', 'viewer', n::text::bytea, '', now() + CASE WHEN n = 1 THEN interval '0' ELSE interval '1 day' END
		FROM generate_series(1, $2) n`, org, models.MaxInvitations)
	require.NoError(t, err)
	_, _, err = store.Invite(ctx, org, owner.UserID, "last@example.com", models.RoleViewer)
	require.NoError(t, err)
	_, _, err = store.Invite(ctx, org, owner.UserID, "toomany@example.com", models.RoleViewer)
	requireCode(t, models.CodeQuotaExceeded, err)
	_, _, err = store.Invite(ctx, org, owner.UserID, "last@example.com", models.RoleAdmin)
	require.NoError(t, err, "replacing one is no more than before")
}

func TestInvitations_giveNobodyMoreThanTheInviterHas(t *testing.T) {
	store, owner := openStore(t)
	ctx, org := t.Context(), owner.OrganizationID
	admin, developer := join(t, store, org, models.RoleAdmin), join(t, store, org, models.RoleDeveloper)
	_, _, err := store.Invite(ctx, org, developer.ID, "a@example.com", models.RoleViewer)
	requireCode(t, models.CodeForbidden, err)
	_, _, err = store.Invite(ctx, org, admin.ID, "a@example.com", models.RoleOwner)
	requireCode(t, models.CodeForbidden, err)
	row, _, err := store.Invite(ctx, org, owner.UserID, "a@example.com", models.RoleOwner)
	require.NoError(t, err)
	_, _, err = store.Invite(ctx, org, admin.ID, "a@example.com", models.RoleViewer)
	requireCode(t, models.CodeForbidden, err)
	requireCode(t, models.CodeForbidden, store.Withdraw(ctx, org, admin.ID, row.ID))
	requireCode(t, models.CodeInvitationNotFound, store.Withdraw(ctx, newOrganization(t, store, owner.UserID), owner.UserID, row.ID))
	require.NoError(t, store.Withdraw(ctx, org, owner.UserID, row.ID))
	requireCode(t, models.CodeInvitationNotFound, store.Withdraw(ctx, org, owner.UserID, row.ID))

	// Who is demoted takes along what they could not give any more.
	_, secret, err := store.Invite(ctx, org, admin.ID, "b@example.com", models.RoleAdmin)
	require.NoError(t, err)
	require.NoError(t, store.ChangeRole(ctx, org, owner.UserID, admin.ID, models.RoleDeveloper))
	_, err = store.AcceptInvitation(ctx, newUser(t, store, "b@example.com").ID, secret)
	requireCode(t, models.CodeInvitationNotFound, err)
}

func newOrganization(t *testing.T, store *models.Store, owner string) string {
	t.Helper()
	org, err := store.FoundOrganization(t.Context(), owner, "Another")
	require.NoError(t, err)
	return org.ID
}
