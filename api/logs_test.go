package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// write appends lines to a log, as the build does.
func (g *gateway) write(id string, lines ...string) {
	g.Helper()
	next, err := g.store.NextLogLine(g.Context(), id)
	require.NoError(g, err)
	require.NoError(g, g.store.AppendLog(g.Context(), models.LogChunk{DeploymentID: id, FirstLine: next, Lines: lines}))
}

// closeLog puts the whole log into a blob, as cleanup does.
func (g *gateway) closeLog(id string, lines ...string) {
	g.Helper()
	key, err := blob.PutBytes(g.Context(), g.blobs, g.owner.OrganizationID, []byte(strings.Join(lines, "\n")+"\n"))
	require.NoError(g, err)
	require.NoError(g, g.store.CloseLog(g.Context(), id, key.Digest))
}

func numbered(from, to int) []string {
	var lines []string
	for i := from; i <= to; i++ {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	return lines
}

func TestLogs_areWholeWhileLiveAndAfterwards(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	path := "/deployments/" + row.ID + "/logs"
	a := g.do("GET", path, nil)
	require.Equal(t, 200, a.status)
	require.Empty(t, a.body)

	// More chunks and more lines than one batch holds.
	for i := range 150 {
		g.write(row.ID, numbered(i*20+1, i*20+20)...)
	}
	want := strings.Join(numbered(1, 3000), "\n") + "\n"
	a = g.do("GET", path, nil)
	require.Equal(t, "text/plain; charset=utf-8", a.header.Get("Content-Type"))
	require.Equal(t, want, string(a.body))

	g.closeLog(row.ID, numbered(1, 3000)...)
	require.Equal(t, want, string(g.do("GET", path, nil).body))

	for _, request := range []answer{
		g.do("GET", path, nil, header{"Accept": "application/x-ndjson"}),
		g.do("GET", path+"?format=jsonl", nil),
	} {
		require.Equal(t, "application/x-ndjson", request.header.Get("Content-Type"))
		lines := strings.Split(strings.TrimSuffix(string(request.body), "\n"), "\n")
		require.Len(t, lines, 3000)
		require.JSONEq(t, `{"line":3000,"text":"line 3000"}`, lines[2999])
	}
	g.do("GET", path+"?format=xml", nil).refuses("format", "jsonl")
}

func TestLogs_areAnErrorWhenTheirBlobIsGone(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	g.closeLog(row.ID, "x")
	closed, err := g.store.Deployment(t.Context(), row.ID)
	require.NoError(t, err)
	require.NoError(t, g.blobs.Delete(t.Context(), blob.Key{Scope: g.owner.OrganizationID, Digest: closed.LogDigest}))
	g.do("GET", "/deployments/"+row.ID+"/logs", nil).failed(models.CodeBlobNotFound)
}

// event is one server-sent event.
type event struct{ id, name, data string }

// stream opens a log stream; events end with the channel when it is over.
func (g *gateway) stream(ctx context.Context, id string, last int) <-chan event {
	g.Helper()
	request, err := http.NewRequestWithContext(ctx, "GET", g.http.URL+"/deployments/"+id+"/logs/stream", nil)
	require.NoError(g, err)
	request.Header.Set("Authorization", "Bearer "+g.token)
	if last > 0 {
		request.Header.Set("Last-Event-ID", strconv.Itoa(last))
	}
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
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					events <- e
				}
				e = event{}
			}
		}
	}()
	return events
}

func (g *gateway) next(events <-chan event) event {
	g.Helper()
	select {
	case e, ok := <-events:
		require.True(g, ok, "the stream ended")
		return e
	case <-time.After(patience):
		require.Fail(g, "no event in time")
		return event{}
	}
}

func TestStream_bringsLinesAndStatusesLiveAndEnds(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	g.write(row.ID, "one", `two "quoted"`)
	events := g.stream(t.Context(), row.ID, 0)
	require.Equal(t, event{"1", "log", `{"line":1,"text":"one"}`}, g.next(events))
	require.Equal(t, event{"2", "log", `{"line":2,"text":"two \"quoted\""}`}, g.next(events))
	first := g.next(events)
	require.Equal(t, "status", first.name)
	require.Empty(t, first.id)

	g.write(row.ID, "three\rfour")
	require.Equal(t, event{"3", "log", `{"line":3,"text":"three\rfour"}`}, g.next(events))
	g.record(row.ID, 4, func(st *models.Status) { st.Status, st.CurrentStep = models.StatusInProgress, models.StepBuild })
	var st models.Status
	require.NoError(t, json.Unmarshal([]byte(g.next(events).data), &st))
	require.Equal(t, models.StepBuild, st.CurrentStep)

	// The log is closed with a line the stream has not seen yet.
	g.closeLog(row.ID, "one", `two "quoted"`, "three\rfour", "five")
	require.Equal(t, event{"4", "log", `{"line":4,"text":"five"}`}, g.next(events))
	g.record(row.ID, 9, succeeded)
	require.Equal(t, "status", g.next(events).name)
	end := g.next(events)
	require.Equal(t, "end", end.name)
	require.NoError(t, json.Unmarshal([]byte(end.data), &st))
	require.Equal(t, models.OutcomeSucceeded, st.Outcome)
	_, open := <-events
	require.False(t, open)
}

func TestStream_resumesAfterTheLastLineTheClientHas(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	g.write(row.ID, numbered(1, 50)...)
	read := func(last int) []string {
		var ids []string
		for events := g.stream(t.Context(), row.ID, last); ; {
			e := g.next(events)
			if e.name == "end" {
				return ids
			}
			if e.name == "log" {
				ids = append(ids, e.id)
			}
		}
	}
	live := g.stream(t.Context(), row.ID, 48)
	require.Equal(t, "49", g.next(live).id)
	require.Equal(t, "50", g.next(live).id)

	g.closeLog(row.ID, numbered(1, 50)...)
	g.record(row.ID, 9, succeeded)
	require.Equal(t, []string{"48", "49", "50"}, read(47))
	require.Empty(t, read(50))
	require.Empty(t, read(1_000_000))
	require.Len(t, read(0), 50)

	for _, bad := range []string{"x", "-1", "1.5", "99999999999999999999", strings.Repeat("1", 21)} {
		g.do("GET", "/deployments/"+row.ID+"/logs/stream", nil, header{"Last-Event-ID": bad}).refuses("Last-Event-ID", "")
	}
}

func TestStream_endsWhenTheServerCloses(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, done := serve(t, ctx, g.server)
	request, err := http.NewRequestWithContext(t.Context(), "GET", url+"/deployments/"+row.ID+"/logs/stream", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+g.token)
	response, err := g.http.Client().Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() && lines.Text() != "event: status" {
	}
	require.Equal(t, "event: status", lines.Text())
	cancel()
	for lines.Scan() {
	}
	require.NoError(t, lines.Err(), "it ends, and is not cut off")
	require.NoError(t, <-done)
}
