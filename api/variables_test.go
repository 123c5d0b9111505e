package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func (g *gateway) changeVariables(body map[string]any) answer {
	g.Helper()
	return g.do("PATCH", "/projects/"+g.project.ID+"/variables", body)
}

func variable(name, value string, secret bool) map[string]any {
	return map[string]any{"name": name, "value": value, "secret": secret}
}

func TestVariables_secretsAreNeverReturned(t *testing.T) {
	g := newGateway(t)
	a := g.changeVariables(map[string]any{"set": []any{variable("PLAIN", "shown", false), variable("API_KEY", "hunter2", true)}})
	var changed api.VariablesAnswer
	a.into(200, &changed)
	require.Empty(t, changed.DeploymentID, "nothing is live yet")
	require.NotContains(t, string(a.body), "hunter2")
	a = g.do("GET", "/projects/"+g.project.ID+"/variables", nil)
	var listed api.VariableList
	a.into(200, &listed)
	require.NotContains(t, string(a.body), "hunter2")
	require.Len(t, listed.Items, 2)
	require.Equal(t, "API_KEY", listed.Items[0].Name)
	require.True(t, listed.Items[0].Secret)
	require.Nil(t, listed.Items[0].Value)
	require.Equal(t, "shown", *listed.Items[1].Value)
	require.NotContains(t, g.log.String(), "hunter2")
}

func TestVariables_aChangeMakesANewReleaseOfWhatIsLive(t *testing.T) {
	g := newGateway(t)
	live := g.goLive(g.deploy(nil))
	var changed api.VariablesAnswer
	g.changeVariables(map[string]any{"set": []any{variable("A", "1", false)}}).into(200, &changed)
	row, err := g.store.Deployment(t.Context(), changed.DeploymentID)
	require.NoError(t, err)
	var input models.DeploymentInput
	require.NoError(t, json.Unmarshal(row.Input, &input))
	require.Equal(t, live.ID, input.FromReleaseID)
	require.Empty(t, input.RequestDigest)
	started := g.startedWorkflows()
	require.Equal(t, changed.DeploymentID, started[len(started)-1].ID)

	changed = api.VariablesAnswer{}
	g.changeVariables(map[string]any{"remove": []string{"A"}, "deploy": false}).into(200, &changed)
	require.Empty(t, changed.DeploymentID)
	require.Empty(t, changed.Items)
	require.Len(t, g.startedWorkflows(), len(started))
}

func TestVariables_refuseBadOnesWithoutRepeatingValues(t *testing.T) {
	g := newGateway(t)
	for name, body := range map[string]map[string]any{
		"nothing":       {},
		"a bad name":    {"set": []any{variable("1A", "hunter2", true)}},
		"a lost name":   {"set": []any{variable("__proto__", "hunter2", false)}},
		"a long value":  {"set": []any{variable("A", strings.Repeat("hunter2", 1000), true)}},
		"twice":         {"set": []any{variable("A", "hunter2", true), variable("A", "b", true)}},
		"set and unset": {"set": []any{variable("A", "hunter2", true)}, "remove": []string{"A"}},
		"not text":      {"set": []any{map[string]any{"name": "A", "value": []string{"hunter2"}}}},
		"unknown field": {"set": []any{map[string]any{"name": "A", "value": "hunter2", "secrte": true}}},
	} {
		a := g.changeVariables(body)
		a.failed(models.CodeValidation)
		require.NotContains(t, string(a.body), "hunter2", name)
	}
	g.changeVariables(map[string]any{"set": []any{variable("A", "hunter2", true), variable("1A", "hunter2", true)}}).refuses("set[1]", "starts with a letter")
	require.NotContains(t, g.log.String(), "hunter2")
	other, _ := g.newOwner("stranger@example.com")
	foreign, err := g.store.CreateProject(t.Context(), other.OrganizationID, "Other", "other")
	require.NoError(t, err)
	g.do("GET", "/projects/"+foreign.ID+"/variables", nil).failed(models.CodeProjectNotFound)
	g.do("PATCH", "/projects/"+foreign.ID+"/variables", map[string]any{"set": []any{variable("A", "1", false)}}).failed(models.CodeProjectNotFound)
}
