package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDomains_areAddedShownAndRemoved(t *testing.T) {
	g := newGateway(t)
	_, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Shop", "shop")
	require.NoError(t, err)
	for _, action := range []string{"add", "show", "check"} {
		got := run(t, "domains", action, "--project", "shop", "www.Example.com")
		require.Equal(t, ExitOK, got.code, got.err)
		require.Regexp(t, `(?s)^www.example.com is pending.\n.*TXT +_slipway-challenge.www.example.com +[a-z2-7]{26}\n +CNAME +www.example.com +dispatcher.slipway.test\n$`, got.out)
	}
	got := run(t, "domains", "list", "--project", "shop")
	require.Regexp(t, `www.example.com +pending +\S+.* +-\n$`, got.out)
	got = run(t, "domains", "remove", "--project", "shop", "www.example.com")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, run(t, "domains", "list", "--project", "shop").err, "no domain yet")
	got = run(t, "domains", "show", "--project", "shop", "www.example.com")
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "no domain")
}
