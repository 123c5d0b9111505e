package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestTail_showsLinesAndMakesThemHarmless(t *testing.T) {
	g := newGateway(t)
	project, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Shop", "shop")
	require.NoError(t, err)
	d, _, err := g.store.CreateDeployment(t.Context(), models.NewDeployment{Input: models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project.ID, OrgID: g.owner.OrganizationID, UserID: g.owner.UserID}})
	require.NoError(t, err)
	r, err := g.store.WriteRelease(t.Context(), models.Release{ProjectID: project.ID, OrganizationID: project.OrganizationID, DeploymentID: d.ID, Sequence: 1})
	require.NoError(t, err)
	var rows []models.WorkerLogRow
	for _, l := range []models.WorkerLogLine{
		{Kind: models.LogConsole, Level: "warn", Message: "hi\x1b[31m there"},
		{Kind: models.LogException, Level: "error", Message: "Error: no", Stack: "at fetch (src/index.ts:3:7)\nat x"},
		{Kind: models.LogRequest, Method: "GET", Path: "/a", Status: 500, Outcome: "exception", DurationMS: 12.4},
		{Kind: models.LogSystem, Level: "error", Message: "worker ended: it computed for 1.5 s without answering"},
	} {
		l.Time = time.Now()
		line, err := json.Marshal(l)
		require.NoError(t, err)
		rows = append(rows, models.WorkerLogRow{ProjectID: project.ID, ReleaseID: r.ID, Line: line})
	}
	require.NoError(t, g.store.AppendWorkerLog(t.Context(), rows))

	got := run(t, "tail", "--project", "shop", "--no-follow")
	require.Equal(t, ExitOK, got.code, got.err)
	require.NotContains(t, got.out, "\x1b")
	require.Regexp(t, `(?s)\[warn\] hi.* there\n.*\[exception\] Error: no\n    at fetch \(src/index.ts:3:7\)\n    at x\n.*GET /a 500  exception  12 ms\n.*\[slipway\] worker ended: it computed`, got.out)
	got = run(t, "tail", "--project", "shop", "--no-follow", "--json", "--lines", "1")
	var last models.WorkerLogLine
	require.NoError(t, json.Unmarshal([]byte(got.out), &last))
	require.Equal(t, models.LogSystem, last.Kind)
}
