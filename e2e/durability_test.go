package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/slipwayhq/slipway/models"
)

// slowSite is a project that needs a sandbox but no registry: its build takes a
// few seconds.
func slowSite(words string) []initFile {
	return []initFile{
		{Path: "package.json", Content: `{"name":"slow","private":true,"scripts":{"build":"node build.js"}}`},
		{Path: "build.js", Content: `
const fs = require('fs');
setTimeout(() => {
  fs.mkdirSync('dist', {recursive: true});
  fs.writeFileSync('dist/index.html', '<!doctype html><p>` + words + `</p>');
}, 3000);
`},
		{Path: "slipway.json", Content: `{"outputDirectory":"dist"}`},
	}
}

// postgresURL is how a test reaches the database that slipway dev supervises.
func (s *system) postgresURL() string {
	s.t.Helper()
	password, err := os.ReadFile(filepath.Join(s.dir, "postgres", "password"))
	require.NoError(s.t, err)
	pid, err := os.ReadFile(filepath.Join(s.dir, "postgres", "cluster", "postmaster.pid"))
	require.NoError(s.t, err)
	u := url.URL{Scheme: "postgres", User: url.UserPassword("slipway", strings.TrimSpace(string(password))),
		Host: "127.0.0.1:" + strings.Split(string(pid), "\n")[3], Path: "/slipway"}
	return u.String()
}

func (s *system) database() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.postgresURL())
	require.NoError(s.t, err)
	return conn
}

// hold keeps a lock on the database, which stops the step that needs it, until
// the database is killed or release is called.
func (s *system) hold(statement string, args ...any) (release func()) {
	s.t.Helper()
	_, release = s.holdAs(statement, args...)
	return release
}

// holdAs is hold, and gives the number of the database's process that has the lock.
func (s *system) holdAs(statement string, args ...any) (pid uint32, release func()) {
	s.t.Helper()
	conn := s.database()
	_, err := conn.Exec(context.Background(), "BEGIN")
	require.NoError(s.t, err)
	_, err = conn.Exec(context.Background(), statement, args...)
	require.NoError(s.t, err)
	return conn.PgConn().PID(), func() { _ = conn.Close(context.Background()) }
}

// deployHeld deploys and has the step validate wait until release is called. The
// gateway reads the members as well, to know who asks, so they are locked when
// it has done that and waits for the organization's quota.
func (s *system) deployHeld(project string, files []initFile) (id string, release func()) {
	s.t.Helper()
	holder, quota := s.holdAs("SELECT 1 FROM organizations WHERE id = $1 FOR NO KEY UPDATE", s.OrgID)
	defer quota()
	deployed := make(chan string, 1)
	go func() {
		defer close(deployed)
		deployed <- s.deploy(project, files)
	}()
	watch := s.database()
	defer watch.Close(context.Background())
	s.wait(patience, "the gateway to wait for the quota", func() bool {
		var waiting int
		err := watch.QueryRow(context.Background(), "SELECT count(*) FROM pg_stat_activity WHERE $1::int = ANY (pg_blocking_pids(pid))", int32(holder)).Scan(&waiting)
		return err == nil && waiting > 0
	})
	release = s.hold("LOCK TABLE memberships IN ACCESS EXCLUSIVE MODE")
	quota()
	id, ok := <-deployed
	require.True(s.t, ok, "the deployment was not taken")
	return id, release
}

// forgetSlots makes the next sandbox ask for a slot of user ids anew.
func (s *system) forgetSlots() {
	s.t.Helper()
	conn := s.database()
	defer conn.Close(context.Background())
	_, err := conn.Exec(context.Background(), "DELETE FROM uid_slots")
	require.NoError(s.t, err)
}

func (s *system) atStep(id string, step models.Step) models.Status {
	s.t.Helper()
	return s.until(id, patience, "the step "+string(step), func(st models.Status) bool {
		return st.CurrentStep == step && st.Steps.Of(step).Status == models.StepInProgress
	})
}

// history counts how often each activity of a deployment was scheduled.
func (s *system) history(id string) map[string]int {
	s.t.Helper()
	c, err := client.Dial(client.Options{HostPort: s.TemporalAddress, Logger: quiet{}})
	require.NoError(s.t, err)
	defer c.Close()
	scheduled := map[string]int{}
	events := c.GetWorkflowHistory(context.Background(), id, "", false, 0)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(s.t, err)
		if a := event.GetActivityTaskScheduledEventAttributes(); a != nil {
			scheduled[a.GetActivityType().GetName()]++
		}
	}
	return scheduled
}

// quiet drops the SDK's log lines.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// requireLiveOnce checks that a deployment went live, and did so once.
func (s *system) requireLiveOnce(worker, project, words string) {
	s.t.Helper()
	answer, page := s.get(worker, "/")
	require.Equal(s.t, http.StatusOK, answer.StatusCode, string(page))
	require.Contains(s.t, string(page), words)
	var releases struct {
		Items []struct{ ID string } `json:"items"`
	}
	s.must(http.MethodGet, "/projects/"+project+"/releases", nil, &releases)
	require.Len(s.t, releases.Items, 1, "one deployment makes one release")
}

