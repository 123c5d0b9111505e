package api_test

import (
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func TestDeadLetters_areRetriedAndAbandonedByFilter(t *testing.T) {
	g, c, queue := newTemporalGateway(t)
	var broken atomic.Bool
	broken.Store(true)
	w := runWorker(g, c, queue, &broken)
	defer w.Stop()
	other, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Other", "other")
	require.NoError(t, err)
	var parked []models.Deployment
	for _, p := range []string{g.project.ID, g.project.ID, other.ID, other.ID} {
		parked = append(parked, g.deploy(map[string]any{"projectId": p}))
	}
	for _, d := range parked {
		g.await(d.ID, func(st models.Status) bool { return st.Outcome == models.OutcomeDeadLetter })
	}
	require.Eventually(t, func() bool {
		var list api.DeploymentList
		g.do("GET", "/deployments?outcome=dead_letter", nil).into(200, &list)
		return len(list.Items) == 4
	}, patience, 50*time.Millisecond)

	ask := func(action string, body map[string]any) api.DeadLettersAnswer {
		var answer api.DeadLettersAnswer
		g.do("POST", "/dead-letters/"+action, body).into(200, &answer)
		return answer
	}
	for _, none := range []map[string]any{
		{"errorCode": "SANDBOX_UNAVAILABLE"}, {"step": "deploy"}, {"before": time.Now().Add(-time.Hour).Format(time.RFC3339)},
	} {
		require.Empty(t, ask("retry", none).Items, none)
	}
	g.do("POST", "/dead-letters/retry", map[string]any{"projectId": models.NewID(models.PrefixProject)}).failed(models.CodeProjectNotFound)
	g.do("POST", "/dead-letters/retry", map[string]any{"limit": 101}).refuses("limit", "100")
	g.do("POST", "/dead-letters/retry", map[string]any{"step": "no"}).refuses("step", "one of")
	_, stranger := g.newOwner("stranger@example.com")
	var answer api.DeadLettersAnswer
	g.do("POST", "/dead-letters/abandon", map[string]any{}, header{"Authorization": "Bearer " + stranger}).into(200, &answer)
	require.Empty(t, answer.Items)

	// One of them has ended although its row does not say so yet.
	require.NoError(t, c.TerminateWorkflow(t.Context(), parked[1].ID, "", "by hand"))
	broken.Store(false)
	answer = ask("retry", map[string]any{"projectId": g.project.ID, "errorCode": "STORAGE_UNAVAILABLE", "step": "validate", "reason": "mended"})
	require.Len(t, answer.Items, 2)
	require.Equal(t, 1, answer.Failed)
	for _, item := range answer.Items {
		require.Equal(t, item.DeploymentID == parked[0].ID, item.OK)
		if !item.OK {
			require.Equal(t, models.CodeNotParked, item.Error.Code)
		}
	}
	g.await(parked[0].ID, func(st models.Status) bool { return st.Steps.Validate.Status == models.StepInProgress })

	first := ask("abandon", map[string]any{"projectId": other.ID, "limit": 1})
	require.True(t, first.More)
	require.Len(t, first.Items, 1)
	require.True(t, first.Items[0].OK)
	given, left := parked[2].ID, parked[3].ID // which was parked first is chance
	if first.Items[0].DeploymentID == left {
		given, left = left, given
	}
	require.Equal(t, given, first.Items[0].DeploymentID)
	// The workflow says so before its row does, which is what the next request goes by.
	require.Eventually(t, func() bool {
		row, err := g.store.Deployment(t.Context(), given)
		return err == nil && row.Outcome == models.OutcomeAbandoned
	}, patience, 50*time.Millisecond)
	second := ask("abandon", map[string]any{"projectId": other.ID})
	require.Equal(t, []api.DeadLetterResult{{DeploymentID: left, OK: true}}, second.Items)
	require.False(t, second.More)
	g.do("POST", "/deployments/"+parked[0].ID+"/cancel", nil)
}

func TestDeployments_areNarrowedByWhatTheyAreAndWhen(t *testing.T) {
	g := newGateway(t)
	other, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Other", "other")
	require.NoError(t, err)
	first := g.deploy(nil)
	second := g.deploy(map[string]any{"projectId": other.ID})
	third := g.deploy(nil)
	require.NoError(t, g.store.RecordStatus(t.Context(), models.Status{
		DeploymentID: first.ID, Status: models.StatusFailed, Outcome: models.OutcomeRejected, Progress: 100, Version: 1, Timestamp: time.Now(),
	}))
	at := func(d models.Deployment) string { return url.QueryEscape(d.CreatedAt.Format(time.RFC3339Nano)) }
	for query, want := range map[string][]string{
		"":                                    {third.ID, second.ID, first.ID},
		"status=failed":                       {first.ID},
		"status=queued":                       {third.ID, second.ID},
		"status=queued&projectId=" + other.ID: {second.ID},
		"outcome=rejected":                    {first.ID},
		"outcome=succeeded":                   {},
		"userId=" + g.owner.UserID:            {third.ID, second.ID, first.ID},
		"userId=usr_x":                        {},
		"createdAfter=" + at(second):          {third.ID, second.ID},
		"createdBefore=" + at(second):         {first.ID},
		"createdAfter=" + at(second) + "&createdBefore=" + at(third): {second.ID},
		"createdAfter=2999-01-01T00:00:00%2B02:00":                   {},
	} {
		var got []string
		cursor := ""
		for {
			var list api.DeploymentList
			g.do("GET", "/deployments?limit=1&"+query+"&cursor="+cursor, nil).into(200, &list)
			for _, d := range list.Items {
				got = append(got, d.ID)
			}
			if cursor = list.NextCursor; cursor == "" {
				break
			}
		}
		if len(want) == 0 {
			require.Empty(t, got, query)
			continue
		}
		require.Equal(t, want, got, query)
	}
	g.do("GET", "/deployments?status=done", nil).refuses("status", "one of")
	g.do("GET", "/deployments?createdAfter=yesterday", nil).refuses("createdAfter", "")
}
