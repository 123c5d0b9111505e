package postgres

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary stand in for a program that owns a server and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SLIPWAY_TEST_POSTGRES_PARENT"); dir != "" {
		parent(dir)
	}
	os.Exit(m.Run())
}

// parent starts a server, prints its URL and waits to be killed.
func parent(dir string) {
	server, err := Start(context.Background(), Options{DataDir: dir, CacheDir: os.TempDir()})
	if err != nil {
		_, _ = os.Stdout.WriteString("error " + err.Error() + "\n")
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString("ready " + server.URL("postgres") + "\n")
	select {}
}

// startParent runs parent as a process of its own and returns it with the URL.
func startParent(t *testing.T, program, dir string, as *syscall.Credential) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "SLIPWAY_TEST_POSTGRES_PARENT="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	require.True(t, ok, line)
	return cmd, url
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	server, err := Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { server.Stop(context.Background()) })
	return server
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	defer rows.Close()
	answer := ""
	for rows.Next() {
		require.NoError(t, rows.Scan(&answer))
	}
	require.NoError(t, rows.Err())
	return answer
}

func TestServer_keepsDataAndPasswordOverRestarts(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{DataDir: dir})
	require.NoError(t, first.CreateDatabase(t.Context(), "app"))
	require.NoError(t, first.CreateDatabase(t.Context(), "app"), "creating it again changes nothing")
	query(t, first.URL("app"), "CREATE TABLE kept AS SELECT 'bytes' AS b")
	first.Stop(t.Context())
	first.Stop(t.Context())
	require.Empty(t, processesIn(first.clusterDir()))

	second := start(t, Options{DataDir: dir})
	require.Equal(t, "bytes", query(t, second.URL("app"), "SELECT b FROM kept"))
	mode, err := os.Stat(second.passwordFile())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), mode.Mode().Perm())
	_, err = pgx.Connect(t.Context(), strings.Replace(second.URL("app"), second.password, "wrong", 1))
	require.ErrorContains(t, err, "password authentication failed")
}

func TestServer_dataFolderUnderAClosedParentWorksAndStaysClosed(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	server := start(t, Options{DataDir: filepath.Join(closed, strings.Repeat("long", 40), "pg"), Ephemeral: true})
	require.Equal(t, "1", query(t, server.URL("postgres"), "SELECT '1'"))
	stat, err := os.Stat(closed)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), stat.Mode().Perm())
	query(t, server.URL("postgres"), "SELECT pg_reload_conf()::text")
	require.Equal(t, "1", query(t, server.URL("postgres"), "SELECT '1'"))
}

func TestServer_secondStartOnTheSameFolderIsRefused(t *testing.T) {
	server := start(t, Options{DataDir: t.TempDir(), Ephemeral: true})
	_, err := Start(t.Context(), Options{DataDir: server.opts.DataDir})
	require.ErrorContains(t, err, "in use by another running process")
}

func TestServer_busyPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, err = Start(t.Context(), Options{DataDir: t.TempDir(), Ephemeral: true, Port: l.Addr().(*net.TCPAddr).Port})
	require.ErrorContains(t, err, "is taken by another program")
}

func TestServer_otherMajorVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cluster"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cluster", "PG_VERSION"), []byte("9\n"), 0o600))
	_, err := Start(t.Context(), Options{DataDir: dir})
	require.ErrorContains(t, err, "was made by PostgreSQL 9, but this machine has")
	require.ErrorContains(t, err, "install PostgreSQL 9")
}

func TestServer_serveStartsAKilledServerAgainOnItsPort(t *testing.T) {
	server := start(t, Options{DataDir: t.TempDir()})
	query(t, server.URL("postgres"), "CREATE TABLE kept AS SELECT 'bytes' AS b")
	port := server.Port()
	server.process.Signal(syscall.SIGKILL)
	<-server.Done()

	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	}, time.Minute, pollInterval)
	require.Equal(t, port, server.Port())
	require.Equal(t, "bytes", query(t, server.URL("postgres"), "SELECT b FROM kept"))
	cancel()
	require.ErrorIs(t, <-served, context.Canceled)
	require.Empty(t, processesIn(server.clusterDir()))
}

