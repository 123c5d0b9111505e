package main

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

func TestQuota_changesWhatIsGivenAndShowsTheRest(t *testing.T) {
	url := pgtest.URL(t)
	t.Setenv("POSTGRES_URL", url)
	t.Setenv("SLIPWAY_DATA_DIR", t.TempDir())
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	defer store.Close()
	require.NoError(t, store.Migrate(t.Context()))
	owner, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)

	run := func(args ...string) (string, error) { return runCommand(t, quotaCommand(), args...) }
	said, err := run(owner.OrganizationID, "--projects", "7", "--storage-bytes", "0")
	require.NoError(t, err)
	require.Regexp(t, `projects +0 +7 +-`, said)
	require.Regexp(t, `storageBytes +0 +0 +-`, said)
	require.Regexp(t, `deployments +0 +1000 +\d{4}-\d\d-01`, said)
	_, err = run(owner.OrganizationID, "--projects", "-1")
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
	_, err = run("org_none")
	require.Equal(t, models.CodeOrganizationNotFound, models.CodeOf(err))
	said, err = run(owner.OrganizationID)
	require.NoError(t, err)
	require.Regexp(t, `projects +0 +7 +-`, said)
}

// runCommand gives what a command says to its user.
func runCommand(t *testing.T, cmd *cobra.Command, args ...string) (said string, err error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}
