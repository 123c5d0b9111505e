package models_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// Whoever renames in a loop keeps the latest names, and leaves others the rest.
func TestHeldNames_ofOneOrganizationAreBounded(t *testing.T) {
	store, owner, conn := openDatabase(t)
	ctx := t.Context()
	p, err := store.CreateProject(ctx, owner.OrganizationID, "Greedy", "greedy-0")
	require.NoError(t, err)
	rename := func(name string) error {
		_, err := store.ChangeProject(ctx, owner.OrganizationID, p.ID, models.ProjectChange{WorkerName: &name}, nil)
		return err
	}
	for i := range models.MaxHeldNames + 2 {
		require.NoError(t, rename(fmt.Sprintf("greedy-%d", i+1)))
	}
	var held int
	require.NoError(t, conn.QueryRow(ctx, "SELECT count(*) FROM retired_names WHERE organization_id = $1", owner.OrganizationID).Scan(&held))
	require.Equal(t, models.MaxHeldNames, held)
	other := newUser(t, store, "other@example.com")
	org, err := store.FoundOrganization(ctx, other.ID, "Other")
	require.NoError(t, err)
	_, err = store.CreateProject(ctx, org.ID, "First", "greedy-0")
	require.NoError(t, err, "the oldest is free again")
	_, err = store.CreateProject(ctx, org.ID, "Last", fmt.Sprintf("greedy-%d", models.MaxHeldNames+1))
	requireCode(t, models.CodeNameTaken, err)
}
