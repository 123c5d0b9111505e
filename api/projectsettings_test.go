package api_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func TestProject_isChangedOnlyAsItWasSeen(t *testing.T) {
	g := newGateway(t)
	path := "/projects/" + g.project.ID
	first := g.do("GET", path, nil)
	tag := first.header.Get("ETag")
	require.Regexp(t, `^"\d+"$`, tag)
	same := g.do("GET", path, nil, header{"If-None-Match": tag})
	require.Equal(t, 304, same.status)
	require.Empty(t, same.body)
	require.Equal(t, tag, same.header.Get("ETag"))

	var p api.Project
	changed := g.do("PATCH", path, map[string]any{"name": "  Cafe\u0301  "}, header{"If-Match": tag})
	changed.into(200, &p)
	require.Equal(t, "Café", p.Name)
	require.Equal(t, "shop", p.WorkerName)
	require.NotEqual(t, tag, changed.header.Get("ETag"))
	g.do("PATCH", path, map[string]any{"name": "Late"}, header{"If-Match": tag}).failed(models.CodePreconditionFailed)
	g.do("PATCH", path, map[string]any{"name": "Late"}, header{"If-Match": "W/" + changed.header.Get("ETag")}).failed(models.CodePreconditionFailed)
	g.do("PATCH", path, map[string]any{"name": "Late"}, header{"If-Match": "x"}).refuses("If-Match", "entity tag")
	require.Equal(t, 200, g.do("GET", path, nil, header{"If-None-Match": tag}).status)

	again := g.do("PATCH", path, map[string]any{"name": "Café"})
	again.into(200, &p)
	require.Equal(t, changed.header.Get("ETag"), again.header.Get("ETag"), "a change to what it is already is none")
	for _, name := range []string{"", " ", "a\u202Eb", "a\u200Bb", "a\nb", strings.Repeat("x", 101)} {
		g.do("PATCH", path, map[string]any{"name": name}).refuses("name", "")
	}
	g.do("PATCH", path, map[string]any{"name": "x", "orgId": "org_x"}).failed(models.CodeValidation)
}

func TestProject_isChangedOnceByManyWhoSawTheSame(t *testing.T) {
	g := newGateway(t)
	path := "/projects/" + g.project.ID
	tag := g.do("GET", path, nil).header.Get("ETag")
	var done sync.WaitGroup
	statuses := make([]int, 8)
	for i := range statuses {
		done.Go(func() {
			statuses[i] = g.do("PATCH", path, map[string]any{"name": strings.Repeat("n", i+1)}, header{"If-Match": tag}).status
		})
	}
	done.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	require.Equal(t, map[int]int{200: 1, 412: 7}, count)
}

func TestProject_renamedKeepsItsOldNameFromOthers(t *testing.T) {
	g := newGateway(t)
	path := "/projects/" + g.project.ID
	_, stranger := g.newOwner("stranger@example.com")
	as := header{"Authorization": "Bearer " + stranger}
	g.do("POST", "/projects", map[string]any{"name": "x", "workerName": "taken"}, as).into(201, &api.Project{})

	g.do("PATCH", path, map[string]any{"workerName": "taken"}).failed(models.CodeNameTaken)
	g.do("PATCH", path, map[string]any{"workerName": "admin"}).refuses("workerName", "reserved")
	g.do("PATCH", path, map[string]any{"workerName": "a--b"}).refuses("workerName", "hyphens")
	g.do("PATCH", path, map[string]any{"name": "No", "workerName": "a_b"}).refuses("workerName", "hyphens")
	var p api.Project
	g.do("PATCH", path, map[string]any{"workerName": "Store"}).into(200, &p)
	require.Equal(t, "store", p.WorkerName)
	require.Equal(t, "Shop", p.Name)
	require.Equal(t, "http://store.slipway.test/", p.URL)

	g.do("POST", "/projects", map[string]any{"name": "x", "workerName": "shop"}, as).failed(models.CodeNameTaken)
	g.do("POST", "/projects", map[string]any{"name": "x", "workerName": "store"}, as).failed(models.CodeNameTaken)
	g.do("PATCH", path, map[string]any{"workerName": "SHOP"}).into(200, &p)
	require.Equal(t, "shop", p.WorkerName)
	g.do("POST", "/projects", map[string]any{"name": "x", "workerName": "store"}).into(201, &p)
}

