package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// collected gathers what Collect hands over.
func collected(t testing.TB, s sandbox.Sandbox, dir string, limits sandbox.CollectLimits) (map[string]string, error) {
	t.Helper()
	files := map[string]string{}
	err := s.Collect(t.Context(), dir, limits, func(file sandbox.Collected) error {
		content, err := io.ReadAll(file.Reader)
		files[file.Path] = fmt.Sprintf("%o %s", file.Mode, content)
		if err == nil && int64(len(content)) != file.Size {
			err = fmt.Errorf("%s has %d bytes instead of %d", file.Path, len(content), file.Size)
		}
		return err
	})
	return files, err
}

func TestCollect_handsOverRegularFiles(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("collect"))
	got := sh(t, s, `mkdir -p dist/assets/deep "dist/empty" && printf '<p>' > dist/index.html &&
		printf x > dist/assets/deep/a.js && printf '#!' > dist/run.sh && chmod 700 dist/run.sh &&
		: > dist/none && printf ü > "dist/größe 1.txt" && ln dist/index.html dist/hardlink.html`)
	require.Equal(t, 0, got.ExitCode, got.Output)
	files, err := collected(t, s, "dist", sandbox.CollectLimits{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"index.html": "644 <p>", "assets/deep/a.js": "644 x", "run.sh": "755 #!", "none": "644 ",
		"größe 1.txt": "644 ü", "hardlink.html": "644 <p>",
	}, files)
	all, err := collected(t, s, ".", sandbox.CollectLimits{})
	require.NoError(t, err)
	require.Contains(t, all, "dist/index.html")
}

func TestCollect_refusesHostileOutput(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("hostile"))
	limits := sandbox.CollectLimits{MaxFiles: 1000, MaxBytes: 4 << 20, MaxFileBytes: 2 << 20, MaxDepth: 8, MaxPathBytes: 200}
	for name, hostile := range map[string]struct{ script, says string }{
		"a link to a file":       {"ln -s /etc/passwd dist/x", `"x" is a symbolic link (to "/etc/passwd")`},
		"a link to a folder":     {"ln -s / dist/x", `"x" is a symbolic link`},
		"a link to nothing":      {"ln -s nowhere dist/x", "symbolic link"},
		"a link within":          {"ln -s ok dist/x", "symbolic link"},
		"a named pipe":           {"mkfifo dist/x", "named pipe"},
		"a socket":               {`perl -e 'use Socket; socket(S,PF_UNIX,SOCK_STREAM,0); bind(S, sockaddr_un("dist/x"))'; test -S dist/x`, "no regular file"},
		"a setuid file":          {"echo > dist/x; chmod 4755 dist/x", "setuid"},
		"a setgid file":          {"echo > dist/x; chmod 2755 dist/x", "setuid or setgid"},
		"a sparse terabyte":      {"truncate -s 1G dist/x || truncate -s 60M dist/x", "sparse"},
		"a sparse file in limit": {"truncate -s 1500K dist/x", "sparse"},
		"a large file":           {"head -c 3M /dev/zero > dist/x", "more than the 2097152"},
		"much altogether":        {"for i in 1 2 3 4 5; do head -c 1M /dev/zero > dist/x$i; done", "larger than 4194304 bytes"},
		"many files":             {"cd dist; seq 2000 | xargs touch", "more than 1000 files"},
		"deep folders":           {"mkdir -p dist/1/2/3/4/5/6/7/8/9; echo > dist/1/2/3/4/5/6/7/8/9/x", "more than 8 folders deep"},
		"very deep folders":      {"cd dist; for i in $(seq 1200); do mkdir d && cd d || exit 1; done; echo > x", "nested"},
		"a long name":            {"touch dist/$(head -c 250 /dev/zero | tr '\\0' a)", "longer than 200 bytes"},
		"a newline in a name":    {"touch \"dist/a\nb\"", "control character"},
		"an escape in a name":    {"touch \"dist/$(printf '\\033[2J')\"", "control character"},
		"a name of other bytes":  {"touch \"dist/$(printf 'a\\377')\"", "UTF-8"},
		"a backslash in a name":  {`touch 'dist/..\x'`, "backslash"},
		"an unreadable file":     {"echo > dist/x; chmod 0 dist/x", "permission denied"},
		"an unreadable folder":   {"mkdir dist/d; chmod 0 dist/d", "permission denied"},
		"the folder is a link":   {"rmdir dist; ln -s /etc dist", "symbolic link"},
		"the folder is a file":   {"rmdir dist; echo > dist", "not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := sh(t, s, "chmod -R u+rwx dist; rm -rf dist; mkdir dist")
			require.Equal(t, 0, fresh.ExitCode, fresh.Output)
			got := sh(t, s, hostile.script)
			require.Equal(t, 0, got.ExitCode, got.Output)
			_, err := collected(t, s, "dist", limits)
			require.Equal(t, models.CodeBuildFailed, models.CodeOf(err), "%v", err)
			require.Contains(t, models.MessageOf(err), hostile.says)
			require.NotContains(t, models.MessageOf(err), "\x1b")
		})
	}
}

