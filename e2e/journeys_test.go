package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestJourneys_goThroughTheWholeProduct takes people's ways through it that touch
// every process there is, side by side on one system with two dispatchers.
func TestJourneys_goThroughTheWholeProduct(t *testing.T) {
	// The second dispatcher has to find the database again after a power cut.
	s := boot(t, "SLIPWAY_WEBHOOK_ALLOW_PRIVATE=127.0.0.0/8", "SLIPWAY_POSTGRES_PORT="+freePort(t))
	// Each has a working folder, sandboxes and workers of its own, as on a machine
	// of its own.
	dispatchers := []string{s.DispatcherURL, s.startDispatcher()}
	t.Run("side by side", func(t *testing.T) {
		for _, journey := range []struct {
			name string
			goes func(s *system, dispatchers []string)
		}{
			// The longest first, so that the others go on beside it.
			{"a release is rolled out, and another goes back by itself", rollsOut},
			{"a rollout is canceled", cancelsRollout},
			{"a webhook is told of a deployment", tellsWebhooks},
			{"a project changes hands while it is visited, and is deleted", changesHands},
			{"the command line is signed in, deploys, and is signed out", signsIn},
		} {
			t.Run(journey.name, func(t *testing.T) {
				t.Parallel()
				of := *s
				of.t = t
				journey.goes(&of, dispatchers)
			})
		}
	})
	t.Run("a rollout goes on after a power cut", func(t *testing.T) {
		of := s.t
		s.t = t
		defer func() { s.t = of }()
		outlivesPowerCut(s, dispatchers[1])
	})
}

// startDispatcher runs one more dispatcher, on what the first one has too: the
// database, blob storage and the secret key. It gives its address.
func (s *system) startDispatcher() (url string) {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "dispatcher")
	require.NoError(s.t, os.Mkdir(dir, 0o711))
	require.NoError(s.t, os.Symlink(filepath.Join(s.dir, "blobs"), filepath.Join(dir, "blobs")))
	key, err := os.ReadFile(filepath.Join(s.dir, "secret.key"))
	require.NoError(s.t, err)
	log, err := os.Create(filepath.Join(s.t.TempDir(), "dispatcher.log"))
	require.NoError(s.t, err)
	cmd := exec.Command(slipwayBinary(), "dispatcher")
	cmd.Env = append(os.Environ(), "SLIPWAY_DATA_DIR="+dir, "SLIPWAY_SECRET_KEY="+string(bytes.TrimSpace(key)), "POSTGRES_URL="+s.postgresURL(),
		"TEMPORAL_ADDRESS="+s.TemporalAddress, "SLIPWAY_DISPATCHER_ADDR=127.0.0.1:0", "SLIPWAY_METRICS_ADDR=127.0.0.1:0", "LOG_FORMAT=text")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	require.NoError(s.t, cmd.Start())
	t := s.t
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the second dispatcher: %v", err)
		}
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("the second dispatcher said at last:\n%s", tail(said, 3000))
		}
		_ = log.Close()
	})
	address := regexp.MustCompile(`dispatcher listens".* addr="([^"]+)"`)
	s.wait(patience, "the second dispatcher", func() bool {
		said, err := os.ReadFile(log.Name())
		require.NoError(t, err)
		found := address.FindSubmatch(said)
		if found == nil {
			return false
		}
		url = "http://" + string(found[1])
		return true
	})
	conn := s.database()
	defer conn.Close(context.Background())
	s.wait(patience, "both dispatchers to be known", func() bool {
		var n int
		require.NoError(t, conn.QueryRow(context.Background(), "SELECT count(*) FROM dispatchers").Scan(&n))
		return n == 2
	})
	return url
}

// visit sends one request to a dispatcher for a worker's host, from an address of
// the test's choice ("" for any), on a connection of its own.
func (s *system) visit(dispatcher, worker, from string, header ...string) answer {
	s.t.Helper()
	got, err := tryVisit(s.t.Context(), dispatcher, worker, from, header...)
	require.NoError(s.t, err)
	return got
}

