// Package e2e boots the whole of Slipway as its users do, with the built
// binary, and talks to it over HTTP.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/certs/pebbletest"
	"github.com/slipwayhq/slipway/dev/temporal"
	"github.com/slipwayhq/slipway/models"
)

// repository is the top of the checkout.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(file))
}

// binaries builds what is run, once.
var binaries = sync.OnceValue(func() error {
	if _, err := temporal.Build(context.Background(), repository()); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-o", slipwayBinary(), "./cmd/slipway")
	cmd.Dir = repository()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build slipway: %w\n%s", err, said)
	}
	return nil
})

func slipwayBinary() string { return filepath.Join(repository(), "bin", "slipway") }

// credentials is what `slipway dev` writes for the CLI and for scripts.
type credentials struct {
	APIURL          string `json:"apiUrl"`
	DispatcherURL   string `json:"dispatcherUrl"`
	TemporalAddress string `json:"temporalAddress"`
	TemporalUIURL   string `json:"temporalUiUrl"`
	OrgID           string `json:"orgId"`
	UserID          string `json:"userId"`
	Token           string `json:"token"`
	Email           string `json:"email"`
	Password        string `json:"password"`
}

// system is one running `slipway dev`.
type system struct {
	t    *testing.T
	dir  string
	env  []string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	credentials
}

// newSystem prepares a data folder; start boots on it.
func newSystem(t *testing.T, env ...string) *system {
	t.Helper()
	require.NoError(t, binaries())
	s := &system{t: t, dir: filepath.Join(t.TempDir(), "data"), env: env}
	log, err := os.Create(filepath.Join(t.TempDir(), "slipway.log"))
	require.NoError(t, err)
	s.log = log
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "slipway.log"), said, 0o600); err != nil {
				t.Error(err)
			}
			// What failed has been said before, and must not be lost above this.
			t.Logf("slipway dev said at last (all of it with -artifacts):\n%s", tail(said, 3000))
		}
		_ = log.Close()
	})
	return s
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// boot is a fresh, running system.
func boot(t *testing.T, env ...string) *system {
	t.Helper()
	s := newSystem(t, env...)
	s.start()
	return s
}

func (s *system) start() {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.dir, "credentials.json"))
	s.cmd = exec.Command(slipwayBinary(), "dev", "--no-example")
	s.cmd.Env = append(os.Environ(), "SLIPWAY_DATA_DIR="+s.dir, "SLIPWAY_RECONCILE_EVERY=1s", "SLIPWAY_METRICS_ADDR=127.0.0.1:0")
	// A free port that the system chose for itself it could lose again while it starts,
	// to any of its parts.
	for _, part := range []string{"API", "DISPATCHER", "TEMPORAL", "TEMPORAL_UI", "POSTGRES"} {
		s.cmd.Env = append(s.cmd.Env, "SLIPWAY_"+part+"_PORT="+freePort(s.t))
	}
	// All of a test comes from one address, faster than anybody.
	s.cmd.Env = append(s.cmd.Env, "SLIPWAY_RATE_ADDRESS=0", "SLIPWAY_RATE_STATUS=0", "SLIPWAY_RATE_TOKEN=0", "SLIPWAY_RATE_DEPLOY=0")
	s.cmd.Env = append(s.cmd.Env, s.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	require.NoError(s.t, s.cmd.Start())
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	s.wait(3*time.Minute, "slipway dev to be ready", func() bool {
		select {
		case <-done:
			said, _ := os.ReadFile(s.log.Name())
			s.t.Fatalf("slipway dev ended:\n%s", tail(said, 5000))
		default:
		}
		data, err := os.ReadFile(filepath.Join(s.dir, "credentials.json"))
		if err != nil || json.Unmarshal(data, &s.credentials) != nil {
			return false
		}
		status, _ := s.call(http.MethodGet, "/health", nil, nil)
		return status == http.StatusOK
	})
}

// stop asks it to end, as Ctrl-C does.
func (s *system) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Errorf("slipway dev did not stop within %s", patience)
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

// kill ends it as a power cut would.
func (s *system) kill() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Kill())
	<-s.done
	s.cmd = nil
}

// freePort is one that stays free until it is used.
func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(pebbletest.FreePort(t))
}

