package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// signOff forgets the token that newGateway set.
func (g *gateway) signOff() {
	g.t.Setenv("XDG_CONFIG_HOME", g.t.TempDir())
	for _, name := range []string{"SLIPWAY_TOKEN", "SLIPWAY_ORG_ID", "SLIPWAY_USER_ID"} {
		g.t.Setenv(name, "")
	}
	g.t.Chdir(g.t.TempDir())
}

// login runs the program; answer is called with the code as it is shown, before
// the first question.
func (g *gateway) login(answer func(code string), args ...string) result {
	var out, err bytes.Buffer
	pause := func(ctx context.Context, _ time.Duration) error {
		if answer != nil {
			_, rest, _ := strings.Cut(err.String(), "confirm the code ")
			code, ok := models.FoldUserCode(rest[:9])
			require.True(g.t, ok, err.String())
			answer(code)
			answer = nil
		}
		return ctx.Err()
	}
	code := Execute(g.t.Context(), Root(Options{Stdout: &out, Stderr: &err, Version: "test", pause: pause}), append([]string{"login"}, args...))
	return result{code, out.String(), err.String()}
}

func TestLogin_keepsATokenThatLogoutRevokes(t *testing.T) {
	g := newGateway(t)
	g.signOff()
	got := run(t, "whoami")
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "slipway login")

	approve := func(code string) {
		require.NoError(t, g.store.ApproveDevice(t.Context(), code, g.owner.UserID, g.owner.OrganizationID, models.ScopeDeploy))
	}
	got = g.login(approve, "--scope", "deploy")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.err, "/app/device?code=")
	require.Contains(t, got.out, "as owner@example.com, owner in Org.")
	path := userCredentialsPath()
	state, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), state.Mode().Perm())
	creds, err := readUserCredentials()
	require.NoError(t, err)
	require.NotContains(t, got.out+got.err, creds.Token)

	got = run(t, "whoami")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `Scope +deploy`, got.out)
	require.Equal(t, ExitOK, run(t, "deploy", site(t)).code)

	// Signing in again ends the token of before.
	require.Equal(t, ExitOK, g.login(approve).code)
	_, err = g.store.Authenticate(t.Context(), creds.Token)
	require.Equal(t, models.CodeUnauthorized, models.CodeOf(err))
	creds, err = readUserCredentials()
	require.NoError(t, err)

	got = run(t, "logout")
	require.Equal(t, ExitOK, got.code, got.err)
	require.NoFileExists(t, path)
	_, err = g.store.Authenticate(t.Context(), creds.Token)
	require.Equal(t, models.CodeUnauthorized, models.CodeOf(err))
	require.Contains(t, run(t, "logout").err, "not signed in")
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, entries, "nothing is left beside it")
}

func TestLogin_saysWhenItIsRefusedOrNobodyAnswers(t *testing.T) {
	g := newGateway(t)
	g.signOff()
	got := g.login(func(code string) { require.NoError(t, g.store.DenyDevice(t.Context(), code)) })
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "ACCESS_DENIED")
	got = g.login(nil)
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "in time")
	require.NoFileExists(t, userCredentialsPath())
	require.Equal(t, ExitUsage, g.login(nil, "--scope", "root").code)
}

func TestLogin_doesNotTakeItsAddressFromTheFolder(t *testing.T) {
	g := newGateway(t)
	g.signOff()
	require.NoError(t, os.Mkdir(stateFolder, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(stateFolder, credentialsFile), []byte(`{"apiUrl":"http://evil.invalid","token":"x"}`), 0o600))
	got := g.login(func(code string) {
		require.NoError(t, g.store.ApproveDevice(t.Context(), code, g.owner.UserID, g.owner.OrganizationID, models.ScopeRead))
	})
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.err, "comes before it")
	// The address that is asked for decides which token is sent.
	require.Equal(t, ExitOK, run(t, "whoami").code)
}

func TestTokens_areMadeListedAndRevoked(t *testing.T) {
	g := newGateway(t)
	_, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Shop", "shop")
	require.NoError(t, err)
	got := run(t, "tokens", "create", "CI", "--scope", "deploy", "--project", "shop", "--expires", "30d")
	require.Equal(t, ExitOK, got.code, got.err)
	secret := strings.TrimSpace(got.out)
	identity, err := g.store.Authenticate(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, models.ScopeDeploy, identity.Scope)
	require.NotEmpty(t, identity.ProjectID)

	got = run(t, "tokens", "list")
	require.Regexp(t, identity.TokenID+` +CI +`+secret[:10]+`… +deploy +prj_`, got.out)
	require.NotContains(t, got.out, secret)
	require.Equal(t, ExitOK, run(t, "tokens", "revoke", identity.TokenID).code)
	_, err = g.store.Authenticate(t.Context(), secret)
	require.Equal(t, models.CodeUnauthorized, models.CodeOf(err))
	require.Contains(t, run(t, "tokens", "revoke", identity.TokenID).err, "TOKEN_NOT_FOUND")
	require.Equal(t, ExitUsage, run(t, "tokens", "create", "CI", "--expires", "soon").code)
}

func TestMembers_areShownAndChanged(t *testing.T) {
	g := newGateway(t)
	t.Setenv("SLIPWAY_ORG_ID", "")
	grace, err := g.store.CreateUser(t.Context(), models.NewUser{Email: "grace@example.com", ProviderID: models.ProviderCredential, OrganizationName: "Own"})
	require.NoError(t, err)
	_, secret, err := g.store.Invite(t.Context(), g.owner.OrganizationID, g.owner.UserID, grace.Email, models.RoleViewer)
	require.NoError(t, err)
	require.Regexp(t, `grace@example.com +viewer`, run(t, "members", "invitations").out)
	_, err = g.store.AcceptInvitation(t.Context(), grace.ID, secret)
	require.NoError(t, err)

	got := run(t, "members", "role", "Grace@example.com", "admin")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `grace@example.com +- +admin`, run(t, "members", "list").out)
	var page Page[Member]
	require.NoError(t, json.Unmarshal([]byte(run(t, "members", "list", "--json").out), &page))
	require.Len(t, page.Items, 2)
	require.Equal(t, ExitOK, run(t, "members", "remove", grace.ID).code)
	require.Contains(t, run(t, "members", "remove", "grace@example.com").err, "MEMBER_NOT_FOUND")
	require.Contains(t, run(t, "members", "remove", "owner@example.com").err, "LAST_OWNER")
	require.Equal(t, ExitOK, run(t, "orgs", "rename", "New name").code)
	require.Regexp(t, `New name +owner`, run(t, "orgs", "list").out)
}