func TestServer_killedParentLeavesNoProcessAndNoLock(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd, url := startParent(t, self, dir, nil)
	query(t, url, "CREATE TABLE kept AS SELECT 'bytes' AS b")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	// At once, while the orphan may still be on its way out.
	server := start(t, Options{DataDir: dir})
	require.Equal(t, "bytes", query(t, server.URL("postgres"), "SELECT b FROM kept"))
	server.Stop(t.Context())
	require.Empty(t, processesIn(server.clusterDir()))
}

func TestServer_orphanedPostmasterIsStoppedFirst(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{DataDir: dir})
	query(t, first.URL("postgres"), "CREATE TABLE kept AS SELECT 'bytes' AS b")
	// The parent forgets its child: the lock is free, the server runs on.
	first.unlock()
	second := start(t, Options{DataDir: dir})
	require.Equal(t, "bytes", query(t, second.URL("postgres"), "SELECT b FROM kept"))
	<-first.process.Done()
}

func TestServer_lockFileNamingAStrangerDoesNotHinder(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{DataDir: dir})
	first.Stop(t.Context())
	stranger := exec.Command("cat")
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: first.owner}
	in, err := stranger.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, stranger.Start())
	defer func() { _ = in.Close(); _ = stranger.Wait() }()
	pid := []byte(strconv.Itoa(stranger.Process.Pid) + "\n/proc/self/fd/3\n0\n5432\n\n127.0.0.1\n0 0\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cluster", "postmaster.pid"), pid, 0o600))
	second := start(t, Options{DataDir: dir})
	require.Equal(t, "1", query(t, second.URL("postgres"), "SELECT '1'"))
}

func TestServer_runsForAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("every other test here runs as an ordinary user already")
	}
	// /tmp is open to everyone, unlike the folders of t.TempDir and of the test binary.
	base, err := os.MkdirTemp("/tmp", "slipway-user-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	require.NoError(t, os.Chmod(base, 0o755))
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	program, dir := filepath.Join(base, "program"), filepath.Join(base, "data")
	require.NoError(t, os.WriteFile(program, self, 0o755))
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chown(dir, 65534, 65534))
	cmd, url := startParent(t, program, dir, &syscall.Credential{Uid: 65534, Gid: 65534})
	require.Equal(t, "1", query(t, url, "SELECT '1'"))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool { return len(processesIn(filepath.Join(dir, "cluster"))) == 0 }, time.Minute, pollInterval)
}

func TestServer_unfinishedFolderIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "initializing", "base"), 0o700))
	server := start(t, Options{DataDir: dir, Ephemeral: true})
	require.Equal(t, "1", query(t, server.URL("postgres"), "SELECT '1'"))
}

func TestServer_programsComeFromNpmWhenTheMachineHasNone(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads 30 MB")
	}
	cache, err := os.MkdirTemp("/tmp", "slipway-npm-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(cache) })
	require.NoError(t, os.Chmod(cache, 0o755))
	dir := t.TempDir()
	opts := Options{DataDir: dir, CacheDir: cache, Ephemeral: true}
	bin, err := installFromNpm(t.Context(), opts)
	require.NoError(t, err)
	opts.BinDir = bin.dir
	server := start(t, opts)
	require.Contains(t, query(t, server.URL("postgres"), "SELECT version()"), "PostgreSQL 18")
	server.Stop(t.Context())
	again, err := installFromNpm(t.Context(), opts)
	require.NoError(t, err)
	require.Equal(t, bin, again)

	// A folder of that version is opened with the same programs, not the machine's.
	opts.BinDir = ""
	server = start(t, opts)
	require.Contains(t, query(t, server.URL("postgres"), "SELECT version()"), "PostgreSQL 18")
}
