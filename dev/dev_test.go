package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/temporal"
	"github.com/slipwayhq/slipway/dev/temporal/temporaltest"
)

// TestMain lets the test binary stand in for `slipway dev` as a process of its own.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SLIPWAY_TEST_DEV"); dir != "" {
		opts := testOptions(dir, os.Getenv("SLIPWAY_TEST_BINARY"), os.Stdout)
		if err := Run(context.Background(), opts); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("stopped")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// testOptions is a Slipway on free ports whose only role answers HTTP, and
// crashes or gives up when asked to.
func testOptions(dir, binary string, out interface{ Write([]byte) (int, error) }) Options {
	log := logrus.New()
	log.SetOutput(os.Stderr)
	return Options{
		DataDir: dir, APIAddr: "127.0.0.1:0", DispatcherAddr: "127.0.0.1:0", TemporalBinary: binary, Log: log, Out: out,
		Prepare: func(ctx context.Context, env Environment) (Roles, error) {
			conn, err := pgx.Connect(ctx, env.PostgresURL)
			if err != nil {
				return Roles{}, err
			}
			defer func() { _ = conn.Close(ctx) }()
			if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())"); err != nil {
				return Roles{}, err
			}
			if _, err := conn.Exec(ctx, "INSERT INTO starts DEFAULT VALUES"); err != nil {
				return Roles{}, err
			}
			token := env.Previous.Token
			if token == "" {
				token = "token-of-" + strconv.Itoa(os.Getpid())
			}
			return Roles{
				OrgID: "org", UserID: "user", Token: token,
				Services: []Service{{
					Name:  "api",
					Serve: func(ctx context.Context) error { return serveTest(ctx, env.APIAddr) },
					Ready: func(ctx context.Context) error { return get(env.APIURL + "/") },
				}},
			}, nil
		},
	}
}

func serveTest(ctx context.Context, addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { ended <- errors.New("crashed on request") })
	mux.HandleFunc("/fatal", func(http.ResponseWriter, *http.Request) { ended <- Fatal(errors.New("cannot go on")) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	select {
	case <-ctx.Done():
		if os.Getenv("SLIPWAY_TEST_STUBBORN") != "" {
			select {} // only a second signal ends it
		}
		return ctx.Err()
	case err := <-ended:
		return err
	}
}

func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// process is a `slipway dev` of its own.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	out *buffer
	dir string
}

func startProcess(t *testing.T, dir string, env ...string) *process {
	t.Helper()
	binary, err := temporal.Build(t.Context(), temporaltest.Root())
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, cmd: exec.Command(self), out: &buffer{}, dir: dir}
	p.cmd.Env = append(os.Environ(), append(env, "SLIPWAY_TEST_DEV="+dir, "SLIPWAY_TEST_BINARY="+binary)...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	return p
}

func (p *process) await(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !strings.Contains(p.out.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.Fail(p.t, "waiting for "+text, p.out.String())
		}
	}
}

func (p *process) credentials() Credentials {
	p.t.Helper()
	raw, err := os.ReadFile(filepath.Join(p.dir, "credentials.json"))
	require.NoError(p.t, err)
	var c Credentials
	require.NoError(p.t, json.Unmarshal(raw, &c))
	return c
}