func TestProjects_areFoundByHowTheirNamesBegin(t *testing.T) {
	g := newGateway(t)
	for _, name := range []string{"Blog", "Bloom", "100% Wool"} {
		g.do("POST", "/projects", map[string]any{"name": name}).into(201, &api.Project{})
	}
	for query, want := range map[string]int{"blo": 2, "BLOG": 1, "shop": 1, "loom": 0, "%25": 0, "_": 0, "100%25": 1, "": 4} {
		var list api.ProjectList
		g.do("GET", "/projects?q="+query, nil).into(200, &list)
		require.Len(t, list.Items, want, query)
	}
}

func TestProject_deletedLeavesNothingBehind(t *testing.T) {
	g, _, _ := newTemporalGateway(t)
	other, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Other", "other")
	require.NoError(t, err)
	g.furnish(g.project, "shop.example.com")
	g.furnish(other, "other.example.com")
	names, othersNames := g.namesOf(g.project), g.namesOf(other)
	before := g.rowsOf(other, othersNames...)

	path := "/projects/" + g.project.ID
	g.do("DELETE", path, nil).refuses("confirm", "required")
	g.do("DELETE", path+"?confirm=other", nil).refuses("confirm", "worker name, shop")
	g.do("DELETE", path+"?confirm=shop", nil, header{"If-Match": `"99"`}).failed(models.CodePreconditionFailed)
	require.Greater(t, len(g.rowsOf(g.project, names...)), 12)
	a := g.do("DELETE", path+"?confirm=Shop", nil)
	require.Equal(t, 204, a.status, "%s", a.body)
	require.Empty(t, g.rowsOf(g.project, names...))
	require.Equal(t, before, g.rowsOf(other, othersNames...))
	g.do("DELETE", path+"?confirm=shop", nil).failed(models.CodeProjectNotFound)
	g.do("GET", path, nil).failed(models.CodeProjectNotFound)
}

// furnish gives a project one of everything that a project can own.
func (g *gateway) furnish(p models.Project, host string) {
	g.Helper()
	ctx := g.Context()
	g.do("POST", "/deploy", g.deployBody(map[string]any{"projectId": p.ID}), header{"Idempotency-Key": p.ID}).into(200, &api.DeployAnswer{})
	var list api.DeploymentList
	g.do("GET", "/deployments?projectId="+p.ID, nil).into(200, &list)
	d := list.Items[0]
	require.NoError(g, g.store.AppendLog(ctx, models.LogChunk{DeploymentID: d.ID, FirstLine: 1, Lines: []string{"hello"}}))
	release, err := g.store.WriteRelease(ctx, models.Release{ProjectID: p.ID, OrganizationID: p.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence, ManifestDigest: "m"})
	require.NoError(g, err)
	require.NoError(g, g.store.MarkChecked(ctx, release.ID))
	domain := g.own(p, host)
	live, err := g.store.GoLive(ctx, release)
	require.NoError(g, err)
	require.True(g, live)
	require.NoError(g, g.store.ActivateDomain(ctx, domain))
	_, err = g.store.AddDomain(ctx, p, "pending."+host)
	require.NoError(g, err)
	require.NoError(g, g.store.PutCertificateValue(ctx, "certificates/ca/"+host+"/"+host+".key", []byte("x"), 1))
	require.NoError(g, g.store.AppendWorkerLog(ctx, []models.WorkerLogRow{{ProjectID: p.ID, ReleaseID: release.ID, Line: []byte(`{}`)}}))
	require.NoError(g, g.store.KVPut(ctx, models.KVNamespace{OrganizationID: p.OrganizationID, Name: p.ID + "-CACHE"}, models.KVEntry{Key: "k", Value: []byte("v")}, 1<<20))
	require.NoError(g, g.store.AddReleaseCounts(ctx, []models.ReleaseCount{{ReleaseID: release.ID, Requests: 1}}))
	g.do("PATCH", "/projects/"+p.ID+"/variables", map[string]any{"set": []any{map[string]any{"name": "A", "value": "b"}}, "deploy": false}).into(200, &api.VariablesAnswer{})
	_, _, err = g.store.CreateToken(ctx, models.NewToken{OrganizationID: p.OrganizationID, UserID: g.owner.UserID, Name: "one", ProjectID: p.ID})
	require.NoError(g, err)
	second := g.deploy(map[string]any{"projectId": p.ID})
	next, err := g.store.WriteRelease(ctx, models.Release{ProjectID: p.ID, OrganizationID: p.OrganizationID, DeploymentID: second.ID, Sequence: second.Sequence, ManifestDigest: "n"})
	require.NoError(g, err)
	_, err = g.store.CreateRollout(ctx, models.RolloutInput{RolloutID: models.NewID(models.PrefixRollout), ProjectID: p.ID, OrgID: p.OrganizationID, ReleaseID: next.ID, BaseReleaseID: release.ID}, g.owner.UserID)
	require.NoError(g, err)
}

