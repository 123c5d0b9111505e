package api_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// released gives the project a release whose every object is in blob storage.
func (g *gateway) released(n int) models.Release {
	g.Helper()
	ctx, scope := g.Context(), g.owner.OrganizationID
	put := func(content string) string {
		key, err := blob.PutBytes(ctx, g.blobs, scope, []byte(content))
		require.NoError(g, err)
		return key.Digest
	}
	page := fmt.Sprintf("<h1>release %d</h1>", n)
	set := models.FileSet{Files: []models.File{{Path: "index.html", Digest: put(page), Size: int64(len(page))}}, HistoryDigest: put("[]")}
	source, err := set.Encode()
	require.NoError(g, err)
	worker := models.WorkerBundle{Modules: []models.WorkerModule{{Name: "worker.js", Type: "esm", Digest: put(fmt.Sprintf("export default %d", n)), SourceMap: put("{}")}}}
	set.HistoryDigest, set.Worker = "", &worker
	output, err := set.Encode()
	require.NoError(g, err)
	builder, err := assets.NewBuilder(assets.Config{})
	require.NoError(g, err)
	require.NoError(g, builder.Add("/index.html", assets.File{Digest: put(page), Size: int64(len(page))}))
	manifest, err := builder.Build()
	require.NoError(g, err)
	encoded, err := manifest.Encode()
	require.NoError(g, err)
	bundle, err := worker.Encode()
	require.NoError(g, err)
	d := g.deploy(nil)
	require.NoError(g, g.store.AcceptSource(ctx, g.project.ID, d.ID, d.Sequence, put(string(source))))
	require.NoError(g, g.store.CloseLog(ctx, d.ID, put(fmt.Sprintf("log %d\n", n))))
	r, err := g.store.WriteRelease(ctx, models.Release{
		ProjectID: g.project.ID, OrganizationID: scope, DeploymentID: d.ID, Sequence: d.Sequence, SourceDigest: put(string(source)),
		OutputDigest: put(string(output)), ManifestDigest: put(string(encoded)), WorkerDigest: put(string(bundle)), Files: 1, Bytes: 10,
	})
	require.NoError(g, err)
	require.NoError(g, g.store.MarkChecked(ctx, r.ID))
	require.NoError(g, g.store.RecordStatus(ctx, models.Status{
		DeploymentID: d.ID, Status: models.StatusCompleted, Outcome: models.OutcomeSucceeded, ReleaseID: r.ID, Progress: 100, Version: 9, Timestamp: d.CreatedAt,
	}))
	return r
}

