package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// gets lists the paths of the document that answer GET, with ids of this gateway in
// them, those of people's own routes aside.
func (g *gateway) gets() (paths []string) {
	g.Helper()
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	g.do("GET", "/openapi.json", nil).into(200, &document)
	for path, operations := range document.Paths {
		if _, ok := operations["get"]; ok && !strings.HasPrefix(path, "/api/auth/") {
			path = strings.ReplaceAll(path, "/projects/{id}", "/projects/"+g.project.ID)
			paths = append(paths, strings.ReplaceAll(path, "{orgId}", g.project.OrganizationID))
		}
	}
	require.Greater(g, len(paths), 20)
	return slices.Sorted(slices.Values(paths))
}

// HEAD was answered 405 wherever nobody had thought of it.
func TestHead_isAnsweredWhereGetIs(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	g.goLive(row)
	for _, path := range g.gets() {
		path = strings.ReplaceAll(path, "/deployments/{id}", "/deployments/"+row.ID)
		head := g.do("HEAD", path, nil) // which has to end, streams among them
		require.NotEqual(t, http.StatusMethodNotAllowed, head.status, path)
		require.Empty(t, head.body, path)
		if strings.HasSuffix(path, "/stream") || path == "/events" {
			require.Equal(t, http.StatusOK, head.status, path)
			require.Equal(t, "text/event-stream", head.header.Get("Content-Type"), path)
			continue
		}
		get := g.do("GET", path, nil)
		require.Equal(t, get.status, head.status, path)
		require.Equal(t, get.header.Get("Content-Type"), head.header.Get("Content-Type"), path)
	}
	require.True(t, strings.Contains(g.log.String(), `"method":"HEAD"`), "the log says what was asked")
}

func TestHead_isNobodyElsesThanGetIs(t *testing.T) {
	g := newGateway(t)
	for _, as := range []header{{"Authorization": ""}, {"Authorization": "Bearer no"}} {
		require.Equal(t, http.StatusUnauthorized, g.do("HEAD", "/projects", nil, as).status)
		require.Equal(t, http.StatusUnauthorized, g.do("HEAD", "/events", nil, as).status)
	}
	require.Equal(t, http.StatusNotFound, g.do("HEAD", "/projects/"+models.NewID(models.PrefixProject), nil).status)
	require.Equal(t, http.StatusNotFound, g.do("HEAD", "/nothing", nil).status)
	refused := g.do("HEAD", "/deploy", nil)
	require.Equal(t, http.StatusMethodNotAllowed, refused.status)
	require.Equal(t, "POST", refused.header.Get("Allow"))
	g.do("PUT", "/me", nil).failed(models.CodeMethodNotAllowed)
	require.Equal(t, "GET, HEAD", g.do("PUT", "/me", nil).header.Get("Allow"))
}