func TestCollect_saysThatAFolderIsAbsent(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("absent"))
	_, err := collected(t, s, "dist", sandbox.CollectLimits{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
	for _, dir := range []string{"/etc", "../etc", ""} {
		_, err := collected(t, s, dir, sandbox.CollectLimits{})
		require.Equal(t, models.CodeBuildFailed, models.CodeOf(err), "%q: %v", dir, err)
	}
}

func TestCollect_returnsTheConsumersError(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("consumer"))
	sh(t, s, "mkdir dist; for i in 1 2 3; do head -c 2M /dev/zero > dist/$i; done")
	broken := errors.New("blob store is away")
	err := s.Collect(t.Context(), "dist", sandbox.CollectLimits{}, func(sandbox.Collected) error { return broken })
	require.Same(t, broken, err)
	require.Equal(t, "usable\n", sh(t, s, "echo usable").Output)
}

// publish makes and commits a snapshot.
func publish(t *testing.T, s sandbox.Sandbox, dest string) error {
	t.Helper()
	commit, err := s.PublishModules(t.Context(), dest)
	if err != nil {
		return err
	}
	return commit()
}

func TestPublishModules_makesASnapshotThatTheNextSandboxWritesOver(t *testing.T) {
	p := newProvider(t)
	first := newSandbox(t, p, testSpec("install"))
	got := sh(t, first, `mkdir -p node_modules/.bin node_modules/vite/bin && cd node_modules &&
		echo 'echo vite' > vite/bin/vite.js && chmod 755 vite/bin/vite.js && ln -s ../vite/bin/vite.js .bin/vite &&
		echo one > vite/one.js && ln vite/one.js vite/hard.js && ln -s /etc/shadow vite/leak &&
		echo > vite/suid && chmod 4755 vite/suid && mkdir vite/locked && echo in > vite/locked/in && chmod 555 vite/locked`)
	require.Equal(t, 0, got.ExitCode, got.Output)
	folder := t.TempDir()
	dest := filepath.Join(folder, "org", "snapshot")
	require.NoError(t, publish(t, first, dest))
	require.NoError(t, publish(t, first, dest), "a published snapshot stays")

	links := 0
	require.NoError(t, filepath.WalkDir(dest, func(name string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		stat, err := entry.Info()
		require.NoError(t, err)
		system := stat.Sys().(*syscall.Stat_t)
		require.Equal(t, testUIDBase+buildUID, system.Uid, name)
		require.Equal(t, testUIDBase+buildGID, system.Gid, name)
		require.Zero(t, stat.Mode()&(fs.ModeSetuid|fs.ModeSetgid), name)
		if stat.Mode().IsRegular() {
			require.EqualValues(t, 1, system.Nlink, name)
		}
		if stat.Mode()&fs.ModeSymlink != 0 {
			links++
		}
		return nil
	}))
	require.Equal(t, 2, links)
	left, err := os.ReadDir(filepath.Dir(dest))
	require.NoError(t, err)
	require.Len(t, left, 1, "no half-made snapshot is left")

	for _, copied := range []bool{false, true, false} {
		p.copySnapshots.Store(copied)
		spec := testSpec("build")
		spec.ModulesSnapshot = dest
		second := newSandbox(t, p, spec)
		got = sh(t, second, `sh node_modules/.bin/vite && cat node_modules/vite/one.js node_modules/vite/locked/in &&
			echo two > node_modules/vite/one.js && cat node_modules/vite/one.js && mkdir node_modules/.vite &&
			echo cache > node_modules/.vite/x && rm -r node_modules/vite/bin && mkdir node_modules/vite/bin &&
			ls -A node_modules/vite/bin && mv node_modules/vite/hard.js node_modules/vite/soft.js`)
		require.Equal(t, 0, got.ExitCode, got.Output)
		require.Equal(t, "vite\none\nin\ntwo\n", got.Output, "changes are there, and gone with the sandbox")
		require.NotEqual(t, 0, sh(t, second, "cat node_modules/vite/leak").ExitCode, "a planted link leads nowhere")
		require.NotEqual(t, 0, sh(t, second, "echo x > /.slipway/snapshot/vite/one.js").ExitCode)
	}
	content, err := os.ReadFile(filepath.Join(dest, "vite/one.js"))
	require.NoError(t, err)
	require.Equal(t, "one\n", string(content))
}

func TestPublishModules_needsAnInstall(t *testing.T) {
	p := newProvider(t)
	s := newSandbox(t, p, testSpec("noinstall"))
	dest := filepath.Join(t.TempDir(), "snapshot")
	err := publish(t, s, dest)
	require.ErrorIs(t, err, fs.ErrNotExist)
	sh(t, s, "ln -s /usr node_modules")
	require.Equal(t, models.CodeBuildFailed, models.CodeOf(publish(t, s, dest)))
	sh(t, s, "rm node_modules; mkdir node_modules; mkfifo node_modules/x")
	err = publish(t, s, dest)
	require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
	require.True(t, strings.Contains(models.MessageOf(err), "node_modules/x"), err)
	left, err := os.ReadDir(filepath.Dir(dest))
	require.NoError(t, err)
	require.Empty(t, left)
}
