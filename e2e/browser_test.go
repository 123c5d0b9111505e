package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/toolchain"
)

// TestBrowser_rendersTheSiteAndTheReference looks at a deployment and at the API's
// reference with a real browser; e2e/browser/visit.mjs says what it holds them to.
// go test -artifacts keeps the screenshots.
func TestBrowser_rendersTheSiteAndTheReference(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	chromium := findChromium(t)
	tools := installVisit(ctx, t)
	shots := t.ArtifactDir()

	s := boot(t)
	st := s.succeed(s.deploy(s.newProject("browsed"), example(t, "vite-react")))

	visit := exec.CommandContext(ctx, tools.Tool("node"), filepath.Join(visitDir(), "visit.mjs"), chromium, st.URL, s.APIURL, shots)
	said, err := visit.CombinedOutput()
	require.NoError(t, err, "%s", said)
	t.Logf("%s", said)
	for _, page := range []string{"site", "site-narrow", "docs", "docs-narrow"} {
		require.FileExists(t, filepath.Join(shots, page+".png"))
	}
}

// findChromium skips the test where there is no browser, except in CI, where that
// fails it.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("chromium is not installed; ./task deps installs it")
	}
	t.Skip("chromium is not installed; ./task deps installs it")
	return ""
}

func visitDir() string { return filepath.Join(repository(), "e2e", "browser") }

// installVisit installs what the browser is driven with, unless what the lockfile
// says is there already, and returns the pinned Node that runs it.
func installVisit(ctx context.Context, t *testing.T) toolchain.Toolchain {
	t.Helper()
	cache, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Install(ctx, cache, os.Stderr)
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join(visitDir(), "package-lock.json"))
	require.NoError(t, err)
	stamp := filepath.Join(visitDir(), "node_modules", ".slipway-lock")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, want) {
		return tools
	}
	npm := exec.CommandContext(ctx, tools.Tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = visitDir()
	npm.Env = append(os.Environ(), "PATH="+tools.Bin()+":"+os.Getenv("PATH"))
	said, err := npm.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.NoError(t, os.WriteFile(stamp, want, 0o644))
	return tools
}
