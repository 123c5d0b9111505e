package models_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

// join makes a new user a member of the organization.
func join(t *testing.T, store *models.Store, organizationID string, role models.Role) models.User {
	t.Helper()
	user := newUser(t, store, models.NewID("x")+"@example.com")
	rejoin(t, store, organizationID, user, role)
	return user
}

// rejoin has the first owner invite a user, who accepts.
func rejoin(t *testing.T, store *models.Store, organizationID string, user models.User, role models.Role) {
	t.Helper()
	members, err := store.Members(t.Context(), models.MemberFilter{OrganizationID: organizationID, Limit: 1})
	require.NoError(t, err)
	_, secret, err := store.Invite(t.Context(), organizationID, members[0].UserID, user.Email, role)
	require.NoError(t, err)
	_, err = store.AcceptInvitation(t.Context(), user.ID, secret)
	require.NoError(t, err)
}

// openDatabase is openStore with a connection of its own to the database.
func openDatabase(t *testing.T) (*models.Store, models.Identity, *pgx.Conn) {
	t.Helper()
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return store, id, conn
}

// newUser makes a user with an organization of their own.
func newUser(t *testing.T, store *models.Store, email string) models.User {
	t.Helper()
	user, err := store.CreateUser(t.Context(), models.NewUser{Email: email, ProviderID: models.ProviderCredential, OrganizationName: "Own"})
	require.NoError(t, err)
	return user
}

func TestMembers_changeRolesOnlyBelowTheirOwnPower(t *testing.T) {
	store, owner := openStore(t)
	org, ctx := owner.OrganizationID, t.Context()
	admin, admin2 := join(t, store, org, models.RoleAdmin), join(t, store, org, models.RoleAdmin)
	developer, stranger := join(t, store, org, models.RoleDeveloper), newUser(t, store, "stranger@example.com")

	for _, c := range []struct {
		name, actor, target string
		role                models.Role
		code                models.Code
	}{
		{"a developer makes nobody anything", developer.ID, developer.ID, models.RoleAdmin, models.CodeForbidden},
		{"a stranger makes nobody anything", stranger.ID, developer.ID, models.RoleViewer, models.CodeForbidden},
		{"an admin makes no owner", admin.ID, developer.ID, models.RoleOwner, models.CodeForbidden},
		{"not even of themselves", admin.ID, admin.ID, models.RoleOwner, models.CodeForbidden},
		{"an admin demotes no owner", admin.ID, owner.UserID, models.RoleViewer, models.CodeForbidden},
		{"a stranger is no member", owner.UserID, stranger.ID, models.RoleViewer, models.CodeMemberNotFound},
		{"the last owner stays one", owner.UserID, owner.UserID, models.RoleAdmin, models.CodeLastOwner},
		{"an admin manages another", admin.ID, admin2.ID, models.RoleDeveloper, ""},
		{"and raises", admin.ID, developer.ID, models.RoleAdmin, ""},
		{"an owner makes another", owner.UserID, developer.ID, models.RoleOwner, ""},
		{"and then may step back", owner.UserID, owner.UserID, models.RoleViewer, ""},
	} {
		err := store.ChangeRole(ctx, org, c.actor, c.target, c.role)
		if c.code != "" {
			require.Equal(t, c.code, models.CodeOf(err), c.name)
			continue
		}
		require.NoError(t, err, c.name)
		member, err := store.Member(ctx, org, c.target)
		require.NoError(t, err)
		require.Equal(t, c.role, member.Role, c.name)
	}
	requireCode(t, models.CodeOrganizationNotFound, store.ChangeRole(ctx, models.NewID(models.PrefixOrganization), owner.UserID, admin.ID, models.RoleViewer))
}

func TestMembers_whoIsRemovedLosesEverythingOfTheOrganization(t *testing.T) {
	store, owner := openStore(t)
	org, ctx := owner.OrganizationID, t.Context()
	admin := join(t, store, org, models.RoleAdmin)
	_, secret, err := store.CreateToken(ctx, models.NewToken{OrganizationID: org, UserID: admin.ID, Name: "theirs"})
	require.NoError(t, err)
	own, err := store.MembershipOf(ctx, admin.ID, "", "")
	require.NoError(t, err)
	_, elsewhere, err := store.CreateToken(ctx, models.NewToken{OrganizationID: own.OrganizationID, UserID: admin.ID, Name: "elsewhere"})
	require.NoError(t, err)
	_, _, err = store.Invite(ctx, org, admin.ID, "friend@example.com", models.RoleViewer)
	require.NoError(t, err)

	requireCode(t, models.CodeForbidden, store.RemoveMember(ctx, org, admin.ID, owner.UserID))
	require.NoError(t, store.RemoveMember(ctx, org, owner.UserID, admin.ID))
	requireCode(t, models.CodeMemberNotFound, store.RemoveMember(ctx, org, owner.UserID, admin.ID))
	_, err = store.MembershipOf(ctx, admin.ID, org, "")
	requireCode(t, models.CodeOrganizationNotFound, err)
	_, err = store.Authenticate(ctx, secret)
	requireCode(t, models.CodeUnauthorized, err)
	_, err = store.Authenticate(ctx, elsewhere)
	require.NoError(t, err)
	open, err := store.Invitations(ctx, models.InvitationFilter{OrganizationID: org, Limit: 10})
	require.NoError(t, err)
	require.Empty(t, open)

	// Coming back does not bring the old tokens back.
	rejoin(t, store, org, admin, models.RoleAdmin)
	_, err = store.Authenticate(ctx, secret)
	requireCode(t, models.CodeUnauthorized, err)
}

