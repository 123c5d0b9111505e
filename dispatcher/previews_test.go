package dispatcher_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// everywhere says whether all dispatchers answer a host like this; "" is that
// nothing is there.
func (f *fleet) everywhere(host, want string) bool {
	for _, d := range f.dispatchers {
		got := f.ask(d, host)
		if want == "" && !strings.Contains(got, "Nothing is deployed") || want != "" && got != want {
			return false
		}
	}
	return true
}

// live has the first release answer at the worker name and a domain, everywhere.
func (f *fleet) live() (preview, longPreview string) {
	f.Helper()
	domain, err := f.store.AddDomain(f.Context(), f.project, "shop.example.com")
	require.NoError(f, err)
	require.NoError(f, f.store.VerifyDomain(f.Context(), domain.ID))
	domain.Status = models.DomainVerified
	_, err = f.store.GoLive(f.Context(), f.releases[0])
	require.NoError(f, err)
	require.NoError(f, f.store.ActivateDomain(f.Context(), domain))
	preview = models.PreviewName(f.releases[0].ID, "site") + ".localhost"
	longPreview = strings.TrimPrefix(f.releases[0].ID, "rel_")[:14] + "--site.localhost"
	for _, host := range []string{"site.localhost", "shop.example.com", preview, longPreview} {
		eventually(f.T, func() bool { return f.everywhere(host, "0") })
	}
	return preview, longPreview
}

func TestRename_movesEveryAddressAtOnceButTheDomains(t *testing.T) {
	f := newFleet(t, 1)
	preview, longPreview := f.live()
	name := "store"
	_, err := f.store.ChangeProject(t.Context(), f.owner.OrganizationID, f.project.ID, models.ProjectChange{WorkerName: &name}, nil)
	require.NoError(t, err)
	require.NoError(t, f.store.AwaitRoutes(t.Context(), f.project.ID))
	// Whoever has taken note of the new routes has forgotten the old name.
	require.True(t, f.everywhere("store.localhost", "0"))
	require.True(t, f.everywhere("shop.example.com", "0"))
	for _, gone := range []string{"site.localhost", preview, longPreview} {
		require.True(t, f.everywhere(gone, ""), gone)
	}
	require.True(t, f.everywhere(models.PreviewName(f.releases[0].ID, "store")+".localhost", "0"))
}

func TestDelete_isForgottenByEveryDispatcher(t *testing.T) {
	f := newFleet(t, 1)
	preview, longPreview := f.live()
	other, err := f.store.CreateProject(t.Context(), f.owner.OrganizationID, "other", "site-2")
	require.NoError(t, err)
	_, err = f.store.DeleteProject(t.Context(), f.owner.OrganizationID, f.project.ID, nil)
	require.NoError(t, err)
	for _, gone := range []string{"site.localhost", "shop.example.com", preview, longPreview} {
		eventually(t, func() bool { return f.everywhere(gone, "") })
	}
	_, err = f.store.Project(t.Context(), f.owner.OrganizationID, other.ID)
	require.NoError(t, err)
	_, err = f.store.DeleteProject(t.Context(), f.owner.OrganizationID, f.project.ID, nil)
	require.Equal(t, models.CodeProjectNotFound, models.CodeOf(err))
}
