package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// says writes lines of a release's worker.
func (g *gateway) says(r models.Release, messages ...string) {
	g.Helper()
	var rows []models.WorkerLogRow
	for _, message := range messages {
		line, err := json.Marshal(models.WorkerLogLine{Time: time.Now().UTC(), ReleaseID: r.ID, Kind: models.LogConsole, Level: "log", Message: message})
		require.NoError(g, err)
		rows = append(rows, models.WorkerLogRow{ProjectID: r.ProjectID, ReleaseID: r.ID, Line: line})
	}
	require.NoError(g, g.store.AppendWorkerLog(g.Context(), rows))
}

func heard(body string) []string {
	messages := []string{}
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var l models.WorkerLogLine
			if json.Unmarshal([]byte(data), &l) == nil && l.Message != "" {
				messages = append(messages, l.Message)
			}
		}
	}
	return messages
}

func TestWorkerLog_givesTheLatestAndGoesOnWhereItWas(t *testing.T) {
	g := newGateway(t)
	r := g.goLive(g.deploy(nil))
	for n := range 600 {
		g.says(r, fmt.Sprint(n))
	}
	path := "/projects/" + g.project.ID + "/logs/stream"
	require.Equal(t, []string{"598", "599"}, heard(string(g.do("GET", path+"?tail=2&follow=false", nil).body)))
	require.Len(t, heard(string(g.do("GET", path+"?tail=10000&follow=false", nil).body)), 600)
	require.Equal(t, []string{"599"}, heard(string(g.do("GET", path+"?tail=1&follow=false&release="+r.ID, nil).body)))

	a := g.do("GET", path+"?tail=1&follow=false", nil)
	require.Equal(t, "text/event-stream", a.header.Get("Content-Type"))
	_, id, _ := strings.Cut(string(a.body), "id: ")
	id, _, _ = strings.Cut(id, "\n")
	g.says(r, "next")
	require.Equal(t, []string{"next"}, heard(string(g.do("GET", path+"?tail=100&follow=false", nil, header{"Last-Event-ID": id}).body)))
}

// Each stream asks the database several times a second, for as long as it is open.
func TestWorkerLog_isFollowedByAnOrganizationSoOftenAtATime(t *testing.T) {
	g := newGateway(t)
	ctx, leave := context.WithCancel(t.Context())
	follow := func() int {
		request, err := http.NewRequestWithContext(ctx, "GET", g.http.URL+"/projects/"+g.project.ID+"/logs/stream", nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+g.token)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		t.Cleanup(func() { _ = response.Body.Close() })
		return response.StatusCode
	}
	for range 32 {
		require.Equal(t, 200, follow())
	}
	require.Equal(t, 429, follow())
	leave()
	require.Eventually(t, func() bool {
		return g.do("GET", "/projects/"+g.project.ID+"/logs/stream?follow=false", nil).status == 200
	}, patience, 10*time.Millisecond)
}

func TestWorkerLog_followsWhatComes(t *testing.T) {
	g := newGateway(t)
	r := g.goLive(g.deploy(nil))
	request, err := http.NewRequestWithContext(t.Context(), "GET", g.http.URL+"/projects/"+g.project.ID+"/logs/stream", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+g.token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for n := range 3 {
		message := fmt.Sprint("line ", n)
		g.says(r, message)
		for lines.Scan() && !strings.Contains(lines.Text(), message) {
		}
		require.NoError(t, lines.Err())
		require.Contains(t, lines.Text(), message)
	}
}

func TestWorkerLog_isNobodyElses(t *testing.T) {
	g := newGateway(t)
	other, _ := g.newOwner("other@example.com")
	foreign, err := g.store.CreateProject(t.Context(), other.OrganizationID, "Other", "other")
	require.NoError(t, err)
	g.do("GET", "/projects/"+foreign.ID+"/logs/stream", nil).failed(models.CodeProjectNotFound)
	g.do("GET", "/projects/"+g.project.ID+"/logs/stream?tail=-1", nil).refuses("tail", "")
	g.do("GET", "/projects/"+g.project.ID+"/logs/stream", nil, header{"Last-Event-ID": "x"}).refuses("Last-Event-ID", "")
}

// Who asked for a release that is not there waited for ever for its first line.
func TestWorkerLog_ofAReleaseThatIsNotTheProjectsIsNotFound(t *testing.T) {
	g := newGateway(t)
	own := g.goLive(g.deploy(nil))
	row := g.deploy(nil)
	unchecked, err := g.store.WriteRelease(t.Context(), models.Release{
		ProjectID: row.ProjectID, OrganizationID: row.OrganizationID, DeploymentID: row.ID, Sequence: row.Sequence, ManifestDigest: strings.Repeat("a", 64),
	})
	require.NoError(t, err)
	g.says(unchecked, "worker did not start")
	path := "/projects/" + g.project.ID + "/logs/stream?follow=false&release="
	require.Equal(t, 200, g.do("GET", path+own.ID, nil).status)
	require.Equal(t, []string{"worker did not start"}, heard(string(g.do("GET", path+unchecked.ID, nil).body)))

	sibling, err := g.store.CreateProject(t.Context(), g.project.OrganizationID, "Sibling", "sibling")
	require.NoError(t, err)
	for _, id := range []string{models.NewID(models.PrefixRelease), "x", "a%00", "%ff"} {
		for _, resumed := range []header{{}, {"Last-Event-ID": "1"}} {
			g.do("GET", path+id, nil, resumed).failed(models.CodeReleaseNotFound)
		}
	}
	g.do("GET", "/projects/"+sibling.ID+"/logs/stream?release="+own.ID, nil).failed(models.CodeReleaseNotFound)
}