func TestDurability_killedAtAnyStepADeploymentCompletesAfterRestart(t *testing.T) {
	s := boot(t)
	for _, step := range models.AllSteps() {
		t.Run(string(step), func(t *testing.T) {
			s.t = t
			worker := "killed-at-" + string(step)
			project := s.newProject(worker)
			// Each step is stopped where it takes a lock of its own. Validate
			// waits meanwhile, so that none is missed.
			sandbox := func() {}
			switch step {
			case models.StepSandbox, models.StepDeploy, models.StepCleanup:
				s.forgetSlots()
				sandbox = s.hold("SELECT pg_advisory_xact_lock(hashtext('slipway.uid_slots'))")
			}
			defer func() { sandbox() }()
			id, validate := s.deployHeld(project, slowSite(worker))
			defer validate()
			if step == models.StepSync {
				defer s.hold("SELECT 1 FROM projects WHERE id = $1 FOR NO KEY UPDATE", project)()
			}
			if step != models.StepValidate {
				validate()
			}
			// Earlier steps need these as well, so they are taken while the one
			// before the build waits.
			switch step {
			case models.StepDeploy:
				s.atStep(id, models.StepSandbox)
				defer s.hold("SELECT 1 FROM projects WHERE id = $1 FOR NO KEY UPDATE", project)()
				sandbox()
			case models.StepCleanup:
				s.atStep(id, models.StepSandbox)
				defer s.hold("SELECT 1 FROM quota_reservations WHERE deployment_id = $1 FOR NO KEY UPDATE", id)()
				sandbox()
			}
			s.atStep(id, step)
			s.kill()
			s.start()
			s.succeed(id)
			s.requireLiveOnce(worker, project, worker)
		})
	}
	s.t = t
}

func TestDurability_killedWorkerLosesNoBuildAndLeavesNothing(t *testing.T) {
	s := boot(t, "SLIPWAY_DEV_WORKER=false")
	worker := s.startWorker()
	project := s.newProject("orphan")
	id := s.deploy(project, slowSite("orphan"))
	s.atStep(id, models.StepBuild)
	require.NoError(t, worker.Process.Kill())
	_ = worker.Wait()
	worker = s.startWorker()
	s.succeed(id)
	s.requireLiveOnce("orphan", project, "orphan")
	scheduled := s.history(id)
	require.Equal(t, 1, scheduled["validate"])
	require.Equal(t, 1, scheduled["sync"])
	require.Equal(t, 1, scheduled["deploy"], "no second go-live")
	mounts, err := os.ReadFile("/proc/mounts")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), id)
	require.NoError(t, worker.Process.Signal(syscall.SIGTERM))
	_ = worker.Wait()
}

// startWorker runs a worker as a process of its own.
func (s *system) startWorker() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(slipwayBinary(), "worker")
	dispatcher, err := url.Parse(s.DispatcherURL)
	require.NoError(s.t, err)
	cmd.Env = append(os.Environ(), "SLIPWAY_DATA_DIR="+s.dir, "POSTGRES_URL="+s.postgresURL(), "TEMPORAL_ADDRESS="+s.TemporalAddress,
		"SLIPWAY_RECONCILE_EVERY=1s", "SLIPWAY_METRICS_ADDR=127.0.0.1:0", "DISPATCH_URL_PORT="+dispatcher.Port())
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestReconciler_startsWhatTheGatewayCouldNot(t *testing.T) {
	s := boot(t)
	project := s.newProject("unstarted")
	// What is there when the gateway dies between the row and the start.
	first := s.deploy(project, slowSite("first"))
	s.succeed(first)
	store, err := models.OpenStore(models.StoreOptions{URL: s.postgresURL()})
	require.NoError(t, err)
	defer store.Close()
	row, err := store.Deployment(t.Context(), first)
	require.NoError(t, err)
	var input models.DeploymentInput
	require.NoError(t, json.Unmarshal(row.Input, &input))
	input.DeploymentID = models.NewID(models.PrefixDeployment)
	_, created, err := store.CreateDeployment(t.Context(), models.NewDeployment{Input: input, Priority: 3})
	require.NoError(t, err)
	require.True(t, created)
	s.succeed(input.DeploymentID)
}

func TestDev_secondStartOnTheSameFolderIsRefused(t *testing.T) {
	s := boot(t)
	cmd := exec.Command(slipwayBinary(), "dev")
	cmd.Env = append(os.Environ(), "SLIPWAY_DATA_DIR="+s.dir, "SLIPWAY_API_PORT=0", "SLIPWAY_DISPATCHER_PORT=0", "SLIPWAY_TEMPORAL_PORT=0", "SLIPWAY_TEMPORAL_UI_PORT=0")
	said, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(said), fmt.Sprint(s.cmd.Process.Pid), "the line names who has it")
	info, err := os.Stat(filepath.Join(s.dir, "credentials.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}
