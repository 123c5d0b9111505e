package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// typed runs the program with somebody at the keyboard.
func typed(t *testing.T, text string, args ...string) result {
	var out, err strings.Builder
	code := Execute(t.Context(), Root(Options{Stdin: strings.NewReader(text), Stdout: &out, Stderr: &err, Version: "test"}), args)
	return result{code, out.String(), err.String()}
}

func TestProjects_areRenamedTransferredAndDeleted(t *testing.T) {
	clearEnvironment(t)
	g := newGateway(t)
	folder := t.TempDir()
	t.Chdir(folder)
	project, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Shop", "shop")
	require.NoError(t, err)
	link := func() Link {
		link, ok, err := readLink(folder)
		require.NoError(t, err)
		require.True(t, ok)
		return link
	}
	require.NoError(t, writeLink(folder, Link{ProjectID: project.ID, OrganizationID: g.owner.OrganizationID, WorkerName: "shop"}))

	r := typed(t, "", "projects", "settings", "--name", "My  Shop")
	require.Equal(t, ExitOK, r.code, r.err)
	require.Contains(t, r.out, "My Shop")
	require.Contains(t, r.out, "http://shop.slipway.test/")
	r = typed(t, "", "projects", "settings", "--name", "a\u202eb")
	require.Equal(t, ExitFailure, r.code)
	require.Contains(t, r.err, "mark of direction")

	r = typed(t, "", "projects", "rename", "store")
	require.Equal(t, ExitOK, r.code, r.err)
	require.Contains(t, r.err, "http://store.slipway.test/")
	require.Equal(t, "store", link().WorkerName)
	r = typed(t, "", "projects", "list", "--search", "STO", "--json")
	var page Page[Project]
	require.NoError(t, json.Unmarshal([]byte(r.out), &page), r.out)
	require.Len(t, page.Items, 1)
	require.Contains(t, typed(t, "", "projects", "list", "--search", "zzz").err, "No project")

	buyer, err := g.store.EnsureOwner(t.Context(), "Buyer", "buyer@example.com")
	require.NoError(t, err)
	_, token, err := g.store.CreateToken(t.Context(), models.NewToken{OrganizationID: buyer.OrganizationID, UserID: buyer.UserID, Name: "t"})
	require.NoError(t, err)
	r = typed(t, "", "projects", "transfer", buyer.OrganizationID)
	require.Equal(t, ExitUsage, r.code)
	require.Contains(t, r.err, otherTokenVariable)
	t.Setenv(otherTokenVariable, token)
	r = typed(t, "", "projects", "transfer", buyer.OrganizationID)
	require.Equal(t, ExitOK, r.code, r.err)
	require.Equal(t, buyer.OrganizationID, link().OrganizationID)
	require.NotContains(t, r.out+r.err, token)

	t.Setenv("SLIPWAY_TOKEN", token)
	t.Setenv("SLIPWAY_ORG_ID", buyer.OrganizationID)
	r = typed(t, "", "projects", "delete")
	require.Equal(t, ExitUsage, r.code, "nobody answers")
	r = typed(t, "shop\n", "projects", "delete")
	require.Equal(t, ExitUsage, r.code)
	require.Contains(t, r.err, "nothing was deleted")
	r = typed(t, "store\n", "projects", "delete")
	require.Equal(t, ExitOK, r.code, r.err)
	_, err = os.Stat(linkPath(folder))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, ExitFailure, typed(t, "", "projects", "delete", "--project", project.ID, "--confirm", "store").code)

	r = typed(t, "", "audit", "--since", "1h")
	require.Equal(t, ExitOK, r.code, r.err)
	require.Contains(t, r.out, "delete-project")
	require.Contains(t, r.out, project.ID)
	r = typed(t, "", "audit", "--export", "--action", "transfer-project")
	require.Equal(t, ExitOK, r.code, r.err)
	require.Equal(t, 1, strings.Count(r.out, "\n"))
	var entry AuditEntry
	require.NoError(t, json.Unmarshal([]byte(r.out), &entry))
	require.Equal(t, project.ID, entry.Targets["id"])
	require.Equal(t, ExitUsage, typed(t, "", "audit", "--since", "soon").code)
	require.Equal(t, ExitUsage, typed(t, "", "audit", "--follow", "--export").code)
}

func TestDeadLetters_areNotActedOnByAccident(t *testing.T) {
	clearEnvironment(t)
	newGateway(t)
	for _, action := range []string{"retry", "abandon"} {
		r := typed(t, "", "dead-letters", action)
		require.Equal(t, ExitUsage, r.code)
		require.Contains(t, r.err, "--all")
		r = typed(t, "", "dead-letters", action, "--all")
		require.Equal(t, ExitOK, r.code, r.err)
		require.Contains(t, r.err, "No deployment is parked")
		require.Equal(t, ExitOK, typed(t, "", "dead-letters", action, "--error-code", "STORAGE_UNAVAILABLE", "--step", "deploy", "--before", "1h").code)
	}
	r := typed(t, "", "list", "--all", "--status", "failed", "--outcome", "rejected", "--since", "24h", "--before", "2026-01-31", "--user", "usr_x")
	require.Equal(t, ExitOK, r.code, r.err)
	require.Contains(t, r.err, "no such deployment")
	require.Equal(t, ExitFailure, typed(t, "", "list", "--all", "--status", "done").code)
}
