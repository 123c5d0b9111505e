package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestRollout_isStartedListedAndCanceled(t *testing.T) {
	g := newGateway(t)
	project, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Shop", "shop")
	require.NoError(t, err)
	var releases []models.Release
	for range 2 {
		d, _, err := g.store.CreateDeployment(t.Context(), models.NewDeployment{Input: models.DeploymentInput{
			DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project.ID, OrgID: g.owner.OrganizationID, UserID: g.owner.UserID}})
		require.NoError(t, err)
		r, err := g.store.WriteRelease(t.Context(), models.Release{ProjectID: project.ID, OrganizationID: project.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence})
		require.NoError(t, err)
		require.NoError(t, g.store.MarkChecked(t.Context(), r.ID))
		releases = append(releases, r)
	}
	_, err = g.store.GoLive(t.Context(), releases[0])
	require.NoError(t, err)
	got := run(t, "rollout", "--project", "shop", "--detach", "--steps", "5,100", "--every", "10s", releases[1].ID)
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `^rol_\w+ is running at 0 %.\n$`, got.out)
	rows, err := g.store.Rollouts(t.Context(), project.ID, models.Position{}, 1)
	require.NoError(t, err)
	require.Contains(t, run(t, "rollout", "list", "--project", "shop").out, rows[0].ID+"  "+releases[1].ID+"  running")
	got = run(t, "rollout", "cancel", "--project", "shop", rows[0].ID)
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.err, "is canceled at 0 %. It was canceled.")
	got = run(t, "rollout", "cancel", "--project", "shop", rows[0].ID)
	require.Equal(t, ExitFailure, got.code)
}
