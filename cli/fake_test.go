package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

const (
	fakeOrg   = "org_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	fakeUser  = "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	fakeDep   = "dep_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	fakeToken = "slw_test"
)

// fakeAPI stands where an API would that falters at chosen moments; what a
// healthy one does is tested against the real one. It records what it is asked.
type fakeAPI struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// requests are "METHOD path", in order.
	requests []string
	// before may answer a request itself, by returning true.
	before   func(w http.ResponseWriter, r *http.Request) bool
	projects []Project
	blobs    map[string][]byte
	deploys  []fakeDeploy
	// statuses are given out one after the other; the last one stays.
	statuses []models.Status
	asked    int
	// lines are the build log; cutAfter breaks the stream's connection off after
	// that many lines, once for each entry.
	lines    []string
	cutAfter []int
	resumed  []string
}

type fakeDeploy struct {
	key  string
	body DeployRequest
}

func newFakeAPI(t *testing.T) *fakeAPI {
	f := &fakeAPI{t: t, blobs: map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /projects", f.createProject)
	mux.HandleFunc("GET /projects", f.listProjects)
	mux.HandleFunc("GET /projects/{id}", f.project)
	mux.HandleFunc("POST /blobs/missing", f.missing)
	mux.HandleFunc("PUT /blobs/{sha256}", f.putBlob)
	mux.HandleFunc("POST /deploy", f.deploy)
	mux.HandleFunc("GET /deploy-status", f.status)
	mux.HandleFunc("GET /deployments/{id}/logs", f.log)
	mux.HandleFunc("GET /deployments/{id}/logs/stream", f.stream)
	mux.HandleFunc("POST /deployments/{id}/{action}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, map[string]any{"success": true, "deploymentId": r.PathValue("id"), "message": r.PathValue("action")})
	})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.Path)
		before := f.before
		f.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		if r.URL.Path != "/deploy-status" && r.Header.Get("Authorization") != "Bearer "+fakeToken {
			refuse(w, models.CodeUnauthorized, "The token is not known.", nil)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, code models.Code, message string, details any) {
	answer(w, code.HTTPStatus(), map[string]any{"success": false, "error": code, "message": message, "details": details, "timestamp": time.Now()})
}