// namesOf are the ids and hosts of what a project owns.
func (g *gateway) namesOf(p models.Project) []string {
	g.Helper()
	conn, err := pgx.Connect(g.Context(), g.databaseURL)
	require.NoError(g, err)
	defer conn.Close(g.Context())
	rows, err := conn.Query(g.Context(), `SELECT id FROM deployments WHERE project_id = $1 UNION ALL SELECT id FROM releases WHERE project_id = $1
		UNION ALL SELECT id FROM rollouts WHERE project_id = $1 UNION ALL SELECT host::text FROM domains WHERE project_id = $1`, p.ID)
	require.NoError(g, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(g, err)
	return names
}

// rowsOf counts the rows of every table that mention a project: it or something
// of its, anywhere in them. What was done stays in the audit log, and what was
// used of a quota in its reservation.
func (g *gateway) rowsOf(p models.Project, known ...string) map[string]int {
	g.Helper()
	conn, err := pgx.Connect(g.Context(), g.databaseURL)
	require.NoError(g, err)
	defer conn.Close(g.Context())
	names := append([]string{p.ID}, known...)
	rows, err := conn.Query(g.Context(), `SELECT table_name::text FROM information_schema.tables
		WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name NOT IN ('audit_log', 'quota_reservations')`)
	require.NoError(g, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(g, err)
	require.Greater(g, len(tables), 20)
	found := map[string]int{}
	for _, table := range tables {
		for _, name := range names {
			var n int
			require.NoError(g, conn.QueryRow(g.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()+" t WHERE t::text LIKE '%' || $1 || '%'", name).Scan(&n))
			if n > 0 {
				found[table] += n
			}
		}
	}
	return found
}

func TestProject_deletedStopsItsWorkflows(t *testing.T) {
	g, c, queue := newTemporalGateway(t)
	var broken atomic.Bool
	broken.Store(true)
	w := runWorker(g, c, queue, &broken)
	defer w.Stop()
	parked := g.deploy(nil)
	g.await(parked.ID, func(st models.Status) bool { return st.Outcome == models.OutcomeDeadLetter })
	broken.Store(false)
	running := g.deploy(nil)
	g.await(running.ID, func(st models.Status) bool { return st.Steps.Validate.Status == models.StepInProgress })

	a := g.do("DELETE", "/projects/"+g.project.ID+"?confirm=shop", nil)
	require.Equal(t, 204, a.status, "%s", a.body)
	for _, id := range []string{parked.ID, running.ID} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := c.GetWorkflow(ctx, id, "").Get(ctx, nil)
		require.NoError(t, ctx.Err(), "the workflow of %s goes on", id)
		require.Error(t, err) // canceled
		g.do("GET", "/deployments/"+id, nil).failed(models.CodeDeploymentNotFound)
	}
}

func TestProject_isNotDeletedWhenItsWorkCannotBeStopped(t *testing.T) {
	g := newGateway(t) // its Temporal is not there
	g.deploy(nil)
	g.do("DELETE", "/projects/"+g.project.ID+"?confirm=shop", nil).failed(models.CodeQueue)
	require.Equal(t, 200, g.do("GET", "/projects/"+g.project.ID, nil).status)
}

func TestOrganization_isChangedOnlyAsItWasSeen(t *testing.T) {
	g := newGateway(t)
	path := "/orgs/" + g.owner.OrganizationID
	tag := g.do("GET", path, nil).header.Get("ETag")
	require.Equal(t, `"1-owner"`, tag)
	require.Equal(t, 304, g.do("GET", path, nil, header{"If-None-Match": tag}).status)
	g.deploy(nil)
	require.Equal(t, tag, g.do("GET", path, nil).header.Get("ETag"), "counts are not shown here")
	var org api.Organization
	changed := g.do("PATCH", path, map[string]any{"name": "Acme"}, header{"If-Match": tag})
	changed.into(200, &org)
	require.Equal(t, "Acme", org.Name)
	require.Equal(t, `"2-owner"`, changed.header.Get("ETag"))
	g.do("PATCH", path, map[string]any{"name": "Late"}, header{"If-Match": tag}).failed(models.CodePreconditionFailed)
	g.do("PATCH", path, map[string]any{"name": "Late"}, header{"If-Match": `"x"`}).failed(models.CodePreconditionFailed)
	g.do("PATCH", path, map[string]any{"name": "Late"}).into(200, &org)
}
