package api_test

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

// watch opens a stream of changes; events end with the channel when it is over.
func (g *gateway) watch(token string) <-chan event {
	g.Helper()
	request, err := http.NewRequestWithContext(g.Context(), "GET", g.http.URL+"/events", nil)
	require.NoError(g, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := g.http.Client().Do(request)
	require.NoError(g, err)
	require.Equal(g, 200, response.StatusCode)
	require.Equal(g, "text/event-stream", response.Header.Get("Content-Type"))
	events := make(chan event, 10_000)
	go func() {
		defer close(events)
		defer response.Body.Close()
		var e event
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if field, value, _ := strings.Cut(lines.Text(), ": "); field == "event" {
				e.name = value
			} else if field == "data" {
				e.data = value
				events <- e
			}
		}
	}()
	return events
}

// told waits for a change of that type and id.
func (g *gateway) told(events <-chan event, kind, id string) api.ChangeEvent {
	g.Helper()
	for {
		e := g.next(events)
		var change api.ChangeEvent
		require.NoError(g, json.Unmarshal([]byte(e.data), &change))
		require.True(g, e.name == api.EventResync || e.name == change.Type, e.name)
		if change.Type == kind && change.ID == id {
			return change
		}
	}
}

func TestEvents_tellOfWhatIsTheirsAndNothingElse(t *testing.T) {
	g := newGateway(t)
	other, otherToken := g.newOwner("other@example.com")
	second, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Second", "second")
	require.NoError(t, err)
	_, limited, err := g.store.CreateToken(t.Context(), models.NewToken{
		OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "limited", Scope: models.ScopeRead, ProjectID: second.ID})
	require.NoError(t, err)

	mine, theirs, ofSecond := g.watch(g.token), g.watch(otherToken), g.watch(limited)
	for _, events := range []<-chan event{mine, theirs, ofSecond} {
		require.Equal(t, event{"", api.EventResync, "{}"}, g.next(events))
	}

	row := g.deploy(nil)
	require.Equal(t, api.ChangeEvent{Type: "deployment", ID: row.ID, ProjectID: g.project.ID, Status: "queued"}, g.told(mine, "deployment", row.ID))
	g.record(row.ID, 5, func(st *models.Status) { st.Outcome, st.Status = models.OutcomeDeadLetter, models.StatusFailed })
	require.Equal(t, "dead_letter", g.told(mine, "deployment", row.ID).Status)
	g.do("PATCH", "/projects/"+g.project.ID+"/variables", map[string]any{"set": []any{map[string]any{"name": "A", "value": "secret"}}, "deploy": false})
	require.Equal(t, g.project.ID, g.told(mine, "variables", g.project.ID).ProjectID)
	g.do("POST", "/projects/"+g.project.ID+"/domains", map[string]any{"host": "www.example.com"})
	domain, err := g.store.DomainOf(t.Context(), g.project.ID, "www.example.com")
	require.NoError(t, err)
	require.Equal(t, "pending", g.told(mine, "domain", domain.ID).Status)
	g.do("DELETE", "/projects/"+g.project.ID+"/domains/www.example.com", nil)
	require.Equal(t, "deleted", g.told(mine, "domain", domain.ID).Status)

	// The others have heard nothing of it all: the next they hear is their own.
	_, err = g.store.CreateProject(t.Context(), other.OrganizationID, "Theirs", "theirs")
	require.NoError(t, err)
	require.Equal(t, "project", g.next(theirs).name)
	g.do("PATCH", "/projects/"+second.ID, map[string]any{"name": "Renamed"}).into(200, &api.Project{})
	require.JSONEq(t, `{"type":"project","id":"`+second.ID+`","projectId":"`+second.ID+`"}`, g.next(ofSecond).data)
	g.told(mine, "project", second.ID)

	g.do("GET", "/events", nil, header{"Authorization": ""}).failed(models.CodeUnauthorized)
}

func TestEvents_endForWhomMayWatchNoLonger(t *testing.T) {
	g := newGateway(t)
	for _, projectID := range []string{"", g.project.ID} {
		g.endsWithItsToken(projectID)
	}
}

// endsWithItsToken watches with a token of a project, or of all, and revokes it. Those
// limited to a project are not told that tokens change.
func (g *gateway) endsWithItsToken(projectID string) {
	t := g.T
	row, token, err := g.store.CreateToken(t.Context(), models.NewToken{
		OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "short-lived", ProjectID: projectID})
	require.NoError(t, err)
	events, others := g.watch(token), g.watch(g.token)
	require.Equal(t, api.EventResync, g.next(events).name)
	require.Equal(t, api.EventResync, g.next(others).name)
	g.do("DELETE", "/tokens/"+row.ID, nil)
	g.told(others, "token", row.ID)
	require.Eventually(t, func() bool {
		select {
		case e, more := <-events:
			require.False(t, more, "told %s after its token was revoked", e.name)
			return true
		default:
			return false
		}
	}, patience, 10*time.Millisecond)
}

func TestEvents_resyncWhenSomethingMayHaveBeenMissed(t *testing.T) {
	g := newGateway(t)
	events := g.watch(g.token)
	require.Equal(t, api.EventResync, g.next(events).name)
	db, err := sql.Open("pgx", g.databaseURL)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %' AND pid <> pg_backend_pid()`)
	require.NoError(t, err)
	require.Equal(t, api.EventResync, g.next(events).name)
	row := g.deploy(nil)
	g.told(events, "deployment", row.ID)
}

func TestEvents_areBoundedPerOrganization(t *testing.T) {
	g := newGateway(t)
	for range 256 {
		g.watch(g.token)
	}
	g.do("GET", "/events", nil).failed(models.CodeRateLimited)
	_, other := g.newOwner("other@example.com")
	require.Equal(t, api.EventResync, g.next(g.watch(other)).name)
}
