package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/slipwayhq/slipway/blob/s3/s3test"
	"github.com/slipwayhq/slipway/models"
)

// fragileStorage stands before an S3 service and, once armed, lets nothing
// through any more as soon as a build has stored the list of its output: the
// next thing a deployment does is deploy.
type fragileStorage struct {
	next http.Handler

	mu            sync.Mutex
	armed, broken bool
	// stalled has what comes while it is broken wait until it is closed; nil
	// refuses at once.
	stalled chan struct{}
}

// arm has it break; with stalls, it only keeps everybody waiting until fail.
func (f *fragileStorage) arm(stalls bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = true
	if stalls {
		f.stalled = make(chan struct{})
	}
}

// fail ends the waiting.
func (f *fragileStorage) fail() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stalled != nil {
		close(f.stalled)
		f.stalled = nil
	}
}

// mend lets everything through, what has waited too.
func (f *fragileStorage) mend() {
	f.mu.Lock()
	f.armed, f.broken = false, false
	f.mu.Unlock()
	f.fail()
}

// refuses waits while it stalls, and says whether it is broken then.
func (f *fragileStorage) refuses(ctx context.Context) bool {
	f.mu.Lock()
	broken, stalled := f.broken, f.stalled
	f.mu.Unlock()
	if !broken || stalled == nil {
		return broken
	}
	select {
	case <-stalled:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

func (f *fragileStorage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.refuses(r.Context()) {
		http.Error(w, "broken on purpose", http.StatusServiceUnavailable)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.next.ServeHTTP(w, r)
	if r.Method != http.MethodPut || !bytes.Contains(body, []byte(`"serve":{`)) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed {
		f.armed, f.broken = false, true
	}
}

// newFragileStorage starts a real S3 server and puts itself before it.
func newFragileStorage(t *testing.T) (*fragileStorage, []string) {
	t.Helper()
	server := s3test.Start(t)
	endpoint := server.Endpoint
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	target, err := url.Parse(endpoint)
	require.NoError(t, err)
	// The Host header is signed, so it passes unchanged.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	f := &fragileStorage{next: proxy}
	front := httptest.NewServer(f)
	t.Cleanup(func() {
		f.fail()
		front.Close()
	})
	env := server.Env()
	for i, setting := range env {
		if strings.HasPrefix(setting, "S3_ENDPOINT=") {
			env[i] = "S3_ENDPOINT=" + front.URL
		}
	}
	return f, env
}

// tctl builds the operators' old tool, once.
func tctl(t *testing.T) string {
	t.Helper()
	out := filepath.Join(repository(), "bin", "tctl")
	cmd := exec.Command("go", "build", "-o", out, "github.com/temporalio/tctl/cmd/tctl")
	cmd.Dir = filepath.Join(repository(), "tools", "tctl")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, string(said))
	return out
}

func TestRetry_resumesAtTheFailedStepHoweverItIsSent(t *testing.T) {
	storage, env := newFragileStorage(t)
	s := boot(t, env...)
	for name, retry := range map[string]func(id string){
		"api": func(id string) { s.must(http.MethodPost, "/deployments/"+id+"/retry", nil, nil) },
		"slipway": func(id string) {
			cmd := exec.Command(slipwayBinary(), "retry", id)
			cmd.Env = append(os.Environ(), "SLIPWAY_DATA_DIR="+s.dir)
			said, err := cmd.CombinedOutput()
			require.NoError(s.t, err, string(said))
		},
		"tctl": func(id string) {
			cmd := exec.Command(tctl(s.t), "--address", s.TemporalAddress, "--namespace", "default", "workflow", "signal", "-w", id, "-n", "retry")
			said, err := cmd.CombinedOutput()
			require.NoError(s.t, err, string(said))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			project := s.newProject("retry-" + name)
			storage.arm(false)
			id := s.deploy(project, slowSite(name))
			parked := s.finish(id)
			require.Equal(t, models.OutcomeDeadLetter, parked.Outcome, parked.Error)
			require.Equal(t, models.StatusFailed, parked.Status)
			require.Equal(t, models.StepDeploy, parked.CurrentStep)
			require.Equal(t, models.CodeStorage, parked.ErrorCode)
			s.requireDeadLetter(id)

			// Not parked yet is one thing, not mended is another: it parks again.
			storage.mend()
			retry(id)
			st := s.succeed(id)
			require.Equal(t, 1, st.Retries)
			s.requireLiveOnce("retry-"+name, project, name)
			scheduled := s.history(id)
			require.Equal(t, 1, scheduled["build"], "nothing is built again")
			require.Equal(t, 2, scheduled["deploy"])

			code, body := s.call(http.MethodPost, "/deployments/"+id+"/retry", nil, nil)
			require.Equal(t, http.StatusConflict, code, body)
		})
	}
	s.t = t
}

// requireDeadLetter finds a parked deployment where operators look.
func (s *system) requireDeadLetter(id string) {
	s.t.Helper()
	_, listed := s.call(http.MethodGet, "/dead-letters", nil, nil)
	require.Contains(s.t, listed, id)
	c, err := client.Dial(client.Options{HostPort: s.TemporalAddress, Logger: quiet{}})
	require.NoError(s.t, err)
	defer c.Close()
	s.wait(patience, "the search attribute", func() bool {
		answer, err := c.ListWorkflow(context.Background(), &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: "default", Query: fmt.Sprintf(`DeploymentStatus = "dead_letter" AND CurrentStep = "deploy" AND WorkflowId = "%s"`, id)})
		// The first queries may come before the attributes are known.
		return err == nil && len(answer.GetExecutions()) == 1
	})
}
