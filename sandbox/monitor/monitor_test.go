package monitor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) {
	if Started() {
		os.Exit(Main())
	}
	leaks.VerifyTestMain(m)
}

func start(t *testing.T) *Monitor {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	m, err := Start(executable, []string{"PATH=/usr/bin:/bin"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// runtimeCall is a launch whose runtime is a shell script: it leaves its program
// behind and its number in the file "$PIDFILE".
func runtimeCall(t *testing.T, script string, files ...*os.File) Launch {
	t.Helper()
	pidFile := filepath.Join(t.TempDir(), "pid")
	return Launch{
		Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "PIDFILE=" + pidFile},
		PIDFile: pidFile, Files: files,
	}
}

// patience is how long a test waits for what must come: long, because only a test
// that fails waits for all of it.
const patience = 2 * time.Minute

func await(t *testing.T, p *Program) int {
	t.Helper()
	select {
	case <-p.Ended():
	case <-time.After(patience):
		t.Fatal("the program did not end")
	}
	return p.Code()
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

func TestMonitor_saysHowProgramsEnd(t *testing.T) {
	m := start(t)
	for program, code := range map[string]int{
		"exit 7": 7, "exit 0": 0, "kill -9 $$": 137, "kill -TERM $$": 143,
		// One the monitor holds off itself does what it does elsewhere.
		"kill -HUP $$; exit 9": 129,
	} {
		p, err := m.Launch(t.Context(), runtimeCall(t, "(sleep 0.05; exec /bin/sh -c '"+program+"') & echo $! > $PIDFILE"))
		require.NoError(t, err)
		require.Equal(t, code, await(t, p), program)
	}
}

func TestMonitor_reportsAProgramThatEndedBeforeItsRuntime(t *testing.T) {
	m := start(t)
	// The parent in between ends first, so that the program is the monitor's.
	p, err := m.Launch(t.Context(), runtimeCall(t,
		"/bin/sh -c '(sleep 0.05; exit 5) & echo $! > $PIDFILE'; sleep 0.3"))
	require.NoError(t, err)
	require.Equal(t, 5, await(t, p))
}

func TestMonitor_handsOverFiles(t *testing.T) {
	m := start(t)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	p, err := m.Launch(t.Context(), runtimeCall(t, "(echo fourth >&3; cat; ls /proc/self/fd >&2) & echo $! > $PIDFILE", write, write, write))
	require.NoError(t, err)
	write.Close()
	require.Zero(t, await(t, p))
	buffer := make([]byte, 100)
	n, err := read.Read(buffer)
	require.NoError(t, err)
	require.Equal(t, "fourth\n0\n1\n2\n3\n4\n", string(buffer[:n]), "4 is the folder being listed")
	n, _ = read.Read(buffer)
	require.Zero(t, n, "the monitor holds none of it")
}

func TestMonitor_saysWhyARuntimeFailed(t *testing.T) {
	m := start(t)
	_, err := m.Launch(t.Context(), runtimeCall(t, "exit 3"))
	require.ErrorContains(t, err, "exit code 3")
	_, err = m.Launch(t.Context(), runtimeCall(t, "exit 0"))
	require.ErrorContains(t, err, "did not say what it started")
	_, err = m.Launch(t.Context(), Launch{Args: []string{"/no/such/runtime"}})
	require.ErrorContains(t, err, "no such file")
	_, err = m.Launch(t.Context(), Launch{Args: []string{"/bin/true"}, Files: make([]*os.File, MaxFiles+1)})
	require.ErrorContains(t, err, "too many")
}

func TestMonitor_endsARuntimeThatTakesTooLong(t *testing.T) {
	m := start(t)
	mark := filepath.Join(t.TempDir(), "mark")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	child := make(chan int, 1)
	go func() { // patience is over when the runtime hangs, however long it took to get there
		defer cancel()
		for ctx.Err() == nil {
			content, _ := os.ReadFile(mark)
			if pid, whole := strings.CutSuffix(string(content), "\n"); whole {
				number, _ := strconv.Atoi(pid)
				child <- number
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := m.Launch(ctx, runtimeCall(t, "sleep 600 & echo $! > "+mark+"; wait"))
	require.ErrorIs(t, err, context.Canceled)
	pid := <-child
	require.Positive(t, pid)
	require.Eventually(t, func() bool { return !alive(pid) }, patience, time.Millisecond)
}

func TestMonitor_runsManyAtOnce(t *testing.T) {
	m := start(t)
	var all sync.WaitGroup
	for i := range 40 {
		launch := runtimeCall(t, fmt.Sprintf("(sleep 0.1; exit %d) & echo $! > $PIDFILE", i))
		all.Go(func() {
			p, err := m.Launch(t.Context(), launch)
			if err != nil {
				t.Error(err)
				return
			}
			<-p.Ended()
			if p.Code() != i {
				t.Errorf("exit code %d instead of %d", p.Code(), i)
			}
		})
	}
	all.Wait()
}

func TestClose_endsEveryProgramAndWhatItStarted(t *testing.T) {
	m := start(t)
	p, err := m.Launch(t.Context(), runtimeCall(t, "(trap '' TERM HUP; setsid sleep 600 & wait) & echo $! > $PIDFILE"))
	require.NoError(t, err)
	require.True(t, alive(p.PID))
	require.NoError(t, m.Close())
	require.Equal(t, 137, await(t, p))
	require.False(t, alive(p.PID))
	_, err = m.Launch(t.Context(), runtimeCall(t, "exit 0"))
	require.ErrorIs(t, err, ErrGone)
}

func TestMonitor_outlivesSignalsThatItsProviderGets(t *testing.T) {
	m := start(t)
	p, err := m.Launch(t.Context(), runtimeCall(t, "sleep 600 & echo $! > $PIDFILE"))
	require.NoError(t, err)
	for _, signal := range []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		require.NoError(t, m.process.Process.Signal(signal))
	}
	again, err := m.Launch(t.Context(), runtimeCall(t, "(sleep 0.05; exit 4) & echo $! > $PIDFILE"))
	require.NoError(t, err)
	require.Equal(t, 4, await(t, again))
	require.NoError(t, m.process.Process.Kill())
	<-m.Gone()
	require.Equal(t, 137, await(t, p), "killed, it knows nothing any more")
	require.NoError(t, unix.Kill(p.PID, unix.SIGKILL))
}
