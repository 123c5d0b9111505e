package temporal_test

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdktemporal "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/dev/temporal"
	"github.com/slipwayhq/slipway/dev/temporal/temporaltest"
)

// TestMain lets the test binary stand in for a program that owns a server and is killed.
func TestMain(m *testing.M) {
	if binary := os.Getenv("SLIPWAY_TEST_TEMPORAL_PARENT"); binary != "" {
		server, err := temporal.Start(context.Background(), temporal.Options{Binary: binary, Headless: true})
		if err != nil {
			_, _ = os.Stdout.WriteString("error " + err.Error() + "\n")
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("ready " + server.Address() + "\n")
		select {}
	}
	os.Exit(temporaltest.Wrap(pgtest.Wrap(m)).Run())
}

func build(t *testing.T) string {
	t.Helper()
	binary, err := temporal.Build(t.Context(), temporaltest.Root())
	require.NoError(t, err)
	return binary
}

func dial(t *testing.T, address string) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: address})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func greet(_ workflow.Context, name string) (string, error) { return "hello " + name, nil }

func TestStart_workflowsRunAtOnceAndAreFoundBySearchAttribute(t *testing.T) {
	c := dial(t, temporaltest.Start(t))
	w := worker.New(c, t.Name(), worker.Options{})
	w.RegisterWorkflow(greet)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: t.Name(), TaskQueue: t.Name(),
		TypedSearchAttributes: sdktemporal.NewSearchAttributes(
			sdktemporal.NewSearchAttributeKeyKeyword("DeploymentStatus").ValueSet("queued")),
	}, greet, "slipway")
	require.NoError(t, err)
	var answer string
	require.NoError(t, run.Get(t.Context(), &answer))
	require.Equal(t, "hello slipway", answer)
	require.Eventually(t, func() bool {
		found, err := c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
			Query: "DeploymentStatus = 'queued'"})
		return err == nil && found.Count == 1
	}, time.Minute, 50*time.Millisecond)
}

func TestServer_workflowsSurviveAKilledServerOnPostgres(t *testing.T) {
	others := processes(t, temporal.BinaryName, os.Getpid())
	server, err := temporal.Start(t.Context(), temporal.Options{Binary: build(t), PostgresURL: pgtest.Server(t).URL("postgres")})
	require.NoError(t, err)
	t.Cleanup(func() { server.Stop(context.Background()) })
	response, err := http.Get(server.UIURL())
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)

	c := dial(t, server.Address())
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "kept", TaskQueue: t.Name()}, "greet", "again")
	require.NoError(t, err)

	pids := slices.DeleteFunc(processes(t, temporal.BinaryName, os.Getpid()), func(pid int) bool { return slices.Contains(others, pid) })
	require.Len(t, pids, 1)
	address := server.Address()
	require.NoError(t, syscall.Kill(pids[0], syscall.SIGKILL))
	<-server.Done()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()

	w := worker.New(c, t.Name(), worker.Options{})
	w.RegisterWorkflowWithOptions(greet, workflow.RegisterOptions{Name: "greet"})
	require.NoError(t, w.Start())
	var answer string
	require.NoError(t, run.Get(t.Context(), &answer))
	w.Stop()
	require.Equal(t, "hello again", answer)
	require.Equal(t, address, server.Address())
	cancel()
	require.ErrorIs(t, <-served, context.Canceled)
	require.Equal(t, others, processes(t, temporal.BinaryName, os.Getpid()))
}

func TestServer_diesWithItsParent(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "SLIPWAY_TEST_TEMPORAL_PARENT="+build(t))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "ready "), line)
	pids := processes(t, temporal.BinaryName, cmd.Process.Pid)
	require.Len(t, pids, 1)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool { return syscall.Kill(pids[0], 0) != nil }, time.Minute, 20*time.Millisecond)
}

func TestStart_serverThatCannotStartSaysWhy(t *testing.T) {
	_, err := temporal.Start(t.Context(), temporal.Options{Binary: build(t), PostgresURL: "postgres://nobody:secret@127.0.0.1:1/x"})
	require.ErrorContains(t, err, "connect to PostgreSQL")
	require.NotContains(t, err.Error(), "secret")
}

func TestBinary_runsUnderTheSDKsOwnStarter(t *testing.T) {
	server, err := testsuite.StartDevServer(t.Context(), testsuite.DevServerOptions{
		ExistingPath: build(t),
		SearchAttributes: sdktemporal.NewSearchAttributes(
			sdktemporal.NewSearchAttributeKeyKeyword("Custom").ValueSet("x")),
		ExtraArgs: []string{"--exit-with-parent"},
	})
	require.NoError(t, err)
	_, err = server.Client().ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: t.Name(), TaskQueue: t.Name(),
		TypedSearchAttributes: sdktemporal.NewSearchAttributes(
			sdktemporal.NewSearchAttributeKeyKeyword("Custom").ValueSet("y")),
	}, greet, "sdk")
	require.NoError(t, err)
	server.Client().Close()
	require.NoError(t, server.Stop())
}

// processes lists the children of a process that run a program of this name.
func processes(t *testing.T, name string, parent int) []int {
	t.Helper()
	out, err := exec.Command("ps", "-o", "pid=,comm=", "--ppid", strconv.Itoa(parent)).Output()
	if err != nil {
		return nil
	}
	var pids []int
	for _, line := range strings.Split(string(out), "\n") {
		fields := strings.Fields(line)
		// The kernel keeps 15 bytes of a program's name.
		if len(fields) == 2 && strings.HasPrefix(name, fields[1]) {
			pid, err := strconv.Atoi(fields[0])
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}
