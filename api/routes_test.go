package api_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// goLive writes a release of a deployment and makes it live.
func (g *gateway) goLive(row models.Deployment) models.Release {
	g.Helper()
	r := g.writeRelease(row)
	live, err := g.store.GoLive(g.Context(), r)
	require.NoError(g, err)
	require.True(g, live)
	return r
}

// writeRelease makes a deployment's release.
func (g *gateway) writeRelease(row models.Deployment) models.Release {
	g.Helper()
	r, err := g.store.WriteRelease(g.Context(), models.Release{
		ProjectID: row.ProjectID, OrganizationID: row.OrganizationID, DeploymentID: row.ID, Sequence: row.Sequence,
		ManifestDigest: strings.Repeat("a", 64), Files: 1, Bytes: 2, Framework: "vite",
	})
	require.NoError(g, err)
	require.NoError(g, g.store.MarkChecked(g.Context(), r.ID))
	return r
}

// record puts a status on the row, as the workflow does.
func (g *gateway) record(id string, version int64, change func(*models.Status)) {
	g.Helper()
	st := models.QueuedStatus(id, time.Now().UTC())
	st.Version = version
	change(&st)
	require.NoError(g, g.store.RecordStatus(g.Context(), st))
}

func succeeded(st *models.Status) {
	st.Status, st.Outcome, st.Progress, st.URL = models.StatusCompleted, models.OutcomeSucceeded, models.ProgressDone, "http://shop.slipway.test/"
}

func parked(st *models.Status) {
	st.Status, st.Outcome, st.CurrentStep, st.Error, st.ErrorCode = models.StatusFailed, models.OutcomeDeadLetter, models.StepDeploy, "disk full", models.CodeStorage
}

func TestStatus_timesAreAsPreciseAsAllOthers(t *testing.T) {
	g := newGateway(t)
	id := g.deploy(nil).ID
	g.record(id, 2, func(st *models.Status) {
		at := time.Date(2025, 7, 22, 10, 30, 0, 123_456_789, time.FixedZone("", 7200))
		st.Timestamp, st.Steps.Build.StartedAt, st.Steps.Cleanup.Timestamp = at, &at, &at
		succeeded(st)
	})
	for _, path := range []string{"/deploy-status?id=" + id, "/deployments/" + id, "/deployments/" + id + "/logs/stream"} {
		body := string(g.do("GET", path, nil).body)
		require.Contains(t, body, `"2025-07-22T08:30:00.123Z"`, path)
		require.NotRegexp(t, `:00\.\d{4,}|[+-]\d\d:\d\d"`, body, path)
	}
}

func TestProjects_areMadeReadAndListed(t *testing.T) {
	g := newGateway(t)
	a := g.do("POST", "/projects", map[string]any{"name": "  Crème & Brûlée 2 ", "workerName": "My-Shop"})
	var made api.Project
	a.into(201, &made)
	require.Equal(t, "/projects/"+made.ID, a.header.Get("Location"))
	require.Equal(t, "Crème & Brûlée 2", made.Name)
	require.Equal(t, "my-shop", made.WorkerName)
	require.Equal(t, "http://my-shop.slipway.test/", made.URL)

	var read api.Project
	g.do("GET", "/projects/"+made.ID, nil).into(200, &read)
	require.Equal(t, made, read)

	g.do("POST", "/projects", map[string]any{"name": "x", "workerName": "my-shop"}).failed(models.CodeNameTaken)
	for name, message := range map[string]string{
		"admin": "reserved", "-a": "hyphen", "a--b": "two hyphens", strings.Repeat("a", 41): "40", "a_b": "letters, numbers",
	} {
		g.do("POST", "/projects", map[string]any{"name": "x", "workerName": name}).refuses("workerName", message)
	}
	for _, name := range []string{"", "   ", "a\x00b", "a\nb", strings.Repeat("x", 101)} {
		g.do("POST", "/projects", map[string]any{"name": name}).refuses("name", "")
	}
}

