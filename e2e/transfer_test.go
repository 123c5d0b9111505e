package e2e

import (
	"net/http"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

const greets = `export default {
  async fetch(request, env) {
    const count = Number(await env.KV.get("count") ?? 0) + 1;
    await env.KV.put("count", String(count));
    return Response.json({ greeting: env.GREETING, secret: env.KEY.length, count });
  },
};`

// changesHands gives a project to another organization while people look at it,
// deploys it there, and deletes it.
func changesHands(s *system, dispatchers []string) {
	const name = "heirloom"
	project := s.newProject(name)
	files := func(code string) []initFile {
		return []initFile{
			{Path: "wrangler.jsonc", Content: `{"name":"` + name + `","main":"src/index.js","compatibility_date":"2026-11-01",
				"kv_namespaces":[{"binding":"KV"}],"vars":{"GREETING":"hello"}}`},
			{Path: "src/index.js", Content: code},
		}
	}
	s.must(http.MethodPatch, "/projects/"+project+"/variables", map[string]any{"set": []map[string]any{{"name": "KEY", "value": "hidden", "secret": true}}}, nil)
	s.succeed(s.deploy(project, files(greets)))
	owner := s.signedIn()
	var heir struct{ ID string }
	owner.must(http.MethodPost, "/orgs", "", map[string]any{"name": "Heirs"}, &heir)

	var said struct {
		Greeting      string
		Secret, Count int
	}
	for _, dispatcher := range dispatchers {
		s.visit(dispatcher, name, "").json(s.t, &said)
	}
	looked := s.lookAt(name, dispatchers)
	status, body := owner.call(http.MethodPost, "/projects/"+project+"/transfer", s.OrgID, map[string]any{"orgId": heir.ID}, nil)
	require.Equal(s.t, http.StatusOK, status, body)
	stored := said.Count
	for _, dispatcher := range dispatchers {
		s.visit(dispatcher, name, "").json(s.t, &said)
		require.Equal(s.t, "hello", said.Greeting)
		require.Equal(s.t, len("hidden"), said.Secret, "secrets go along")
		// Those who look count as well, and may put back what another has counted
		// meanwhile, but nothing from before they came.
		require.Greater(s.t, said.Count, stored, "and so does what was stored")
	}
	fine, wrong := looked()
	require.Empty(s.t, wrong, "nobody saw anything of it")
	require.Positive(s.t, fine)

	status, body = s.call(http.MethodGet, "/projects/"+project, nil, nil)
	require.Equal(s.t, http.StatusNotFound, status, "the former owner's token: %s", body)
	status, body = owner.call(http.MethodGet, "/projects/"+project, s.OrgID, nil, nil)
	require.Equal(s.t, http.StatusNotFound, status, body)
	var got struct{ OrgID, WorkerName, LiveReleaseID string }
	owner.must(http.MethodGet, "/projects/"+project, heir.ID, nil, &got)
	require.Equal(s.t, []string{heir.ID, name}, []string{got.OrgID, got.WorkerName})

	s.visit(dispatchers[0], name, "").json(s.t, &said)
	counted := said.Count
	// It can be deployed where it is now, from the files that came along.
	var queued struct{ DeploymentID string }
	owner.must(http.MethodPost, "/deploy", heir.ID, map[string]any{
		"projectId": project, "orgId": heir.ID, "userId": s.UserID,
		"initFiles": []initFile{{Path: "src/index.js", Content: "// by the heirs\n" + greets}},
	}, &queued)
	st := s.finish(queued.DeploymentID)
	require.Equal(s.t, models.OutcomeSucceeded, st.Outcome, st.Error)
	for _, dispatcher := range dispatchers {
		s.visit(dispatcher, name, "").json(s.t, &said)
		require.Greater(s.t, said.Count, counted)
		counted = said.Count
	}

	preview := models.PreviewName(st.ReleaseID, name)
	for _, dispatcher := range dispatchers {
		require.Equal(s.t, http.StatusOK, s.visit(dispatcher, preview, "").StatusCode)
	}
	for _, confirm := range []string{"", "?confirm=", "?confirm=another"} {
		status, body = owner.call(http.MethodDelete, "/projects/"+project+confirm, heir.ID, nil, nil)
		require.Equal(s.t, http.StatusBadRequest, status, body)
	}
	status, body = owner.call(http.MethodDelete, "/projects/"+project+"?confirm="+name, s.OrgID, nil, nil)
	require.Equal(s.t, http.StatusNotFound, status, body)
	require.Equal(s.t, http.StatusOK, s.visit(dispatchers[0], name, "").StatusCode)
	owner.must(http.MethodDelete, "/projects/"+project+"?confirm="+name, heir.ID, nil, nil)
	for _, dispatcher := range dispatchers {
		for _, host := range []string{name, preview} {
			s.wait(patience, host+" to be gone", func() bool { return s.visit(dispatcher, host, "").StatusCode == http.StatusNotFound })
		}
	}
	status, body = owner.call(http.MethodGet, "/projects/"+project, heir.ID, nil, nil)
	require.Equal(s.t, http.StatusNotFound, status, body)
	status, body = s.call(http.MethodPost, "/projects", map[string]any{"name": name, "workerName": name}, nil)
	require.Equal(s.t, http.StatusConflict, status, "the name stays with who had it last: %s", body)
}