// descendants lists what a process has started, and what those have.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	require.NoError(t, err)
	children := map[int][]int{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var child, parent int
		_, err := fmt.Sscan(line, &child, &parent)
		require.NoError(t, err)
		children[parent] = append(children[parent], child)
	}
	var all []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		all = append(all, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

func gone(pids []int) func() bool {
	return func() bool {
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	}
}

func TestRun_startsEverythingAndStopsEverythingInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".slipway")
	p := startProcess(t, dir)
	p.await("Slipway is ready")
	stat, err := os.Stat(filepath.Join(dir, "credentials.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), stat.Mode().Perm())
	c := p.credentials()
	require.NoError(t, get(c.APIURL+"/"))
	require.NoError(t, get(c.TemporalUIURL))
	require.NotEmpty(t, c.TemporalAddress)
	require.Equal(t, "org", c.OrgID)

	_ = get(c.APIURL + "/crash")
	require.Eventually(t, func() bool { return get(c.APIURL+"/") == nil }, time.Minute, 20*time.Millisecond)
	p.await("crashed on request")

	pids := descendants(t, p.cmd.Process.Pid)
	require.GreaterOrEqual(t, len(pids), 2)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, p.cmd.Wait())
	require.True(t, gone(pids)(), "nothing is left running")
	p.await("stopped")
	log, err := os.ReadFile(filepath.Join(dir, "logs", "postgres.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "database system is shut down")
}

func TestRun_secondOneOnTheFolderIsRefusedAndKillLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir)
	p.await("Slipway is ready")
	first := p.credentials()

	err := Run(t.Context(), testOptions(dir, "unused", &buffer{}))
	require.ErrorContains(t, err, "slipway dev is already running on "+dir+" (process "+strconv.Itoa(p.cmd.Process.Pid)+")")

	pids := descendants(t, p.cmd.Process.Pid)
	require.GreaterOrEqual(t, len(pids), 2)
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()

	// At once, on what the killed one left, and with the same identity.
	again := startProcess(t, dir)
	again.await("Slipway is ready")
	require.Eventually(t, gone(pids), time.Minute, 20*time.Millisecond, "the killed one's children are gone")
	require.Equal(t, first.Token, again.credentials().Token)
	pids = descendants(t, again.cmd.Process.Pid)
	require.NoError(t, again.cmd.Process.Kill())
	_ = again.cmd.Wait()
	require.Eventually(t, gone(pids), time.Minute, 20*time.Millisecond)
}

func TestRun_killedChildrenAreStartedAgain(t *testing.T) {
	p := startProcess(t, t.TempDir())
	p.await("Slipway is ready")
	for _, child := range directChildren(t, p.cmd.Process.Pid) {
		require.NoError(t, syscall.Kill(child, syscall.SIGKILL))
	}
	require.Eventually(t, func() bool {
		return len(directChildren(t, p.cmd.Process.Pid)) == 2 && get(p.credentials().TemporalUIURL) == nil
	}, 3*time.Minute, 50*time.Millisecond)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
}

func directChildren(t *testing.T, pid int) []int {
	t.Helper()
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(string(out)) {
		child, err := strconv.Atoi(field)
		require.NoError(t, err)
		pids = append(pids, child)
	}
	return pids
}

func TestRun_fatalFailureEndsItWithTheReason(t *testing.T) {
	p := startProcess(t, t.TempDir())
	p.await("Slipway is ready")
	pids := descendants(t, p.cmd.Process.Pid)
	_ = get(p.credentials().APIURL + "/fatal")
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.out.String(), "error api: cannot go on")
	require.True(t, gone(pids)())
}

// The first signal alone would not end it: its role never comes to its end.
func TestRun_secondSignalStopsAtOnce(t *testing.T) {
	p := startProcess(t, t.TempDir(), "SLIPWAY_TEST_STUBBORN=1")
	p.await("Slipway is ready")
	pids := descendants(t, p.cmd.Process.Pid)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	p.await("Stopping …")
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, p.cmd.Wait())
	require.Contains(t, p.out.String(), "Stopping at once.")
	require.Eventually(t, gone(pids), time.Minute, 20*time.Millisecond)
}

func TestRun_busyPortNamesItsSetting(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	opts := testOptions(t.TempDir(), "unused", &buffer{})
	opts.DispatcherAddr = listener.Addr().String()
	err = Run(t.Context(), opts)
	require.ErrorContains(t, err, listener.Addr().String())
	require.ErrorContains(t, err, "SLIPWAY_DISPATCHER_PORT")
}

func TestReadCredentials_damagedFileSaysWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials.json")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err := readCredentials(path)
	require.ErrorContains(t, err, "remove it to get a new token")
}

// buffer is a bytes.Buffer that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
