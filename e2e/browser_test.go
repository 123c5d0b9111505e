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
)

// TestBrowser_rendersTheSiteAndTheReference looks at a deployment and at the API's
// reference with a real browser; e2e/browser/visit.mjs says what it holds them to.
// go test -artifacts keeps the screenshots.
func TestBrowser_rendersTheSiteAndTheReference(t *testing.T) {
	chromium := needProgram(t, "chromium", "chromium-browser")
	node := needProgram(t, "node")
	visit := installVisit(t)
	shots := t.ArtifactDir()

	s := boot(t)
	st := s.succeed(s.deploy(s.newProject("browsed"), example(t, "vite-react")))

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, visit, chromium, st.URL, s.APIURL, shots)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	t.Logf("%s", said)
	for _, page := range []string{"site", "site-narrow", "docs", "docs-narrow"} {
		require.FileExists(t, filepath.Join(shots, page+".png"))
	}
}

// needProgram finds the first of several programs. In CI, where nothing may be
// left out, a machine without any of them fails the test.
func needProgram(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed; ./task deps installs it", names[0])
	}
	t.Skipf("%s is not installed; ./task deps installs it", names[0])
	return ""
}

// installVisit installs what the browser is driven with, unless the lockfile's
// packages are there already, and returns the script.
func installVisit(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(repository(), "e2e", "browser")
	want, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	require.NoError(t, err)
	stamp := filepath.Join(dir, "node_modules", ".slipway-lock")
	if have, err := os.ReadFile(stamp); err != nil || !bytes.Equal(have, want) {
		npm := exec.CommandContext(t.Context(), needProgram(t, "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = dir
		said, err := npm.CombinedOutput()
		require.NoError(t, err, "%s", said)
		require.NoError(t, os.WriteFile(stamp, want, 0o644))
	}
	return filepath.Join(dir, "visit.mjs")
}
