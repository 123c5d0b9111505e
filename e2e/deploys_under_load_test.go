package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// versionedWorker says which version it is: its source's, or its variable's when
// that is higher.
const versionedWorker = `
const SOURCE = 0;
export default {
  async fetch(request, env, ctx) {
    const version = Math.max(SOURCE, Number(env.VERSION ?? 0));
    if (new URL(request.url).pathname === "/events") return events(version, ctx);
    const body = await request.text();
    return Response.json({ version, length: body.length, last: body.slice(-8) });
  },
};

function events(version, ctx) {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  ctx.waitUntil((async () => {
    for (let n = 0; ; n++) {
      await writer.write(encoder.encode("data: " + version + " " + n + "\n\n"));
      await scheduler.wait(100);
    }
  })().catch(() => {}));
  return new Response(readable, { headers: { "Content-Type": "text/event-stream" } });
}
`

// worker are the files of a project that is one module.
func worker(name, code string) []initFile {
	return []initFile{
		{Path: "wrangler.jsonc", Content: `{"name":"` + name + `","main":"src/index.js","compatibility_date":"2026-11-01"}`},
		{Path: "src/index.js", Content: code},
	}
}

// setVariable changes one variable and returns the deployment that brings it live.
func (s *system) setVariable(project, name, value string, secret bool) string {
	s.t.Helper()
	var changed struct{ DeploymentID string }
	s.must(http.MethodPatch, "/projects/"+project+"/variables",
		map[string]any{"set": []map[string]any{{"name": name, "value": value, "secret": secret}}}, &changed)
	require.NotEmpty(s.t, changed.DeploymentID)
	return changed.DeploymentID
}

// visitors send requests to a worker all the time, and hold every answer against
// the versions that may give it.
type visitors struct {
	url, host string
	client    *http.Client
	// begun is the newest version whose deployment began, live the newest that was
	// said to be live, seen the newest that any answer came from.
	begun, live, seen atomic.Int64
	answers, events   atomic.Int64

	mu       sync.Mutex
	failures []string
}

const (
	visitorClients = 8
	// visitorPause keeps them from taking the whole machine from the deployments.
	visitorPause = 10 * time.Millisecond
	// visitorPatience is how long they wait for an answer.
	visitorPatience = 30 * time.Second
)

func (v *visitors) fail(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failures = append(v.failures, fmt.Sprintf(format, args...))
}

// run visits until ctx ends, and returns when every answer was read.
func (v *visitors) run(ctx context.Context) {
	var all sync.WaitGroup
	for n := range visitorClients {
		all.Go(func() { v.visit(ctx, n) })
	}
	all.Go(func() { v.listen(ctx) })
	all.Wait()
}

// visit sends one request after the other, every fourth with a body.
func (v *visitors) visit(ctx context.Context, n int) {
	body := bytes.Repeat([]byte("01234567"), 1<<(2*n)) // 8 B to 128 KiB
	for i := 0; ctx.Err() == nil; i++ {
		method, sent := http.MethodGet, []byte(nil)
		if i%4 == 0 {
			method, sent = http.MethodPost, body
		}
		if err := v.ask(method, sent); err != nil {
			v.fail("client %d, request %d: %v", n, i, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(visitorPause):
		}
	}
}

func (v *visitors) ask(method string, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), visitorPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, v.url+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Host = v.host
	oldest := max(v.live.Load(), v.seen.Load())
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, content)
	}
	var said struct {
		Version int64
		Length  int
	}
	if err := json.Unmarshal(content, &said); err != nil {
		return err
	}
	switch newest := v.begun.Load(); {
	case said.Length != len(body):
		return fmt.Errorf("%d of %d bytes arrived", said.Length, len(body))
	case said.Version < oldest:
		return fmt.Errorf("version %d answered although %d was live", said.Version, oldest)
	case said.Version > newest:
		return fmt.Errorf("version %d answered and %d is the newest", said.Version, newest)
	}
	for seen := v.seen.Load(); said.Version > seen && !v.seen.CompareAndSwap(seen, said.Version); {
		seen = v.seen.Load()
	}
	v.answers.Add(1)
	return nil
}

// listen keeps one stream of events open all the time: its release is replaced
// again and again, and goes on until its visitor leaves.
func (v *visitors) listen(ctx context.Context) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/events", nil)
	if err != nil {
		v.fail("stream: %v", err)
		return
	}
	request.Host = v.host
	response, err := v.client.Do(request)
	if err != nil {
		v.fail("stream: %v", err)
		return
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for next := 0; lines.Scan(); {
		_, count, isEvent := strings.Cut(strings.TrimPrefix(lines.Text(), "data: "), " ")
		if !isEvent {
			continue
		}
		if n, err := strconv.Atoi(count); err != nil || n != next {
			v.fail("stream: %q instead of event %d", lines.Text(), next)
			return
		}
		next++
		v.events.Add(1)
	}
	if ctx.Err() == nil || !errors.Is(lines.Err(), context.Canceled) {
		v.fail("stream: it ended after %d events: %v", v.events.Load(), lines.Err())
	}
}

// TestDeploys_underLoadFailNoRequest brings a hundred releases live under the
// eyes of visitors.
func TestDeploys_underLoadFailNoRequest(t *testing.T) {
	s := boot(t)
	const (
		name = "busy"
		// deploys are made in all, every builtEach-th of changed source.
		deploys, builtEach = 100, 20
	)
	project := s.newProject(name)
	s.succeed(s.deploy(project, worker(name, versionedWorker)))
	v := &visitors{url: s.DispatcherURL, host: name + ".localhost",
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * visitorClients}}}
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		v.run(ctx)
	}()
	stop := func() {
		leave()
		<-gone
		v.client.CloseIdleConnections()
	}
	defer stop()
	s.wait(patience, "visitors", func() bool { return v.answers.Load() > 0 && v.events.Load() > 0 })

	began := time.Now()
	for version := int64(1); version <= deploys; version++ {
		v.begun.Store(version)
		var id string
		if version%builtEach == 0 {
			id = s.deploy(project, worker(name, strings.Replace(versionedWorker, "SOURCE = 0", fmt.Sprintf("SOURCE = %d", version), 1)))
		} else {
			id = s.setVariable(project, "VERSION", strconv.FormatInt(version, 10), false)
		}
		st := s.succeed(id)
		require.NotEqual(t, models.OutcomeSuperseded, st.Outcome)
		v.live.Store(version)
	}
	took := time.Since(began)
	answers := v.answers.Load()
	s.wait(patience, "an answer of the last release", func() bool { return v.seen.Load() == deploys })
	stop()
	t.Logf("%d deployments in %s, meanwhile %d answers and %d events of one stream", deploys, took.Round(time.Millisecond), answers, v.events.Load())
	require.Empty(t, v.failures, "%d of %d requests failed", len(v.failures), answers)
	require.Greater(t, v.events.Load(), int64(took/time.Second), "the stream of the first release goes on")
}