func TestMembers_ofOwnersWhoLeaveAtOnceOneStays(t *testing.T) {
	store, _ := openStore(t)
	ctx := t.Context()
	const owners = 4
	for round := range 5 {
		first := newUser(t, store, fmt.Sprintf("first%d@example.com", round))
		membership, err := store.MembershipOf(ctx, first.ID, "", "")
		require.NoError(t, err)
		org := membership.OrganizationID
		leaving := []string{first.ID}
		for range owners - 1 {
			leaving = append(leaving, join(t, store, org, models.RoleOwner).ID)
		}
		outcomes := make([]error, owners)
		var wg sync.WaitGroup
		for i, id := range leaving {
			wg.Go(func() {
				if i%2 == 0 {
					outcomes[i] = store.RemoveMember(ctx, org, id, id)
				} else {
					outcomes[i] = store.ChangeRole(ctx, org, id, id, models.RoleViewer)
				}
			})
		}
		wg.Wait()
		stayed := 0
		for _, err := range outcomes {
			if err != nil {
				requireCode(t, models.CodeLastOwner, err)
				stayed++
			}
		}
		require.Equal(t, 1, stayed)
		members, err := store.Members(ctx, models.MemberFilter{OrganizationID: org, Limit: 10})
		require.NoError(t, err)
		left := 0
		for _, member := range members {
			if member.Role == models.RoleOwner {
				left++
			}
		}
		require.Equal(t, 1, left)
	}
}

func TestOrganizations_ofOnePersonAreBounded(t *testing.T) {
	store, owner := openStore(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	outcomes := make([]error, models.MaxOwned+5)
	for i := range outcomes {
		wg.Go(func() { _, outcomes[i] = store.FoundOrganization(ctx, owner.UserID, "More") })
	}
	wg.Wait()
	made := 0
	for _, err := range outcomes {
		if err == nil {
			made++
			continue
		}
		requireCode(t, models.CodeQuotaExceeded, err)
	}
	require.Equal(t, models.MaxOwned-1, made, "one was there before")

	seen, after := map[string]bool{}, models.Position{}
	for {
		rows, err := store.OrganizationsOf(ctx, models.OwnFilter{UserID: owner.UserID, After: after, Limit: 7})
		require.NoError(t, err)
		for _, row := range rows {
			require.False(t, seen[row.ID])
			seen[row.ID], after = true, models.PositionAt(row.JoinedAt, row.ID)
			require.Equal(t, models.RoleOwner, row.Role)
		}
		if len(rows) < 7 {
			break
		}
	}
	require.Len(t, seen, models.MaxOwned)
}

func TestOrganizations_endOnlyWithoutProjects(t *testing.T) {
	store, owner, conn := openDatabase(t)
	ctx := t.Context()
	org, err := store.FoundOrganization(ctx, owner.UserID, "Second")
	require.NoError(t, err)
	project, err := store.CreateProject(ctx, org.ID, "Shop", "shop")
	require.NoError(t, err)
	_, secret, err := store.CreateToken(ctx, models.NewToken{OrganizationID: org.ID, UserID: owner.UserID, Name: "its"})
	require.NoError(t, err)
	slot, err := store.UIDSlot(ctx, org.ID)
	require.NoError(t, err)

	requireCode(t, models.CodeConflict, store.DeleteOrganization(ctx, org.ID))
	_, err = conn.Exec(ctx, "DELETE FROM projects WHERE id = $1", project.ID)
	require.NoError(t, err)
	require.NoError(t, store.DeleteOrganization(ctx, org.ID))
	requireCode(t, models.CodeOrganizationNotFound, store.DeleteOrganization(ctx, org.ID))
	_, err = store.Authenticate(ctx, secret)
	requireCode(t, models.CodeUnauthorized, err)

	next, err := store.UIDSlot(ctx, owner.OrganizationID)
	require.NoError(t, err)
	require.NotEqual(t, slot, next, "files may be left under the user ids of one that ended")
}

func TestOrganizations_aProjectMadeWhileOneEndsIsNotLost(t *testing.T) {
	store, owner := openStore(t)
	ctx := t.Context()
	for round := range 8 {
		org, err := store.FoundOrganization(ctx, owner.UserID, "Brief")
		require.NoError(t, err)
		var wg sync.WaitGroup
		var made, ended error
		wg.Go(func() { _, made = store.CreateProject(ctx, org.ID, "Shop", fmt.Sprintf("shop-%d", round)) })
		wg.Go(func() { ended = store.DeleteOrganization(ctx, org.ID) })
		wg.Wait()
		require.NotEqual(t, made == nil, ended == nil, "either the project or the end: %v, %v", made, ended)
	}
}
