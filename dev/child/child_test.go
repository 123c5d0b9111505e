package child

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

func TestStart_childOutlivesTheThreadThatAskedForIt(t *testing.T) {
	var process *Process
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// The thread ends with this goroutine, and with it would a child forked on it.
		runtime.LockOSThread()
		process = start(t, "sleep 60")
	}()
	<-ended
	select {
	case <-process.Done():
		t.Fatal("the child died with a thread of its parent")
	case <-time.After(300 * time.Millisecond):
	}
	process.Stop(t.Context(), time.Second, syscall.SIGTERM)
}

func TestStop_insistsAndTakesGrandchildrenAlong(t *testing.T) {
	out := &lines{}
	process, err := Start(Options{Name: "stubborn", Path: "/bin/sh", Output: out,
		Args: []string{"-c", `trap "" TERM; sleep 60 & echo $!; while :; do wait; done`}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "\n") }, time.Minute, time.Millisecond)
	process.Stop(t.Context(), 50*time.Millisecond, syscall.SIGTERM)
	require.ErrorContains(t, process.Err(), "stubborn ended: signal: killed")
	require.Eventually(t, func() bool { return syscall.Kill(-process.Pid(), 0) != nil }, time.Minute, time.Millisecond)
}

func TestStop_hurriesWhenItsContextEnds(t *testing.T) {
	process := start(t, `trap "" TERM; while :; do sleep 1; done`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	started := time.Now()
	process.Stop(ctx, time.Hour, syscall.SIGTERM)
	require.Less(t, time.Since(started), 5*time.Minute)
}

func TestErr_endsWithTheLastLinesOfOutput(t *testing.T) {
	process := start(t, "for i in $(seq 100); do echo line $i; done; echo the reason >&2; exit 3")
	<-process.Done()
	require.ErrorContains(t, process.Err(), "exit status 3")
	require.ErrorContains(t, process.Err(), "the reason")
	require.NotContains(t, process.Err().Error(), "line 50\n")
	process.Stop(t.Context(), time.Second, syscall.SIGTERM)
}

func TestStart_passesFilesAndEnvironmentAndNothingElse(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	out := &lines{}
	process, err := Start(Options{Name: "sh", Path: "/bin/sh", Env: []string{"ONLY=this"}, Files: []*os.File{file}, Stdout: out,
		Args: []string{"-c", `readlink /proc/self/fd/3; echo "$ONLY$HOME"`}})
	require.NoError(t, err)
	<-process.Done()
	require.NoError(t, process.Err())
	require.Equal(t, file.Name()+"\nthis\n", out.String())
}

func TestStart_missingProgramIsAnError(t *testing.T) {
	_, err := Start(Options{Name: "nothing", Path: "/nonexistent"})
	require.ErrorContains(t, err, "start nothing")
}

func start(t *testing.T, script string) *Process {
	t.Helper()
	process, err := Start(Options{Name: "sh", Path: "/bin/sh", Args: []string{"-c", script}})
	if err != nil {
		t.Error(err)
	}
	return process
}

// lines is a bytes.Buffer that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
