package e2e

import (
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDashboard_showsEverythingLive goes through the dashboard with a real browser, as
// somebody new does; e2e/browser/dashboard.mjs says what it holds it to.
// go test -artifacts keeps screenshots of every page, light and dark, wide and narrow.
func TestDashboard_showsEverythingLive(t *testing.T) {
	needDashboard(t)
	storage, env := newFragileStorage(t)
	control := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/break":
			storage.arm(true)
		case "/fail":
			storage.fail()
		case "/mend":
			storage.mend()
		}
	}))
	t.Cleanup(control.Close)
	s := boot(t, append(env, "SLIPWAY_SIGN_UP=open")...)

	runVisit(t, "dashboard.mjs", s.APIURL, control.URL, filepath.Join(s.dir, "mail"), t.TempDir(), shots(t))
}

// runVisit runs a script of e2e/browser with Chromium and what else it takes, and
// fails with what the script says.
func runVisit(t *testing.T, script string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	chromium := findChromium(t)
	tools := installVisit(ctx, t)
	visit := exec.CommandContext(ctx, tools.Tool("node"), append([]string{filepath.Join(visitDir(), script), chromium}, args...)...)
	said, err := visit.CombinedOutput()
	require.NoError(t, err, "%s", said)
	t.Logf("%s", said)
}

// needDashboard skips the test where the binary has no dashboard, except in CI, where
// that fails it.
func needDashboard(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(repository(), "dashboard", "bundle", "files.json")); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("the dashboard's program is missing: run `go generate ./dashboard` first")
	}
	t.Skip("built without the dashboard's program; `go generate ./dashboard` makes it")
}

// shots is the folder for screenshots, or empty where go test keeps none: they take a
// third of such a test's time.
func shots(t *testing.T) string {
	t.Helper()
	if kept := flag.Lookup("test.artifacts"); kept == nil || kept.Value.String() != "true" {
		return ""
	}
	return t.ArtifactDir()
}
