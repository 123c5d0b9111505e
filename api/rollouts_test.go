package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func (g *gateway) rolloutPath(rest string) string {
	return "/projects/" + g.project.ID + "/rollouts" + rest
}

// candidate is a release that was seen to answer and is not live.
func (g *gateway) candidate() models.Release {
	g.Helper()
	r := g.goLive(g.deploy(nil))
	require.NoError(g, g.store.Rollback(g.Context(), g.firstRelease(r)))
	return r
}

// firstRelease is an earlier release than the one given.
func (g *gateway) firstRelease(than models.Release) models.Release {
	g.Helper()
	rows, err := g.store.Releases(g.Context(), g.project.ID, models.Position{Key: than.Sequence, ID: than.ID}, 1)
	require.NoError(g, err)
	require.Len(g, rows, 1)
	return rows[0]
}

func TestRollouts_beginAreListedAndCanceled(t *testing.T) {
	g := newGateway(t)
	live := g.goLive(g.deploy(nil))
	next := g.candidate()
	a := g.do("POST", g.rolloutPath(""), map[string]any{"releaseId": next.ID})
	var made api.Rollout
	a.into(201, &made)
	require.Equal(t, g.rolloutPath("/"+made.ID), a.header.Get("Location"))
	require.Equal(t, []int{1, 10, 50, 100}, made.Steps)
	require.Equal(t, "5m0s", made.Every)
	require.Equal(t, live.ID, made.BaseReleaseID)
	require.Equal(t, models.RolloutRunning, made.Status)
	require.Len(t, g.rollouts, 1)
	var input models.RolloutInput
	require.NoError(t, json.Unmarshal(g.rollouts[0].Input, &input))
	require.Equal(t, 5*time.Minute, input.Every)
	require.InDelta(t, 0.05, input.MaxErrorRate, 1e-9)

	g.do("POST", g.rolloutPath(""), map[string]any{"releaseId": next.ID}).failed(models.CodeConflict)
	var read api.Rollout
	g.do("GET", g.rolloutPath("/"+made.ID), nil).into(200, &read)
	require.Equal(t, made, read)
	g.do("POST", g.rolloutPath("/"+made.ID+"/cancel"), nil).into(200, &read)
	require.Equal(t, []string{made.ID}, g.canceled)
	require.NoError(t, g.store.EndRollout(t.Context(), made.ID, models.RolloutCanceled, "It was canceled."))
	g.do("POST", g.rolloutPath("/"+made.ID+"/cancel"), nil).failed(models.CodeNotRunning)
	var list api.RolloutList
	g.do("GET", g.rolloutPath(""), nil).into(200, &list)
	require.Len(t, list.Items, 1)
	require.Equal(t, models.RolloutCanceled, list.Items[0].Status)
}

func TestRollouts_oneThatWasNotStartedIsCanceledForGood(t *testing.T) {
	g := newGateway(t)
	live := g.goLive(g.deploy(nil))
	in := models.RolloutInput{RolloutID: models.NewID(models.PrefixRollout), ProjectID: g.project.ID, OrgID: g.project.OrganizationID,
		ReleaseID: g.candidate().ID, BaseReleaseID: live.ID, Steps: []int{100}, Every: time.Minute}
	_, err := g.store.CreateRollout(t.Context(), in, "usr_1")
	require.NoError(t, err)
	g.cancelFails = models.Errorf(models.CodeNotRunning, "The rollout has ended already.")
	var canceled api.Rollout
	g.do("POST", g.rolloutPath("/"+in.RolloutID+"/cancel"), nil).into(200, &canceled)
	require.Equal(t, models.RolloutCanceled, canceled.Status)
	waiting, err := g.store.UnstartedRollouts(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, waiting, "the reconciler does not start it any more")

	require.NoError(t, g.store.MarkRolloutStarted(t.Context(), in.RolloutID, "run"))
	g.do("POST", g.rolloutPath("/"+in.RolloutID+"/cancel"), nil).failed(models.CodeNotRunning)
}

func TestRollouts_refuseWhatMakesNoSense(t *testing.T) {
	g := newGateway(t)
	live := g.goLive(g.deploy(nil))
	next := g.candidate()
	body := func(changes map[string]any) map[string]any {
		b := map[string]any{"releaseId": next.ID}
		for name, value := range changes {
			b[name] = value
		}
		return b
	}
	for field, changes := range map[string]map[string]any{
		"steps":        {"steps": []int{10, 50}},
		"steps[1]":     {"steps": []int{50, 10, 100}},
		"steps[0]":     {"steps": []int{0, 100}},
		"steps[2]":     {"steps": []int{50, 100, 101}},
		"every":        {"every": "1s"},
		"maxErrorRate": {"maxErrorRate": 1.5},
	} {
		g.do("POST", g.rolloutPath(""), body(changes)).refuses(field, "")
	}
	g.do("POST", g.rolloutPath(""), body(map[string]any{"releaseId": live.ID})).failed(models.CodeConflict)
	g.do("POST", g.rolloutPath(""), body(map[string]any{"releaseId": "rel_other"})).failed(models.CodeReleaseNotFound)
	g.do("GET", g.rolloutPath("/rol_other"), nil).failed(models.CodeRolloutNotFound)
	other, _ := g.newOwner("other@example.com")
	foreign, err := g.store.CreateProject(t.Context(), other.OrganizationID, "Other", "other")
	require.NoError(t, err)
	g.do("POST", "/projects/"+foreign.ID+"/rollouts", body(nil)).failed(models.CodeProjectNotFound)
	require.Empty(t, g.rollouts)
}