// tryVisit is visit for visitors who go on whatever happens.
func tryVisit(ctx context.Context, dispatcher, worker, from string, header ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, dispatcher+"/", nil)
	if err != nil {
		return answer{}, err
	}
	request.Host = worker + ".localhost"
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	dialer := &net.Dialer{}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	response, err := (&http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}).RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answer{response, content}, err
}

// lookAt has visitors of every bucket ask all dispatchers for a site until it is
// told to stop, and gives how many answers were fine and what was wrong with the
// others.
func (s *system) lookAt(name string, dispatchers []string) (stop func() (fine int, wrong []string)) {
	ctx, end := context.WithCancel(context.Background())
	var mu sync.Mutex
	var fine int
	var wrong []string
	var looking sync.WaitGroup
	for _, dispatcher := range dispatchers {
		looking.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				got, err := tryVisit(context.WithoutCancel(ctx), dispatcher, name, "", bucket(n*37%100)...)
				mu.Lock()
				switch {
				case err != nil:
					wrong = append(wrong, dispatcher+": "+err.Error())
				case got.StatusCode != http.StatusOK:
					wrong = append(wrong, dispatcher+": "+got.Status+": "+got.text())
				default:
					fine++
				}
				mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Millisecond): // their pace
				}
			}
		})
	}
	once := sync.OnceFunc(func() { end(); looking.Wait() })
	s.t.Cleanup(once)
	return func() (int, []string) { once(); return fine, wrong }
}

// preview makes a release of a worker without bringing it live.
func (s *system) preview(project, name, code string) (release string) {
	s.t.Helper()
	var queued struct{ DeploymentID string }
	s.must(http.MethodPost, "/deploy", map[string]any{
		"projectId": project, "orgId": s.OrgID, "userId": s.UserID, "initFiles": worker(name, code), "preview": true,
	}, &queued)
	release = s.succeed(queued.DeploymentID).ReleaseID
	require.NotEmpty(s.t, release)
	return release
}

// slipway runs the command line as whoever runs this system and gives what it
// printed.
func (s *system) slipway(args ...string) (stdout, stderr string, err error) {
	s.t.Helper()
	return runSlipway(s.t, s.t.TempDir(), []string{"SLIPWAY_DATA_DIR=" + s.dir}, args...)
}

// runSlipway runs the command line in a folder with nothing of the environment
// that would tell it whom to talk to, but what env says.
func runSlipway(t *testing.T, dir string, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	cmd := slipwayCommand(t, dir, env, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	return out.String(), said.String(), err
}

func slipwayCommand(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, slipwayBinary(), args...)
	cmd.Dir = dir
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "SLIPWAY_") {
			cmd.Env = append(cmd.Env, setting)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// browser is somebody's, with their session.
type browser struct {
	s      *system
	client *http.Client
}

// signedIn is the browser of this system's owner.
func (s *system) signedIn() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	b := &browser{s, &http.Client{Jar: jar, Transport: transport, Timeout: patience}}
	status, body := b.call(http.MethodPost, "/api/auth/sign-in/email", "", map[string]any{"email": s.Email, "password": s.Password}, nil)
	require.Equal(s.t, http.StatusOK, status, body)
	return b
}

// call asks the API as a page of its own would, in an organization ("" for none).
func (b *browser) call(method, path, organization string, in, out any) (int, string) {
	b.s.t.Helper()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		require.NoError(b.s.t, err)
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(b.s.t.Context(), method, b.s.APIURL+path, body)
	require.NoError(b.s.t, err)
	request.Header.Set("Origin", b.s.APIURL)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if organization != "" {
		request.Header.Set("X-Slipway-Organization", organization)
	}
	response, err := b.client.Do(request)
	require.NoError(b.s.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(b.s.t, err)
	if out != nil && response.StatusCode < 300 {
		require.NoError(b.s.t, json.Unmarshal(content, out), string(content))
	}
	return response.StatusCode, string(content)
}

// must is call for what has to work.
func (b *browser) must(method, path, organization string, in, out any) {
	b.s.t.Helper()
	status, body := b.call(method, path, organization, in, out)
	require.GreaterOrEqual(b.s.t, status, 200, "%s %s: %s", method, path, body)
	require.Less(b.s.t, status, 300, "%s %s: %s", method, path, body)
}