func TestProjects_workerNameIsMadeFromTheName(t *testing.T) {
	g := newGateway(t)
	for name, pattern := range map[string]string{
		"Hello, World!":            `^hello-world$`,
		"Shop":                     `^shop-[0-9a-f]{8}$`, // taken
		"Admin":                    `^admin-[0-9a-f]{8}$`,
		"日本":                       `^[0-9a-f]{8}$`,
		strings.Repeat("abc ", 20): `^(abc-){7}abc$`,
	} {
		var made api.Project
		g.do("POST", "/projects", map[string]any{"name": name}).into(201, &made)
		require.Regexp(t, pattern, made.WorkerName, name)
	}
}

// outOfRange is a cursor with a key that no answer has.
func outOfRange(key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("2:" + key + ":dep_aaaaaaaaaaaaaaaaaaaaaaaaaa"))
}

// Whoever removes what a page lists before turning it would take the empty page
// that follows for the end of the list.
func TestLists_goOnAfterAnItemThatIsGone(t *testing.T) {
	g := newGateway(t)
	confirm := map[string]string{}
	for _, name := range []string{"one", "two", "three"} {
		var project api.Project
		g.do("POST", "/projects", map[string]any{"name": name}).into(201, &project)
		confirm[project.ID] = "?confirm=" + project.WorkerName
		var hook api.NewWebhook
		g.do("POST", "/webhooks", map[string]any{"url": "https://example.com/" + name}).into(201, &hook)
	}
	confirm[g.project.ID] = "?confirm=" + g.project.WorkerName
	for list, want := range map[string]int{"/projects": 4, "/webhooks": 3} {
		removed, cursor := 0, ""
		for {
			var page struct {
				Items      []struct{ ID string }
				NextCursor string
			}
			g.do("GET", list+"?limit=2&cursor="+cursor, nil).into(200, &page)
			for _, item := range page.Items {
				removed++
				require.Equal(t, 204, g.do("DELETE", list+"/"+item.ID+confirm[item.ID], nil).status)
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		require.Equal(t, want, removed, list)
	}
}

func TestLists_pageByCursorWithoutLossOrRepeat(t *testing.T) {
	g := newGateway(t)
	want := map[string]bool{}
	for range 5 {
		want[g.deploy(nil).ID] = true
	}
	got := map[string]bool{}
	path := "/deployments?limit=2&projectId=" + g.project.ID
	pages := 0

	for next := ""; ; pages++ {
		var list api.DeploymentList // a new one: the last page has no nextCursor
		g.do("GET", path+"&cursor="+next, nil).into(200, &list)
		for _, d := range list.Items {
			require.False(t, got[d.ID], "repeated")
			got[d.ID] = true
		}
		if next = list.NextCursor; next == "" {
			break
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, 2, pages)

	var none api.DeploymentList
	g.do("GET", "/dead-letters", nil).into(200, &none)
	require.NotNil(t, none.Items)
	require.Empty(t, none.Items)

	var projects api.ProjectList
	g.do("GET", "/projects", nil).into(200, &projects)
	require.Len(t, projects.Items, 1)

	for _, cursor := range []string{"x", "MTpwcmpfYQ", "%00", strings.Repeat("a", 129), "Mjox", outOfRange("-1"), outOfRange("9223372036854775807"), outOfRange("1e3")} {
		g.do("GET", "/deployments?cursor="+cursor, nil).refuses("cursor", "")
	}
	for _, limit := range []string{"0", "101", "-1", "x"} {
		g.do("GET", "/projects?limit="+limit, nil).refuses("limit", "")
	}
	g.do("GET", "/deployments?projectId=prj_x", nil).failed(models.CodeProjectNotFound)
}

func TestReads_nothingOfAnotherOrganizationIsFound(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	g.goLive(row)
	_, stranger := g.newOwner("stranger@example.com")
	as := header{"Authorization": "Bearer " + stranger}
	for _, path := range []string{"/deployments/" + row.ID, "/deployments/" + row.ID + "/logs", "/deployments/" + row.ID + "/logs/stream"} {
		g.do("GET", path, nil, as).failed(models.CodeDeploymentNotFound)
	}
	for _, action := range []string{"retry", "abandon", "cancel"} {
		g.do("POST", "/deployments/"+row.ID+"/"+action, nil, as).failed(models.CodeDeploymentNotFound)
	}
	g.do("GET", "/projects/"+g.project.ID, nil, as).failed(models.CodeProjectNotFound)
	g.do("GET", "/projects/"+g.project.ID+"/releases", nil, as).failed(models.CodeProjectNotFound)
	g.do("POST", "/projects/"+g.project.ID+"/rollback", nil, as).failed(models.CodeProjectNotFound)
	g.do("GET", "/deployments?projectId="+g.project.ID, nil, as).failed(models.CodeProjectNotFound)
	var list api.DeploymentList
	g.do("GET", "/deployments", nil, as).into(200, &list)
	require.Empty(t, list.Items)
}

func TestDeadLetters_listParkedDeploymentsWithTheirCause(t *testing.T) {
	g := newGateway(t)
	g.deploy(nil)
	row := g.deploy(nil)
	g.record(row.ID, 3, parked)
	var list api.DeploymentList
	g.do("GET", "/dead-letters", nil).into(200, &list)
	require.Len(t, list.Items, 1)
	require.Equal(t, row.ID, list.Items[0].ID)
	require.Equal(t, models.StepDeploy, list.Items[0].CurrentStep)
	require.Equal(t, "disk full", list.Items[0].Error)
	require.Equal(t, models.CodeStorage, list.Items[0].ErrorCode)
}

func TestRollback_goesBackToTheReleaseBeforeOrToTheOneAskedFor(t *testing.T) {
	g := newGateway(t)
	path := "/projects/" + g.project.ID + "/rollback"
	g.do("POST", path, nil).failed(models.CodeReleaseNotFound)
	first := g.goLive(g.deploy(nil))
	g.do("POST", path, nil).failed(models.CodeReleaseNotFound)
	second := g.goLive(g.deploy(nil))
	third := g.goLive(g.deploy(nil))

	var back api.RollbackAnswer
	g.do("POST", path, nil).into(200, &back)
	require.Equal(t, second.ID, back.ReleaseID)
	require.Equal(t, third.ID, back.PreviousReleaseID)
	require.Equal(t, "http://shop.slipway.test/", back.URL)
	g.do("POST", path, map[string]any{}).into(200, &back)
	require.Equal(t, first.ID, back.ReleaseID)
	g.do("POST", path, map[string]any{"releaseId": third.ID}).into(200, &back)
	require.Equal(t, third.ID, back.ReleaseID)
	for _, id := range []string{models.NewID(models.PrefixRelease), "x", "a\x00"} {
		g.do("POST", path, map[string]any{"releaseId": id}).failed(models.CodeReleaseNotFound)
	}
	g.do("POST", path, `"x"`).failed(models.CodeValidation)

	// A preview that was live for nobody was taken for the release before.
	preview := g.deploy(map[string]any{"preview": true})
	g.writeRelease(preview)
	passed := g.deploy(nil)
	g.writeRelease(passed)
	g.record(passed.ID, 1, func(st *models.Status) { succeeded(st); st.Outcome = models.OutcomeSuperseded })
	fourth := g.goLive(g.deploy(nil))
	g.do("POST", path, nil).into(200, &back)
	require.Equal(t, fourth.ID, back.PreviousReleaseID)
	require.Equal(t, third.ID, back.ReleaseID)
}

// A deployment that a newer one was ahead of had its release checked, and had not
// yet found out that it would not go live, when somebody rolled back.
func TestRollback_passesOverAReleaseThatIsCheckedAndNotLive(t *testing.T) {
	g := newGateway(t)
	first := g.goLive(g.deploy(nil))
	slow := g.deploy(nil)
	newest := g.goLive(g.deploy(nil))
	checked := g.writeRelease(slow)
	var back api.RollbackAnswer
	g.do("POST", "/projects/"+g.project.ID+"/rollback", nil).into(200, &back)
	require.Equal(t, newest.ID, back.PreviousReleaseID)
	require.Equal(t, first.ID, back.ReleaseID)

	// What was brought live by name was live.
	g.do("POST", "/projects/"+g.project.ID+"/rollback", map[string]any{"releaseId": checked.ID}).into(200, &back)
	g.do("POST", "/projects/"+g.project.ID+"/rollback", map[string]any{"releaseId": newest.ID}).into(200, &back)
	g.do("POST", "/projects/"+g.project.ID+"/rollback", nil).into(200, &back)
	require.Equal(t, checked.ID, back.ReleaseID)
}

func TestReleases_areListedNewestFirst(t *testing.T) {
	g := newGateway(t)
	first := g.goLive(g.deploy(nil))
	g.goLive(g.deploy(nil))
	third := g.goLive(g.deploy(nil))
	var list api.ReleaseList
	g.do("GET", "/projects/"+g.project.ID+"/releases?limit=2", nil).into(200, &list)
	require.Len(t, list.Items, 2)
	require.Equal(t, third.ID, list.Items[0].ID)
	require.True(t, list.Items[0].Live)
	require.False(t, list.Items[1].Live)
	var last api.ReleaseList
	g.do("GET", "/projects/"+g.project.ID+"/releases?cursor="+list.NextCursor, nil).into(200, &last)
	require.Len(t, last.Items, 1)
	require.Equal(t, first.ID, last.Items[0].ID)
	require.Empty(t, last.NextCursor)
}

func TestStatus_isTheRowsMarkedStaleWhenNoWorkerAnswers(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	begin := time.Now()
	var st models.Status
	g.do("GET", "/deploy-status?id="+row.ID, nil, header{"Authorization": ""}).into(200, &st)
	require.Less(t, time.Since(begin), patience)
	require.True(t, st.Stale)
	require.Equal(t, models.StatusQueued, st.Status)
	require.Equal(t, models.StepPending, st.Steps.Cleanup.Status)

	var detail api.DeploymentDetail
	g.do("GET", "/deployments/"+row.ID, nil).into(200, &detail)
	require.True(t, detail.Stale)
	require.Equal(t, row.ID, detail.ID)
	require.Equal(t, int64(1), detail.Sequence)
}

func TestStatus_ofAFinalDeploymentIsTheRowsAndNotStale(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	g.record(row.ID, 9, succeeded)
	a := g.do("GET", "/deploy-status?id="+row.ID, nil)
	var st models.Status
	a.into(200, &st)
	require.False(t, st.Stale)
	require.Equal(t, models.StatusCompleted, st.Status)
	require.Equal(t, 100, st.Progress)
	for _, field := range []string{"deploymentId", "status", "progress", "steps", "logs", "timestamp"} {
		require.Contains(t, a.fields(), field)
	}
	require.Len(t, a.fields()["steps"], 6)

	var detail api.DeploymentDetail
	g.do("GET", "/deployments/"+row.ID, nil).into(200, &detail)
	require.Equal(t, "http://shop.slipway.test/", detail.URL)
	require.NotNil(t, detail.FinishedAt)
}

func TestStatus_ofAnUnknownIdIsNotFound(t *testing.T) {
	g := newGateway(t)
	for _, id := range []string{models.NewID(models.PrefixDeployment), "x", "%00"} {
		g.do("GET", "/deploy-status?id="+id, nil).failed(models.CodeDeploymentNotFound)
	}
	g.do("GET", "/deploy-status", nil).refuses("id", "required")
	g.do("GET", "/deploy-status?id="+strings.Repeat("x", 65), nil).refuses("id", "64")
}

func TestActions_onAnEndedDeploymentAreAConflict(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	g.record(row.ID, 9, succeeded)
	g.do("POST", "/deployments/"+row.ID+"/retry", nil).failed(models.CodeNotParked)
	g.do("POST", "/deployments/"+row.ID+"/abandon", map[string]any{}).failed(models.CodeNotParked)
	g.do("POST", "/deployments/"+row.ID+"/cancel", map[string]any{"reason": "mistake"}).failed(models.CodeNotRunning)
	g.do("POST", "/deployments/"+row.ID+"/cancel", map[string]any{"reason": "a\x00b"}).refuses("reason", "one line")
	g.do("POST", "/deployments/"+models.NewID(models.PrefixDeployment)+"/cancel", nil).failed(models.CodeDeploymentNotFound)
}

func TestBlobs_areNamedMissingUntilUploaded(t *testing.T) {
	g := newGateway(t)
	content := []byte("a file")
	digest, other := blob.Digest(content), blob.Digest([]byte("other"))
	ask := func() []string {
		var got api.MissingAnswer
		g.do("POST", "/blobs/missing", map[string]any{"sha256": []string{digest, other, digest}}).into(200, &got)
		return got.Missing
	}
	require.Equal(t, []string{digest, other}, ask())
	var stored api.Blob
	for range 2 { // the second finds it there
		g.do("PUT", "/blobs/"+digest, content).into(200, &stored)
		require.Equal(t, api.Blob{SHA256: digest, Size: int64(len(content))}, stored)
	}
	require.Equal(t, []string{other}, ask())
	require.Equal(t, "a file", g.content(digest))

	_, stranger := g.newOwner("stranger@example.com")
	var theirs api.MissingAnswer
	g.do("POST", "/blobs/missing", map[string]any{"sha256": []string{digest}}, header{"Authorization": "Bearer " + stranger}).into(200, &theirs)
	require.Equal(t, []string{digest}, theirs.Missing)

	var none api.MissingAnswer
	g.do("POST", "/blobs/missing", map[string]any{"sha256": []string{}}).into(200, &none)
	require.NotNil(t, none.Missing)
}

func TestBlobs_wrongUploadsAreRefused(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Limits = api.Limits{FileBytes: 1000, Files: 2} })
	g.do("PUT", "/blobs/"+blob.Digest([]byte("x")), []byte("y")).failed(models.CodeDigestMismatch)
	g.do("PUT", "/blobs/abc", []byte("y")).refuses("sha256", "64")
	g.do("PUT", "/blobs/"+strings.Repeat("A", 64), []byte("y")).refuses("sha256", "64")
	big := []byte(strings.Repeat("x", 1001))
	g.do("PUT", "/blobs/"+blob.Digest(big), big).failed(models.CodeTooLarge)
	g.do("PUT", "/blobs/"+blob.Digest(big), struct{ *strings.Reader }{strings.NewReader(string(big))}).failed(models.CodeTooLarge)
	require.Equal(t, 200, g.do("PUT", "/blobs/"+blob.Digest(big[1:]), big[1:]).status)
	require.Equal(t, 200, g.do("PUT", "/blobs/"+blob.Digest(nil), nil).status)

	d := strings.Repeat("a", 64)
	g.do("POST", "/blobs/missing", map[string]any{"sha256": []string{d, "b"}}).refuses("sha256[1]", "64")
	g.do("POST", "/blobs/missing", map[string]any{"sha256": []string{d, d, d}}).failed(models.CodeTooLarge)
	g.do("POST", "/blobs/missing", map[string]any{}).refuses("sha256", "required")
}

func TestHealth_saysWhichDependencyIsDown(t *testing.T) {
	g := newGateway(t)
	begin := time.Now()
	a := g.do("GET", "/health", nil, header{"Authorization": ""})
	require.Less(t, time.Since(begin), patience)
	require.Equal(t, 503, a.status)
	fields := a.fields()
	require.Equal(t, "unhealthy", fields["status"])
	require.Equal(t, map[string]any{"database": "healthy", "queue": "unhealthy", "storage": "healthy"}, fields["checks"])
	require.Equal(t, "1.2.3", fields["version"])
	require.IsType(t, 0.0, fields["uptime"])
	require.Len(t, fields, 6)

	require.NoError(t, g.store.Close())
	fields = g.do("GET", "/health", nil).fields()
	require.Equal(t, "unhealthy", fields["checks"].(map[string]any)["database"])
}

func TestHealth_isBoundedWhenAStoreHangs(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Blobs = hangingStore{o.Blobs, t.Context()} })
	begin := time.Now()
	fields := g.do("GET", "/health", nil).fields()
	require.Less(t, time.Since(begin), patience)
	require.Equal(t, "unhealthy", fields["checks"].(map[string]any)["storage"])
}

// hangingStore does not answer a ping, not even when it is told to stop.
type hangingStore struct {
	blob.Store
	until context.Context
}

func (h hangingStore) Ping(context.Context) error {
	<-h.until.Done()
	return h.until.Err()
}

func TestService_listsEveryRoute(t *testing.T) {
	g := newGateway(t)
	fields := g.do("GET", "/", nil, header{"Authorization": ""}).fields()
	for _, name := range []string{"message", "service", "version", "status", "timestamp", "architecture", "description", "endpoints"} {
		require.NotEmpty(t, fields[name], name)
	}
	for _, e := range []string{"POST /deploy", "GET /deploy-status", "GET /health", "GET /docs", "GET /openapi.json", "GET /", "POST /projects/{id}/rollback"} {
		require.Contains(t, fmt.Sprint(fields["endpoints"]), e)
	}
}
