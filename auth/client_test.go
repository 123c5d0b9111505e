package auth

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

//go:embed clienttest
var clientTest embed.FS

func TestClient_ofBetterAuthFindsWhatItKnows(t *testing.T) {
	for scheme, page := range map[string]string{"http": "", "https": securePage} {
		t.Run(scheme, func(t *testing.T) {
			hub := newFakeGitHub(t)
			hub.addresses = `[{"email":"ada@example.com","primary":true,"verified":true}]`
			newService(t, hub.configure, func(o *Options) { o.AppURL = cmp.Or(page, o.AppURL) }).drive("drive.mjs")
		})
	}
}

func TestClient_ofBetterAuthConfirmsAnAddress(t *testing.T) {
	confirming(t).drive("confirm.mjs")
}

// drive has a script use the published client.
func (s *service) drive(name string) {
	t := s.T
	t.Helper()
	modules := installClient(t)
	s.mux.HandleFunc("/letters", func(w http.ResponseWriter, r *http.Request) {
		// Each is sent apart from its answer, so they come in no order.
		for _, letter := range s.lettersTo(r.URL.Query().Get("to")) {
			fmt.Fprintln(w, letter.Text)
		}
	})
	dir := t.TempDir()
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	script, err := clientTest.ReadFile("clienttest/" + name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), script, 0o600))
	cmd := exec.CommandContext(t.Context(), "node", name)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SERVER="+s.http.URL, "PAGE="+s.auth.opts.AppURL)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", output, s.log)
}

// installClient gives a folder of modules with the client, from the machine's
// cache when it was there before.
func installClient(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("npm is needed here")
		}
		t.Skip("npm is not installed")
	}
	lock, err := clientTest.ReadFile("clienttest/package-lock.json")
	require.NoError(t, err)
	manifest, err := clientTest.ReadFile("clienttest/package.json")
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	sum := sha256.Sum256(lock)
	folder := filepath.Join(cache, "slipway-test", "auth-client-"+hex.EncodeToString(sum[:8]))
	modules := filepath.Join(folder, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(folder), 0o755))
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "auth-client-new-")
	require.NoError(t, err)
	defer os.RemoveAll(fresh)
	require.NoError(t, os.WriteFile(filepath.Join(fresh, "package.json"), manifest, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(fresh, "package-lock.json"), lock, 0o644))
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = fresh
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	if err := os.Rename(fresh, folder); err != nil {
		// Another run was quicker.
		require.DirExists(t, modules)
	}
	return modules
}
