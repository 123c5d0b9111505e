package toolchain_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/toolchain"
)

type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

func installed(t *testing.T) toolchain.Toolchain {
	t.Helper()
	dir, err := toolchain.DefaultDir()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tools, err := toolchain.Install(ctx, dir, testLog{t})
	require.NoError(t, err)
	return tools
}

func TestInstall_everyToolRuns(t *testing.T) {
	tools := installed(t)
	want := map[string]string{
		"node": "v22.", "npm": "10.", "npx": "10.", "pnpm": "10.", "yarn": "1.22", "bun": "1.", "bunx": "1.", "workerd": "workerd ",
	}
	for name, prefix := range want {
		cmd := exec.Command(tools.Tool(name), "--version")
		cmd.Env = []string{"PATH=" + tools.Bin() + ":/usr/bin:/bin", "HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s: %s", name, out)
		require.Truef(t, strings.HasPrefix(string(out), prefix), "%s said %q", name, out)
	}
}

func TestInstall_yarnFollowsTheAskedGeneration(t *testing.T) {
	tools := installed(t)
	cmd := exec.Command(tools.Tool("yarn"), "--version")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "SLIPWAY_YARN=berry"}
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	require.Regexp(t, `^4\.`, string(out))
}

func TestInstall_packageManagerFieldDoesNotFetchAnother(t *testing.T) {
	tools := installed(t)
	for field, tool := range map[string]string{"pnpm@9.0.0": "pnpm", "yarn@4.1.0": "yarn", "yarn@1.22.0": "pnpm"} {
		dir := t.TempDir()
		manifest := `{"name":"a","version":"1.0.0","packageManager":"` + field + `","scripts":{"hello":"echo hello"}}`
		require.NoError(t, os.WriteFile(filepath.Join(dir, "package.json"), []byte(manifest), 0o644))
		cmd := exec.Command(tools.Tool(tool), "run", "hello")
		cmd.Dir = dir
		// No registry answers there: whoever wants to fetch something fails.
		cmd.Env = []string{"PATH=" + tools.Bin() + ":/usr/bin:/bin", "HOME=" + t.TempDir(), "npm_config_registry=http://127.0.0.1:9/"}
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s with packageManager %s: %s", tool, field, out)
		require.Contains(t, string(out), "hello")
	}
}

func TestInstall_isReadableAndRelocatable(t *testing.T) {
	tools := installed(t)
	err := filepath.WalkDir(tools.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		known, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			require.Falsef(t, filepath.IsAbs(target), "%s is a link to %s, which is another place inside a sandbox", path, target)
			return nil
		}
		require.NotZerof(t, known.Mode().Perm()&0o004, "%s is not readable for the sandbox's user", path)
		return nil
	})
	require.NoError(t, err)
}

func TestInstall_saysWhatToDoWithoutNpm(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := toolchain.Install(t.Context(), t.TempDir(), testLog{t})
	require.ErrorContains(t, err, "npm")
	require.ErrorContains(t, err, "install Node.js")
}

// failingNpm puts an npm on the PATH that leaves something behind and fails.
func failingNpm(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "npm"), []byte("#!/bin/sh\n"+script), 0o755))
	t.Setenv("PATH", bin+":/usr/bin:/bin")
}

func TestInstall_leavesNothingBehindWhenTheRegistryFails(t *testing.T) {
	failingNpm(t, "mkdir node_modules; echo 'network request failed'; exit 1\n")
	dir := t.TempDir()
	_, err := toolchain.Install(t.Context(), dir, testLog{t})
	require.ErrorContains(t, err, "network request failed")
	_, err = toolchain.Locate(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "only the lock file stays")
}

func TestInstall_clearsWhatAKilledInstallLeft(t *testing.T) {
	failingNpm(t, "exit 1\n")
	dir := t.TempDir()
	leftover := filepath.Join(dir, ".installing-123")
	require.NoError(t, os.MkdirAll(leftover, 0o755))
	_, err := toolchain.Install(t.Context(), dir, testLog{t})
	require.Error(t, err)
	require.NoDirExists(t, leftover)
}

func TestInstall_waitsForAnotherAndGivesUpWhenCancelled(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "started")
	failingNpm(t, "touch "+ready+"; exec sleep 60\n")
	dir := t.TempDir()
	first, cancelFirst := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		_, err := toolchain.Install(first, dir, testLog{t})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the first install ended with %v", err)
		}
	})
	require.Eventually(t, func() bool { _, err := os.Stat(ready); return err == nil }, 2*time.Minute, 10*time.Millisecond)
	second, cancelSecond := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancelSecond()
	_, err := toolchain.Install(second, dir, testLog{t})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	cancelFirst()
	wait.Wait()
}

func TestVersion_isStableAndShort(t *testing.T) {
	require.Regexp(t, `^[0-9a-f]{32}$`, toolchain.Version())
	require.Equal(t, toolchain.Version(), toolchain.Version())
}
