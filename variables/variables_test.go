package variables_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/variables"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func newVault(t *testing.T) (*variables.Vault, *models.Store, models.Project) {
	t.Helper()
	store, err := models.OpenStore(models.StoreOptions{URL: modelstest.URL(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	owner, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	project, err := store.CreateProject(t.Context(), owner.OrganizationID, "site", "site")
	require.NoError(t, err)
	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	return variables.New(store, key), store, project
}

func TestVault_keepsNoValueInTheClear(t *testing.T) {
	vault, store, project := newVault(t)
	environment := models.Environment{"PLAIN": {Value: "visible-value"}, "SECRET": {Value: "hunter2", Secret: true}, "EMPTY": {}}
	require.NoError(t, vault.Set(t.Context(), project.ID, environment, nil))
	rows, err := store.Variables(t.Context(), project.ID)
	require.NoError(t, err)
	require.Len(t, rows, 3)
	for _, row := range rows {
		require.NotContains(t, string(row.Sealed), "hunter2")
		require.NotContains(t, string(row.Sealed), "visible-value")
	}
	got, err := vault.Of(t.Context(), project.ID)
	require.NoError(t, err)
	require.Equal(t, environment, got)

	require.NoError(t, vault.Set(t.Context(), project.ID, models.Environment{"PLAIN": {Value: "other"}}, []string{"SECRET", "ABSENT"}))
	got, err = vault.Of(t.Context(), project.ID)
	require.NoError(t, err)
	require.Equal(t, models.Environment{"PLAIN": {Value: "other"}, "EMPTY": {}}, got)
}

func TestVault_aValueMovedToAnotherNameDoesNotOpen(t *testing.T) {
	vault, store, project := newVault(t)
	require.NoError(t, vault.Set(t.Context(), project.ID, models.Environment{"SECRET": {Value: "hunter2", Secret: true}}, nil))
	rows, err := store.Variables(t.Context(), project.ID)
	require.NoError(t, err)
	rows[0].Name, rows[0].Secret = "SHOWN", false
	require.NoError(t, store.SetVariables(t.Context(), project.ID, rows, nil))
	_, err = vault.Of(t.Context(), project.ID)
	require.ErrorContains(t, err, "variable SHOWN")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestVault_refusesWhatNoWorkerCouldHave(t *testing.T) {
	vault, _, project := newVault(t)
	for name, value := range map[string]string{
		"": "x", "1A": "x", "A-B": "x", "A B": "x", "É": "x", strings.Repeat("A", 129): "x",
		"LONG": strings.Repeat("secret", 1000), "BINARY": "secret\xff",
	} {
		err := vault.Set(t.Context(), project.ID, models.Environment{name: {Value: value}}, nil)
		require.Equal(t, models.CodeValidation, models.CodeOf(err), name)
		require.NotContains(t, err.Error(), "secret")
	}
	many := models.Environment{}
	for i := range models.MaxVariables + 1 {
		many["V"+strings.Repeat("x", i%100)+string(rune('A'+i%26))+strings.Repeat("y", i/100)] = models.EnvironmentValue{}
	}
	require.Greater(t, len(many), models.MaxVariables)
	err := vault.Set(t.Context(), project.ID, many, nil)
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
	got, err := vault.Of(t.Context(), project.ID)
	require.NoError(t, err)
	require.Empty(t, got, "all or none")
}
