//go:build frameworks

package framework_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/toolchain"
)

// builder carries out a plan in a folder and leaves the output in it.
type builder func(ctx context.Context, t *testing.T, dir string, plan framework.Plan) error

// TestScaffolds_buildAndServeAPage builds the smallest project of every rule
// with the pinned toolchain, straight on this machine, and fetches its page. It
// needs the package registry and some minutes; choose one with -run .../astro.
func TestScaffolds_buildAndServeAPage(t *testing.T) {
	dir, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Install(t.Context(), dir, os.Stderr)
	require.NoError(t, err)
	testScaffolds(t, tools, buildWith(tools))
}

func testScaffolds(t *testing.T, tools toolchain.Toolchain, build builder) {
	for _, scaffold := range scaffolds {
		t.Run(scaffold.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			defer cancel()
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(scaffoldDir(scaffold.name))))
			plan, err := framework.Detect(folder(dir))
			require.NoError(t, err)
			require.NoError(t, build(ctx, t, dir, plan))
			if scaffold.output == "" {
				requireWorker(t, tools, dir, plan, "hello from "+scaffold.name)
				return
			}

			output, err := framework.FindOutput(plan, func(name string) bool {
				entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(name)))
				return err == nil && len(entries) > 0
			})
			require.NoError(t, err)
			require.Equal(t, scaffold.output, output)
			requirePage(t, filepath.Join(dir, filepath.FromSlash(output)), "hello from "+scaffold.name)
		})
	}
}

// TestScaffolds_everyPackageManagerInstallsItsOwnLockfile makes each kind of
// lockfile with the pinned package manager and installs from it.
func TestScaffolds_everyPackageManagerInstallsItsOwnLockfile(t *testing.T) {
	dir, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Install(t.Context(), dir, os.Stderr)
	require.NoError(t, err)
	for _, manager := range []struct {
		name, field, lockfile string
		makes                 []string
	}{
		{"npm", "", "package-lock.json", []string{"npm", "install", "--package-lock-only"}},
		{"pnpm", "", "pnpm-lock.yaml", []string{"pnpm", "install", "--lockfile-only"}},
		{"yarn classic", "", "yarn.lock", []string{"yarn", "install", "--ignore-scripts"}},
		{"yarn 4", `,"packageManager":"yarn@4.10.3"`, "yarn.lock", []string{"yarn", "install", "--mode=update-lockfile"}},
		{"bun", "", "bun.lock", []string{"bun", "install", "--lockfile-only"}},
	} {
		t.Run(manager.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(scaffoldDir("vite-vanilla"))))
			manifest := `{"name":"a","private":true,"type":"module","scripts":{"build":"vite build"},"devDependencies":{"vite":"8.3.8"}` + manager.field + `}`
			require.NoError(t, os.WriteFile(filepath.Join(dir, "package.json"), []byte(manifest), 0o644))
			plan, err := framework.Detect(folder(dir))
			require.NoError(t, err)
			plan.Install, plan.Build = manager.makes, nil
			plan.Env["YARN_ENABLE_IMMUTABLE_INSTALLS"] = "false"
			require.NoError(t, buildWith(tools)(ctx, t, dir, plan))
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "node_modules")))

			plan, err = framework.Detect(folder(dir))
			require.NoError(t, err)
			require.Equal(t, manager.lockfile, plan.Lockfile)
			require.True(t, plan.Frozen)
			require.NoError(t, buildWith(tools)(ctx, t, dir, plan))
			require.FileExists(t, filepath.Join(dir, "node_modules", "vite", "package.json"))
			requirePage(t, filepath.Join(dir, "dist"), "hello from vite-vanilla")

			// And what is not in it any more fails, with a diagnosis.
			changed := strings.Replace(manifest, `"vite":"8.3.8"`, `"vite":"8.3.8","is-number":"7.0.0"`, 1)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "package.json"), []byte(changed), 0o644))
			require.ErrorContains(t, buildWith(tools)(ctx, t, dir, plan), "lockfile_out_of_sync")
		})
	}
}

func buildWith(tools toolchain.Toolchain) builder {
	return func(ctx context.Context, t *testing.T, dir string, plan framework.Plan) error {
		for _, phase := range []struct {
			name, dir string
			argv      []string
		}{
			{framework.PhaseInstall, plan.InstallDir, plan.Install},
			{framework.PhaseBuild, plan.Root, plan.Build},
		} {
			if phase.argv == nil {
				continue
			}
			started := time.Now()
			cmd := exec.CommandContext(ctx, tools.Tool(phase.argv[0]), phase.argv[1:]...)
			if phase.argv[0] == "sh" {
				cmd = exec.CommandContext(ctx, "sh", phase.argv[1:]...)
			}
			cmd.Dir = filepath.Join(dir, filepath.FromSlash(phase.dir))
			cmd.Env = append(os.Environ(), "PATH="+tools.Bin()+":/usr/bin:/bin")
			for name, value := range plan.Env {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
			cmd.WaitDelay = 10 * time.Second
			out, err := cmd.CombinedOutput()
			t.Logf("%s took %s", phase.name, time.Since(started).Round(100*time.Millisecond))
			if err != nil {
				tail := strings.Split(strings.TrimSpace(string(out)), "\n")
				tail = tail[max(0, len(tail)-40):]
				diagnosis := framework.Diagnose(framework.Failure{
					Step: phase.name, Command: strings.Join(phase.argv, " "), ExitCode: cmd.ProcessState.ExitCode(), Tail: tail, Plan: plan,
				})
				return fmt.Errorf("%s: %w (%s: %s)\n%s", phase.name, err, diagnosis.Cause, diagnosis.Advice, strings.Join(diagnosis.Tail, "\n"))
			}
		}
		return nil
	}
}

var scriptSource = regexp.MustCompile(`(?:src|href)="?([^"\s>]+\.m?js)"?`)

// requirePage fetches the start page and, since a single page writes its words
// by script, the scripts it names and those that they import.
func requirePage(t *testing.T, dir, words string) {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	page := fetch(t, server.URL+"/")
	require.Contains(t, strings.ToLower(string(page)), "<html", "the start page is not a page")
	if bytes.Contains(page, []byte(words)) {
		return
	}
	seen := map[string]bool{}
	var queue []string
	for _, match := range scriptSource.FindAllSubmatch(page, -1) {
		queue = append(queue, path.Join("/", string(match[1])))
	}
	imports := regexp.MustCompile(`["']([^"'\s]+\.m?js)["']`)
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if seen[name] || len(seen) > 200 {
			continue
		}
		seen[name] = true
		answer, err := http.Get(server.URL + name)
		require.NoError(t, err)
		script, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		require.NoError(t, err)
		if answer.StatusCode != http.StatusOK {
			continue // a name in a string that is no file
		}
		if bytes.Contains(script, []byte(words)) {
			return
		}
		for _, match := range imports.FindAllSubmatch(script, -1) {
			target := string(match[1])
			if !strings.HasPrefix(target, "/") {
				target = path.Join(path.Dir(name), target)
			}
			queue = append(queue, target)
		}
	}
	t.Fatalf("neither the page nor its %d scripts say %q:\n%s", len(seen), words, page)
}

func fetch(t *testing.T, address string) []byte {
	t.Helper()
	answer, err := http.Get(address)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return body
}