// patience is how long tests wait for what takes milliseconds, or seconds where
// something is built or started. It says nothing of how fast that is: it ends the wait
// for what never comes, and leaves time to a machine that does much else.
const patience = 2 * time.Minute

// wait polls a condition.
func (s *system) wait(limit time.Duration, what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// call talks to the API; out takes the JSON answer. An API that is away is status 0.
func (s *system) call(method, path string, in, out any) (int, string) {
	s.t.Helper()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		require.NoError(s.t, err)
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.APIURL+path, body)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	if out != nil && answer.StatusCode == http.StatusOK {
		require.NoError(s.t, json.Unmarshal(data, out), string(data))
	}
	return answer.StatusCode, string(data)
}

// must is call for what has to work.
func (s *system) must(method, path string, in, out any) {
	s.t.Helper()
	status, body := s.call(method, path, in, out)
	require.Less(s.t, status, 300, "%s %s: %s", method, path, body)
	require.GreaterOrEqual(s.t, status, 200, "%s %s: %s", method, path, body)
}

func (s *system) newProject(name string) string {
	s.t.Helper()
	var project struct {
		ID string `json:"id"`
	}
	status, body := s.call(http.MethodPost, "/projects", map[string]any{"name": name, "workerName": name}, nil)
	require.Contains(s.t, []int{200, 201}, status, body)
	require.NoError(s.t, json.Unmarshal([]byte(body), &project))
	return project.ID
}

type initFile struct {
	Path     string `json:"path"`
	Content  string `json:"content"`
	Encoding string `json:"encoding,omitempty"`
}

// folder reads a project as the CLI would send it.
func folder(t *testing.T, dir string) []initFile {
	t.Helper()
	var files []initFile
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			if name == "node_modules" || name == "dist" || name == ".slipway" {
				return filepath.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		files = append(files, initFile{Path: filepath.ToSlash(name), Content: string(data)})
		return err
	})
	require.NoError(t, err)
	return files
}

func example(t *testing.T, name string) []initFile {
	return folder(t, filepath.Join(repository(), "examples", name))
}

// deploy sends files and returns the deployment's id.
func (s *system) deploy(project string, files []initFile) string {
	s.t.Helper()
	var answer struct {
		DeploymentID string `json:"deploymentId"`
		Status       string `json:"status"`
	}
	s.must(http.MethodPost, "/deploy", map[string]any{"projectId": project, "orgId": s.OrgID, "userId": s.UserID, "initFiles": files}, &answer)
	require.Equal(s.t, "queued", answer.Status)
	return answer.DeploymentID
}

func (s *system) status(id string) (models.Status, bool) {
	s.t.Helper()
	var st models.Status
	code, _ := s.call(http.MethodGet, "/deploy-status?id="+id, nil, &st)
	return st, code == http.StatusOK
}

// finish waits until a deployment is final or parked.
func (s *system) finish(id string) models.Status {
	s.t.Helper()
	return s.until(id, 5*time.Minute, "the deployment to end", func(st models.Status) bool {
		return st.Outcome != models.OutcomeNone && (st.Progress == 100 || st.Outcome == models.OutcomeDeadLetter)
	})
}

func (s *system) until(id string, limit time.Duration, what string, ok func(models.Status) bool) models.Status {
	s.t.Helper()
	var last models.Status
	s.wait(limit, what, func() bool {
		st, answered := s.status(id)
		if answered {
			last = st
		}
		return answered && ok(st)
	})
	return last
}

func (s *system) succeed(id string) models.Status {
	s.t.Helper()
	st := s.finish(id)
	if st.Outcome != models.OutcomeSucceeded {
		_, log := s.call(http.MethodGet, "/deployments/"+id+"/logs", nil, nil)
		s.t.Fatalf("deployment ended %s: %s\n%s\n%s", st.Outcome, st.Error, strings.Join(st.Logs, "\n"), tail([]byte(log), 5000))
	}
	return st
}

// get asks the dispatcher for a page of a worker's host.
func (s *system) get(worker, path string, header ...string) (*http.Response, []byte) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.DispatcherURL+path, nil)
	require.NoError(s.t, err)
	if worker != "" {
		req.Host = worker + ".localhost"
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	answer, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return answer, body
}
