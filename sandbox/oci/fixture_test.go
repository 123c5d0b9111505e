package oci

import (
	"bytes"
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/sandbox"
)

// testUIDBase is a range of this test process alone, so that two runs at a time
// do not see each other.
var testUIDBase = 0x6000_0000 + uint32(os.Getpid()%4096)*sandbox.MinUIDCount

func testSpec(id string) sandbox.Spec {
	return sandbox.Spec{
		ID: id, UIDBase: testUIDBase, UIDCount: sandbox.MinUIDCount,
		Limits: sandbox.Limits{MemoryBytes: 512 << 20, CPUs: 2, PIDs: 256, DiskBytes: 64 << 20},
	}
}

// newSandbox makes a sandbox that the provider's clean-up removes.
func newSandbox(t testing.TB, p *Provider, spec sandbox.Spec) sandbox.Sandbox {
	t.Helper()
	made, err := p.Create(t.Context(), spec)
	require.NoError(t, err)
	return made
}

// ran is a command's end with all it wrote.
type ran struct {
	sandbox.Result
	Output string
}

func sh(t testing.TB, s sandbox.Sandbox, script string) ran {
	t.Helper()
	var out bytes.Buffer
	result, err := s.Exec(t.Context(), sandbox.Command{
		Args: []string{"/bin/sh", "-c", script}, Stdout: &out, Stderr: &out, Timeout: 60 * time.Second,
	})
	require.NoError(t, err)
	return ran{result, out.String()}
}

func textFiles(files map[string]string) iter.Seq2[sandbox.File, error] {
	return func(yield func(sandbox.File, error) bool) {
		for name, content := range files {
			file := sandbox.File{
				Path: name, Size: int64(len(content)),
				Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
			}
			if !yield(file, nil) {
				return
			}
		}
	}
}

// requireNothingLeft looks at the host for anything of a sandbox.
func requireNothingLeft(t testing.TB, p *Provider, id string) {
	t.Helper()
	requireNoTrace(t, p, id)
	// The shim of a killed creator reaps in its own time.
	eventually(t, "no processes are left", func() bool { return len(processesOf(t, testUIDBase)) == 0 })
}

// requireNoTrace leaves out processes.
func requireNoTrace(t testing.TB, p *Provider, id string) {
	t.Helper()
	require.Empty(t, p.cgroups.folders(id), "control groups")
	for _, folder := range []string{p.home.sandbox(id), filepath.Join(p.home.runtimeDir(), id)} {
		_, err := os.Lstat(folder)
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), p.home.dir)
}

// processesOf lists the processes of a uid range on this host.
func processesOf(t testing.TB, base uint32) []string {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	var found []string
	for _, folder := range folders {
		stat, err := os.Stat(folder)
		if err != nil {
			continue
		}
		if uid := ownerOf(stat); uid >= base && uid < base+sandbox.MinUIDCount {
			command, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
			found = append(found, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}

// patience is how long tests wait for what takes milliseconds: an end for what never
// comes, which says nothing of how fast it is.
const patience = 2 * time.Minute

// eventually polls a condition until it holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", patience, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// lines is a writer that says when a text came by.
type lines struct {
	want string
	seen chan struct{}
	all  bytes.Buffer
	done bool
}

func newLines(want string) *lines { return &lines{want: want, seen: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.all.Write(p)
	if !l.done && strings.Contains(l.all.String(), l.want) {
		l.done = true
		close(l.seen)
	}
	return len(p), nil
}
