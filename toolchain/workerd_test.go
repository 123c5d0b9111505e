package toolchain

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLatestCompatibilityDate_isWhatWorkerdSays(t *testing.T) {
	latest, err := LatestCompatibilityDate(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	dir, err := DefaultDir()
	require.NoError(t, err)
	tools, err := Install(t.Context(), dir, t.Output())
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "config.capnp")
	require.NoError(t, os.WriteFile(config, []byte(`using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (
  modules = [(name = "w.js", esModule = "export default {}")], compatibilityDate = "2099-01-01"))]);`), 0o644))
	// It ends at once: a worker of a date that it does not know is an error.
	said, err := exec.CommandContext(t.Context(), tools.Tool("workerd"), "serve", config).CombinedOutput()
	require.Error(t, err, string(said))
	newest := regexp.MustCompile(`newest date supported by this server binary is "([^"]+)"`).FindSubmatch(said)
	require.NotNil(t, newest, string(said))
	require.Equal(t, string(newest[1]), latest)
}

func TestLatestCompatibilityDate_isNeverInTheFuture(t *testing.T) {
	latest, err := LatestCompatibilityDate(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC))
	require.NoError(t, err)
	require.Equal(t, "2024-05-06", latest)
}