func (f *fakeAPI) createProject(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body struct{ Name, WorkerName string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	for _, p := range f.projects {
		if p.WorkerName == body.WorkerName {
			refuse(w, models.CodeNameTaken, "The name is taken.", nil)
			return
		}
	}
	p := Project{ID: fmt.Sprintf("prj_%026d", len(f.projects)), OrgID: fakeOrg, Name: body.Name, WorkerName: body.WorkerName, URL: "http://" + body.WorkerName + ".localhost:3005/"}
	f.projects = append(f.projects, p)
	answer(w, 201, p)
}

func (f *fakeAPI) listProjects(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// One a page, so that whoever lists has to turn pages.
	at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	page := Page[Project]{Items: []Project{}}
	if at < len(f.projects) {
		page.Items = f.projects[at : at+1]
	}
	if at+1 < len(f.projects) {
		page.NextCursor = strconv.Itoa(at + 1)
	}
	answer(w, 200, page)
}

func (f *fakeAPI) project(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.projects {
		if p.ID == r.PathValue("id") {
			answer(w, 200, p)
			return
		}
	}
	refuse(w, models.CodeProjectNotFound, "There is no such project.", nil)
}

func (f *fakeAPI) missing(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body struct {
		SHA256 []string `json:"sha256"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	missing := []string{}
	for _, digest := range body.SHA256 {
		if _, have := f.blobs[digest]; !have {
			missing = append(missing, digest)
		}
	}
	answer(w, 200, map[string]any{"missing": missing})
}

func (f *fakeAPI) putBlob(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body)
	sum := sha256.Sum256(content)
	if hex.EncodeToString(sum[:]) != r.PathValue("sha256") {
		refuse(w, models.CodeDigestMismatch, "The bytes have another digest.", nil)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[r.PathValue("sha256")] = content
	answer(w, 200, map[string]any{})
}

func (f *fakeAPI) deploy(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body DeployRequest
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.deploys = append(f.deploys, fakeDeploy{r.Header.Get("Idempotency-Key"), body})
	answer(w, 200, DeployAnswer{Success: true, DeploymentID: fakeDep, Status: "queued"})
}

func (f *fakeAPI) status(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.statuses[min(f.asked, len(f.statuses)-1)]
	f.asked++
	answer(w, 200, s)
}

func (f *fakeAPI) log(w http.ResponseWriter, _ *http.Request) {
	for i, text := range f.lines {
		fmt.Fprintf(w, "{\"line\":%d,\"text\":%q}\n", i+1, text)
	}
}

func (f *fakeAPI) stream(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.resumed = append(f.resumed, r.Header.Get("Last-Event-ID"))
	cut := -1
	if len(f.cutAfter) > 0 {
		cut, f.cutAfter = f.cutAfter[0], f.cutAfter[1:]
	}
	f.mu.Unlock()
	after, _ := strconv.Atoi(r.Header.Get("Last-Event-ID"))
	w.Header().Set("Content-Type", "text/event-stream")
	for i := after; i < len(f.lines); i++ {
		if i == cut {
			_, _ = io.WriteString(w, "id: 99\nevent: log\ndata: {\"li")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "id: %d\nevent: log\ndata: {\"line\":%d,\"text\":%q}\n\n", i+1, i+1, f.lines[i])
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.WriteString(w, "event: end\ndata: {}\n\n")
}

// asks counts the requests of that method and path.
func (f *fakeAPI) asks(request string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if r == request {
			n++
		}
	}
	return n
}

// takeRequests gives the requests since the last call of it. A request that its client gave
// up may still arrive later.
func (f *fakeAPI) takeRequests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	requests := f.requests
	f.requests = nil
	return requests
}

// sent are the deployments it was asked for.
func (f *fakeAPI) sent() []fakeDeploy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.deploys)
}

// client is one that does not wait between attempts.
func (f *fakeAPI) client() *Client {
	client, err := NewClient(ClientOptions{APIURL: f.URL, Token: fakeToken, FirstPause: time.Millisecond})
	require.NoError(f.t, err)
	return client
}

// result is what a run of the program came to.
type result struct {
	code     int
	out, err string
}

// run runs the program against the fake, in the working folder.
func (f *fakeAPI) run(args ...string) result {
	f.setEnvironment()
	return runProgram(f.t.Context(), args...)
}

// setEnvironment makes the fake the API of whatever runs next.
func (f *fakeAPI) setEnvironment() {
	f.t.Setenv("SLIPWAY_API_URL", f.URL)
	f.t.Setenv("SLIPWAY_TOKEN", fakeToken)
	f.t.Setenv("SLIPWAY_ORG_ID", fakeOrg)
	f.t.Setenv("SLIPWAY_USER_ID", fakeUser)
}

func runProgram(ctx context.Context, args ...string) result {
	var out, err bytes.Buffer
	code := Execute(ctx, Root(Options{Stdout: &out, Stderr: &err, Version: "test", drain: time.Minute}), args)
	return result{code, out.String(), err.String()}
}

// clearEnvironment keeps the settings of whoever runs the tests out of them.
func clearEnvironment(t *testing.T) {
	for _, name := range []string{"SLIPWAY_API_URL", "SLIPWAY_TOKEN", "SLIPWAY_ORG_ID", "SLIPWAY_USER_ID", "SLIPWAY_DATA_DIR"} {
		t.Setenv(name, "")
		require.NoError(t, os.Unsetenv(name))
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
}

// statusAt is a running deployment's state at a step.
func statusAt(version int64, current models.Step) models.Status {
	s := models.Status{DeploymentID: fakeDep, Status: models.StatusInProgress, CurrentStep: current, Progress: current.Progress(), Steps: models.NewSteps(), Version: version}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, step := range models.AllSteps() {
		line := s.Steps.Of(step)
		start := began.Add(time.Duration(i) * time.Second)
		end := start.Add(500 * time.Millisecond)
		line.StartedAt, line.Timestamp = &start, &end
		if step == current {
			line.Status = models.StepInProgress
			break
		}
		line.Status = models.StepCompleted
	}
	return s
}

func succeeded(version int64) models.Status {
	s := statusAt(version, models.StepCleanup)
	s.Steps.Cleanup.Status = models.StepCompleted
	s.Status, s.Outcome, s.Progress, s.URL = models.StatusCompleted, models.OutcomeSucceeded, 100, "http://site.localhost:3005/"
	return s
}