func TestTransfer_takesAProjectWithAllItNeedsToAnotherOrganization(t *testing.T) {
	g := newGateway(t)
	ctx := t.Context()
	var releases []models.Release
	for n := range models.MaxTransferReleases + 1 {
		releases = append(releases, g.released(n))
	}
	first := releases[0] // the oldest is live
	require.NoError(t, g.store.Rollback(ctx, first))
	domain := g.own(g.project, "shop.example.com")
	require.NoError(t, g.store.ActivateDomain(ctx, domain))
	own := models.KVNamespace{OrganizationID: g.owner.OrganizationID, Name: g.project.ID + "-CACHE"}
	require.NoError(t, g.store.KVPut(ctx, own, models.KVEntry{Key: "k", Value: []byte("v")}, 1<<20))
	g.do("PATCH", "/projects/"+g.project.ID+"/variables", map[string]any{"set": []any{map[string]any{"name": "A", "value": "b"}}, "deploy": false}).into(200, &api.VariablesAnswer{})
	_, limited, err := g.store.CreateToken(ctx, models.NewToken{OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "one", ProjectID: g.project.ID})
	require.NoError(t, err)
	buyer, buyersToken := g.newOwner("buyer@example.com")
	as := header{"Authorization": "Bearer " + buyersToken}

	path := "/projects/" + g.project.ID + "/transfer"
	body := map[string]any{"orgId": buyer.OrganizationID, "orgToken": buyersToken}
	g.do("POST", path, map[string]any{"orgId": g.owner.OrganizationID}).refuses("orgId", "has the project")
	g.do("POST", path, map[string]any{"orgId": buyer.OrganizationID}).failed(models.CodeForbidden)
	g.do("POST", path, map[string]any{"orgId": buyer.OrganizationID, "orgToken": g.token}).failed(models.CodeForbidden)
	g.do("POST", path, map[string]any{"orgId": "org_x", "orgToken": buyersToken}).failed(models.CodeOrganizationNotFound)
	_, weak, err := g.store.CreateToken(ctx, models.NewToken{OrganizationID: buyer.OrganizationID, UserID: buyer.UserID, Name: "weak", Scope: models.ScopeDeploy})
	require.NoError(t, err)
	g.do("POST", path, map[string]any{"orgId": buyer.OrganizationID, "orgToken": weak}).failed(models.CodeForbidden)
	g.do("POST", path, body, as).failed(models.CodeProjectNotFound)
	g.do("POST", path, body, header{"If-Match": `"1"`}).failed(models.CodePreconditionFailed)
	none := int64(0)
	require.NoError(t, g.store.SetQuotas(ctx, buyer.OrganizationID, models.QuotaChange{Projects: &none}))
	g.do("POST", path, body).failed(models.CodeQuotaExceeded)
	many := int64(10)
	require.NoError(t, g.store.SetQuotas(ctx, buyer.OrganizationID, models.QuotaChange{Projects: &many}))

	running := g.deploy(nil)
	g.do("POST", path, body).failed(models.CodeConflict)
	require.NoError(t, g.store.RecordStatus(ctx, models.Status{
		DeploymentID: running.ID, Status: models.StatusFailed, Outcome: models.OutcomeCanceled, Progress: 100, Version: 9, Timestamp: running.CreatedAt,
	}))

	// One of the older releases has lost an object; it is left behind.
	broken := releases[len(releases)-2]
	require.NoError(t, g.blobs.Delete(ctx, blob.Key{Scope: g.owner.OrganizationID, Digest: broken.WorkerDigest}))
	var moved api.Project
	g.do("POST", path, body).into(200, &moved)
	require.Equal(t, buyer.OrganizationID, moved.OrgID)
	require.Equal(t, first.ID, moved.LiveReleaseID)

	g.do("GET", "/projects/"+g.project.ID, nil).failed(models.CodeProjectNotFound)
	g.do("GET", "/projects", nil, header{"Authorization": "Bearer " + limited}).failed(models.CodeUnauthorized)
	var list api.ReleaseList
	g.do("GET", "/projects/"+g.project.ID+"/releases", nil, as).into(200, &list)
	require.Len(t, list.Items, models.MaxTransferReleases-1)
	for _, r := range list.Items {
		require.NotEqual(t, broken.ID, r.ID)
	}
	require.Equal(t, first.ID, list.Items[len(list.Items)-1].ID)
	route, err := g.store.Route(ctx, models.HostRouteKey("shop.example.com"))
	require.NoError(t, err)
	require.Equal(t, buyer.OrganizationID, route.OrganizationID)
	entry, err := g.store.KVGet(ctx, models.KVNamespace{OrganizationID: buyer.OrganizationID, Name: own.Name}, "k", 10)
	require.NoError(t, err)
	require.Equal(t, "v", string(entry.Value))
	_, err = g.store.KVGet(ctx, own, "k", 10)
	require.Equal(t, models.CodeNotFound, models.CodeOf(err))
	var variables api.VariableList
	g.do("GET", "/projects/"+g.project.ID+"/variables", nil, as).into(200, &variables)
	require.Equal(t, "b", *variables.Items[0].Value)
	require.Equal(t, "log 0\n", string(g.do("GET", "/deployments/"+first.DeploymentID+"/logs", nil, as, header{"Accept": "text/plain"}).body))

	// All that is left is in the scope of who has it now.
	require.NoError(t, g.blobs.List(ctx, g.owner.OrganizationID, "", func(o blob.Object) error { return g.blobs.Delete(ctx, o.Key) }))
	for _, r := range list.Items {
		row, err := g.store.Release(ctx, g.project.ID, r.ID)
		require.NoError(t, err)
		require.Equal(t, buyer.OrganizationID, row.OrganizationID)
		for _, digest := range []string{row.SourceDigest, row.OutputDigest, row.ManifestDigest, row.WorkerDigest} {
			_, err := g.blobs.Stat(ctx, blob.Key{Scope: buyer.OrganizationID, Digest: digest})
			require.NoError(t, err)
		}
	}
	source, err := g.store.BaseSource(ctx, g.project.ID, 1<<40)
	require.NoError(t, err)
	require.Equal(t, releases[len(releases)-1].SourceDigest, source)

	for _, side := range []struct {
		org string
		as  header
	}{{g.owner.OrganizationID, header{}}, {buyer.OrganizationID, as}} {
		var log api.AuditList
		g.do("GET", "/orgs/"+side.org+"/audit?action=transfer-project", nil, side.as).into(200, &log)
		require.NotEmpty(t, log.Items)
		require.Equal(t, models.AuditSucceeded, log.Items[0].Outcome)
		require.Equal(t, g.project.ID, log.Items[0].Targets["id"])
	}
}
