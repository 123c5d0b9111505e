package api_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func TestMembers_loseAccessWithTheirMembership(t *testing.T) {
	s := newScene(t)
	developer, admin := s.people[models.RoleDeveloper], s.people[models.RoleAdmin]
	var made api.NewToken
	s.do("POST", "/tokens", map[string]any{"name": "x", "scope": "admin"}, developer.in(s.org)).into(201, &made)
	require.Equal(t, 200, s.do("GET", "/projects", nil, bearer(made.Secret)).status)

	path := "/orgs/" + s.org + "/members/"
	s.do("DELETE", path+s.people[models.RoleViewer].id, nil, developer.in(s.org)).failed(models.CodeForbidden)
	s.do("DELETE", path+s.people[models.RoleOwner].id, nil, admin.in(s.org)).failed(models.CodeForbidden)
	require.Equal(t, 204, s.do("DELETE", path+developer.id, nil, admin.in(s.org)).status)
	s.do("GET", "/projects", nil, bearer(made.Secret)).failed(models.CodeUnauthorized)
	s.do("GET", "/projects", nil, developer.in(s.org)).failed(models.CodeOrganizationNotFound)
	s.do("DELETE", path+developer.id, nil, admin.in(s.org)).failed(models.CodeMemberNotFound)
	s.do("DELETE", path+"usr_x", nil, admin.in(s.org)).failed(models.CodeMemberNotFound)

	// Without a name they act in what is still theirs.
	var me api.Me
	s.do("GET", "/me", nil, developer.in("")).into(200, &me)
	require.NotEqual(t, s.org, me.Organization.ID)

	// Anybody leaves by themselves, the last owner does not.
	viewer, owner := s.people[models.RoleViewer], s.people[models.RoleOwner]
	require.Equal(t, 204, s.do("DELETE", path+viewer.id, nil, viewer.in(s.org)).status)
	s.do("DELETE", path+owner.id, nil, owner.in(s.org)).failed(models.CodeLastOwner)
	s.do("PATCH", path+owner.id, map[string]any{"role": "admin"}, owner.in(s.org)).failed(models.CodeLastOwner)
	s.do("PATCH", path+admin.id, map[string]any{"role": "owner"}, admin.in(s.org)).failed(models.CodeForbidden)

	var changed api.Member
	s.do("PATCH", path+admin.id, map[string]any{"role": "owner"}, owner.in(s.org)).into(200, &changed)
	require.Equal(t, models.RoleOwner, changed.Role)
	statuses := make([]int, 2)
	var wg sync.WaitGroup
	for i, p := range []person{owner, admin} {
		wg.Go(func() {
			r, _ := http.NewRequestWithContext(s.Context(), "DELETE", s.http.URL+path+p.id, nil)
			for name, value := range p.in(s.org) {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if a, err := s.http.Client().Do(r); err == nil {
				statuses[i] = a.StatusCode
				_ = a.Body.Close()
			}
		})
	}
	wg.Wait()
	require.ElementsMatch(t, []int{204, 409}, statuses, "of two owners who leave at once one stays")
}

func TestInvitations_bringInWhoeverTheyWereMailedTo(t *testing.T) {
	s := newScene(t)
	admin := s.people[models.RoleAdmin].in(s.org)
	path := "/orgs/" + s.org + "/invitations"
	for _, wrong := range []string{"nobody", "a@b@c.example", "Grace <grace@example.com>", "grace@example.com\r\nBcc: x@y.example", "@example.com", "grace@"} {
		s.do("POST", path, map[string]any{"email": wrong, "role": "viewer"}, admin).refuses("email", "")
	}
	s.do("POST", path, map[string]any{"email": "grace@example.com", "role": "owner"}, admin).failed(models.CodeForbidden)
	s.do("POST", path, map[string]any{"email": "bystander@ZANZIBAR.example", "role": "viewer"}, admin).failed(models.CodeConflict)

	a := s.do("POST", path, map[string]any{"email": "Grace@Example.com", "role": "developer"}, admin)
	var made api.Invitation
	a.into(201, &made)
	require.Equal(t, "grace@example.com", made.Email)
	secret := s.post.last(t)
	require.NotContains(t, string(a.body), secret, "only the mail has it")
	require.NotContains(t, s.log.String(), secret)
	mail := s.post.invitations[len(s.post.invitations)-1]
	require.Equal(t, "Zanzibar Trading", mail.Organization)
	require.Equal(t, "ADMIN@ZANZIBAR.EXAMPLE", mail.Inviter)

	grace := s.signUp("grace@example.com")
	var mine api.OwnInvitationList
	s.do("GET", "/invitations", nil, grace.in("")).into(200, &mine)
	require.Empty(t, mine.Items, "her address is not verified")
	s.do("POST", "/invitations/accept", map[string]any{"invitationId": made.ID}, grace.in("")).failed(models.CodeInvitationNotFound)
	s.do("POST", "/invitations/accept", map[string]any{}, grace.in("")).refuses("token", "needed")
	s.do("POST", "/invitations/accept", map[string]any{"token": secret}, s.foreign.in("")).failed(models.CodeForbidden)
	s.do("POST", "/invitations/accept", map[string]any{"token": secret}).failed(models.CodeForbidden)
	var joined api.Organization
	s.do("POST", "/invitations/accept", map[string]any{"token": secret}, grace.in("")).into(200, &joined)
	require.Equal(t, s.org, joined.ID)
	require.Equal(t, models.RoleDeveloper, joined.Role)
	s.do("POST", "/invitations/accept", map[string]any{"token": secret}, grace.in("")).failed(models.CodeInvitationNotFound)
	var me api.Me
	s.do("GET", "/me", nil, grace.in(s.org)).into(200, &me)
	require.True(t, me.User.EmailVerified)
	require.Equal(t, models.RoleDeveloper, me.Organization.Role)
}

// Withdrawing an invitation takes back no mail, so it does not make room for another.
func TestInvitations_floodNobodysMail(t *testing.T) {
	post := &postbox{}
	g := newGateway(t, withAccounts(t, post))
	path := "/orgs/" + g.owner.OrganizationID + "/invitations"
	stranger := map[string]any{"email": "stranger@example.com", "role": "viewer"}
	for range 5 {
		var row api.Invitation
		g.do("POST", path, stranger).into(201, &row)
		require.Equal(t, 204, g.do("DELETE", path+"/"+row.ID, nil).status)
	}
	g.do("POST", path, stranger).failed(models.CodeRateLimited)
	_, token := g.newOwner("accomplice@example.com")
	var me api.Me
	g.do("GET", "/me", nil, bearer(token)).into(200, &me)
	g.do("POST", "/orgs/"+me.Organization.ID+"/invitations", stranger, bearer(token)).failed(models.CodeRateLimited)
	require.Len(t, post.invitations, 5)
	require.Equal(t, 201, g.do("POST", path, map[string]any{"email": "friend@example.com", "role": "viewer"}).status)
}

func TestInvitations_thatCannotBeMailedAreNotThere(t *testing.T) {
	g := newGateway(t)
	path := "/orgs/" + g.owner.OrganizationID + "/invitations"
	g.do("POST", path, map[string]any{"email": "grace@example.com", "role": "viewer"}).failed(models.CodeQueue)
	var list api.InvitationList
	g.do("GET", path, nil).into(200, &list)
	require.Empty(t, list.Items)
}

func TestOrganizations_areMadeRenamedAndEnded(t *testing.T) {
	s := newScene(t)
	owner := s.people[models.RoleOwner]
	a := s.do("POST", "/orgs", map[string]any{"name": " Second  one "}, owner.in(""))
	var made api.Organization
	a.into(201, &made)
	require.Equal(t, "/orgs/"+made.ID, a.header.Get("Location"))
	require.Equal(t, "Second one", made.Name)
	s.do("POST", "/orgs", map[string]any{"name": "x", "ownerId": s.foreign.id}, owner.in("")).refuses("ownerId", "")
	var list api.OrganizationList
	s.do("GET", "/orgs?limit=2", nil, owner.in("")).into(200, &list)
	require.Len(t, list.Items, 2)
	require.NotEmpty(t, list.NextCursor)
	s.do("GET", "/orgs?limit=2&cursor="+list.NextCursor, nil, owner.in("")).into(200, &list)
	require.Len(t, list.Items, 1)
	require.Equal(t, made.ID, list.Items[0].ID)

	var changed api.Organization
	s.do("PATCH", "/orgs/"+made.ID, map[string]any{"name": "Third"}, owner.in(s.org)).into(200, &changed)
	require.Equal(t, "Third", changed.Name)
	a = s.do("GET", "/orgs/"+made.ID, nil, owner.in(""))
	require.Equal(t, `"2-owner"`, a.header.Get("ETag"))
	require.Equal(t, 304, s.do("GET", "/orgs/"+made.ID, nil, owner.in(""), header{"If-None-Match": a.header.Get("ETag")}).status)
	s.do("PATCH", "/orgs/"+made.ID, map[string]any{"name": "Fourth"}, owner.in(""), header{"If-Match": `"1-owner"`}).failed(models.CodePreconditionFailed)
	require.Equal(t, 200, s.do("PATCH", "/orgs/"+made.ID, map[string]any{"name": "Fourth"}, owner.in(""), header{"If-Match": a.header.Get("ETag")}).status)
	s.do("DELETE", "/orgs/"+s.org, nil, owner.in("")).failed(models.CodeConflict)
	require.Equal(t, 204, s.do("DELETE", "/orgs/"+made.ID, nil, owner.in("")).status)
	s.do("GET", "/orgs/"+made.ID, nil, owner.in("")).failed(models.CodeOrganizationNotFound)

	// Somebody without any organization can still ask who they are and make one.
	own := list.Items
	s.do("GET", "/orgs", nil, s.foreign.in("")).into(200, &list)
	require.Len(t, list.Items, 1)
	_, err := s.conn.Exec(t.Context(), "DELETE FROM memberships WHERE user_id = $1", s.foreign.id)
	require.NoError(t, err)
	var me api.Me
	s.do("GET", "/me", nil, s.foreign.in("")).into(200, &me)
	require.Nil(t, me.Organization)
	s.do("GET", "/projects", nil, s.foreign.in("")).failed(models.CodeOrganizationNotFound)
	s.do("GET", "/orgs/"+own[0].ID, nil, s.foreign.in("")).failed(models.CodeOrganizationNotFound)
	require.Equal(t, 201, s.do("POST", "/orgs", map[string]any{"name": "Anew"}, s.foreign.in("")).status)
}

func TestDevices_getTheirTokenInTheBrowsersName(t *testing.T) {
	post := &postbox{}
	g := newGateway(t, withAccounts(t, post), func(o *api.Options) { o.Limits.DeviceInterval = 1 })
	p := g.signUp("ada@example.com")
	nobody := header{"Authorization": ""}
	var code api.DeviceCode
	g.do("POST", "/device/code", map[string]any{"clientName": "ada-laptop", "scope": "admin"}, nobody).into(200, &code)
	require.Regexp(t, `^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`, code.UserCode)
	require.Equal(t, appURL+"/app/device?code="+code.UserCode, code.VerificationURIComplete)
	require.Equal(t, 900, code.ExpiresIn)
	g.do("POST", "/device/code", map[string]any{"clientName": "a\x1b[31mb"}, nobody).refuses("clientName", "")

	ask := map[string]any{"deviceCode": code.DeviceCode}
	g.do("POST", "/device/token", ask, nobody).failed(models.CodeAuthorizationPending)
	var device api.Device
	g.do("GET", "/device/"+code.UserCode, nil, p.in("")).into(200, &device)
	require.Equal(t, "ada-laptop", device.ClientName)
	require.Equal(t, models.DevicePending, device.Status)
	g.do("GET", "/device/"+code.UserCode, nil).failed(models.CodeForbidden)
	g.do("GET", "/device/yyyyyyyy", nil, p.in("")).failed(models.CodeNotFound)

	approve := "/device/" + code.UserCode + "/approve"
	g.do("POST", approve, map[string]any{"orgId": g.owner.OrganizationID, "scope": "read"}, p.in("")).failed(models.CodeOrganizationNotFound)
	var me api.Me
	g.do("GET", "/me", nil, p.in("")).into(200, &me)
	crossSite := p.in("")
	crossSite["Origin"] = "http://shop.example.com"
	g.do("POST", approve, map[string]any{"orgId": me.Organization.ID, "scope": "admin"}, crossSite).failed(models.CodeCrossSite)
	require.Equal(t, 204, g.do("POST", approve, map[string]any{"orgId": me.Organization.ID, "scope": "read"}, p.in("")).status)
	g.do("POST", "/device/"+code.UserCode+"/deny", nil, p.in("")).failed(models.CodeConflict)

	var token api.DeviceToken
	g.do("POST", "/device/token", ask, nobody).into(200, &token)
	require.Equal(t, models.ScopeRead, token.Scope, "the person decides")
	require.Equal(t, me.User.ID, token.UserID)
	g.do("GET", "/me", nil, bearer(token.Token)).into(200, &me)
	require.Equal(t, token.ID, me.TokenID)
	g.do("POST", "/device/token", ask, nobody).failed(models.CodeExpiredToken)
}

// A token of the organization comes of an approval, so its log tells of it.
func TestAudit_tellsOfDevicesThatWereApproved(t *testing.T) {
	g := newGateway(t, withAccounts(t, &postbox{}))
	p := g.signUp("ada@example.com")
	var me api.Me
	g.do("GET", "/me", nil, p.in("")).into(200, &me)
	var code api.DeviceCode
	g.do("POST", "/device/code", map[string]any{}, header{"Authorization": ""}).into(200, &code)
	approve := "/device/" + code.UserCode + "/approve"
	g.do("POST", approve, map[string]any{"orgId": g.owner.OrganizationID, "scope": "read"}, p.in("")).failed(models.CodeOrganizationNotFound)
	require.Equal(t, 204, g.do("POST", approve, map[string]any{"orgId": me.Organization.ID, "scope": "read"}, p.in("")).status)
	var list api.AuditList
	g.do("GET", "/orgs/"+me.Organization.ID+"/audit?action=approve-device", nil, p.in("")).into(200, &list)
	require.Len(t, list.Items, 1)
	require.Equal(t, map[string]string{"scope": "read"}, list.Items[0].Targets, "but no code")
	require.Empty(t, g.auditLog("action=approve-device"), "of another organization")
}
