package dispatcher_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// A dispatcher that had read all names refused the preview of a project that was
// made afterwards and had nothing live.
func TestPreview_answersForAProjectThatIsNewAndHasNothingLive(t *testing.T) {
	f := newFleet(t, 1)
	eventually(t, func() bool {
		return f.ask(f.dispatchers[0], models.PreviewName(f.releases[0].ID, "site")+".localhost") == "0"
	})
	project, err := f.store.CreateProject(t.Context(), f.owner.OrganizationID, "later", "later")
	require.NoError(t, err)
	d, _, err := f.store.CreateDeployment(t.Context(), models.NewDeployment{Input: models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project.ID, OrgID: f.owner.OrganizationID, UserID: f.owner.UserID}})
	require.NoError(t, err)
	r, err := f.store.WriteRelease(t.Context(), models.Release{
		ProjectID: project.ID, OrganizationID: f.owner.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence, ManifestDigest: f.releases[0].ManifestDigest,
	})
	require.NoError(t, err)
	require.NoError(t, f.store.MarkChecked(t.Context(), r.ID))
	eventually(t, func() bool {
		return f.ask(f.dispatchers[0], models.PreviewName(r.ID, "later")+".localhost") == "0"
	})
}
