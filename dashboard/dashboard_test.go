package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/evanw/esbuild/pkg/api"
	"github.com/stretchr/testify/require"
)

// built is a dashboard with its program. Where there is none, the test is skipped,
// except in CI, where that fails it.
func built(t *testing.T, opts Options) *Dashboard {
	t.Helper()
	d, err := New(opts)
	require.NoError(t, err)
	if d.HasProgram() {
		return d
	}
	if os.Getenv("CI") != "" {
		t.Fatal("the dashboard's program is missing: run `go generate ./dashboard` first")
	}
	t.Skip("built without the dashboard's program; `go generate ./dashboard` makes it")
	return nil
}

func (d *Dashboard) ask(method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func TestDashboard_everyAddressShowsThePage(t *testing.T) {
	d := built(t, Options{})
	for _, path := range []string{"/app", "/app/", "/app/projects/prj_x/releases", "/app/assets", "/app/no/such/view"} {
		page := d.ask("GET", path)
		require.Equal(t, 200, page.Code, path)
		require.Equal(t, "text/html; charset=utf-8", page.Header().Get("Content-Type"))
		require.Equal(t, "no-cache", page.Header().Get("Cache-Control"))
		require.Contains(t, page.Body.String(), `<div id="app">`)
	}
	head := d.ask("HEAD", "/app")
	require.Empty(t, head.Body.String())
	require.Equal(t, d.ask("GET", "/app").Header(), head.Header())
	again := d.ask("GET", "/app", "If-None-Match", head.Header().Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.Code)
	require.Empty(t, again.Body.String())
}

func TestDashboard_loadsNothingFromElsewhereAndRunsNothingInline(t *testing.T) {
	d := built(t, Options{})
	page := d.ask("GET", "/app")
	policy := page.Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;")
	require.Contains(t, policy, "frame-ancestors 'none'; require-trusted-types-for 'script'")
	require.NotContains(t, policy, "http")
	require.NotContains(t, policy, "unsafe")
	html := page.Body.String()
	require.NotRegexp(t, `(?i)(src|href)=["']?(https?:)?//`, html)
	require.NotRegexp(t, `(?i)\son\w+=|\sstyle=|<style|<script(>|[^>]*[^"]>[^<])`, html)
	for _, match := range regexp.MustCompile(`(?:src|href)="(/app/[^"]+)"`).FindAllStringSubmatch(html, -1) {
		require.Equal(t, 200, d.ask("GET", match[1]).Code, match[1])
	}
	require.Contains(t, built(t, Options{Turnstile: true}).ask("GET", "/app").Header().Get("Content-Security-Policy"),
		"script-src 'self' https://challenges.cloudflare.com; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-src https://challenges.cloudflare.com;")
}

func TestDashboard_filesAreCompressedAndKeptForGood(t *testing.T) {
	d := built(t, Options{})
	name := regexp.MustCompile(`/app/assets/main-[A-Z0-9]+\.js`).FindString(d.ask("GET", "/app").Body.String())
	require.NotEmpty(t, name)
	plain := d.ask("GET", name)
	require.Equal(t, "text/javascript; charset=utf-8", plain.Header().Get("Content-Type"))
	require.Equal(t, "public, max-age=31536000, immutable", plain.Header().Get("Cache-Control"))
	require.Equal(t, "Accept-Encoding", plain.Header().Get("Vary"))
	for coding, open := range map[string]func(io.Reader) io.Reader{
		"br":   func(r io.Reader) io.Reader { return brotli.NewReader(r) },
		"gzip": func(r io.Reader) io.Reader { z, err := gzip.NewReader(r); require.NoError(t, err); return z },
	} {
		packed := d.ask("GET", name, "Accept-Encoding", "deflate, "+coding+";q=0.5")
		require.Equal(t, coding, packed.Header().Get("Content-Encoding"))
		require.Less(t, packed.Body.Len(), 60<<10, "the program has grown out of hand")
		require.NotEqual(t, plain.Header().Get("ETag"), packed.Header().Get("ETag"))
		unpacked, err := io.ReadAll(open(packed.Body))
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain.Body.Bytes(), unpacked))
		require.Empty(t, d.ask("GET", name, "Accept-Encoding", coding+"; q=0").Header().Get("Content-Encoding"))
	}
	for _, path := range []string{"/app/assets/main.js", "/app/assets/", "/app/assets/../dashboard.go", "/app/assets/files.json"} {
		require.Equal(t, 404, d.ask("GET", path).Code, path)
	}
}

func TestDashboard_withoutItsProgramSaysSo(t *testing.T) {
	page, err := files.ReadFile("plain.html")
	require.NoError(t, err)
	require.Contains(t, string(page), "go generate ./dashboard")
	require.NotContains(t, string(page), "<script")
}

// node is Node.js, and the packages that the sources are checked with.
func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join("node_modules", "typescript"))
	}
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatal("Node.js or the packages are missing: run `go generate ./dashboard` first")
	}
	t.Skip("no Node.js or no packages; `go generate ./dashboard` installs them")
	return ""
}

func TestSources_haveTheTypesTheySay(t *testing.T) {
	said, err := exec.CommandContext(t.Context(), node(t), filepath.Join("node_modules", "typescript", "bin", "tsc"), "--noEmit", "--pretty", "false", "-p", ".").CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// TestSources_units runs testdata/units.ts, which holds single functions to what
// they promise.
func TestSources_units(t *testing.T) {
	program := node(t)
	out := filepath.Join(t.TempDir(), "units.mjs")
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{"testdata/units.ts"}, Outfile: out, Bundle: true, Write: true,
		Format: api.FormatESModule, Platform: api.PlatformNode, Target: api.ES2022, LogLevel: api.LogLevelWarning,
	})
	require.Empty(t, result.Errors)
	said, err := exec.CommandContext(t.Context(), program, "--test", "--test-timeout=120000", out).CombinedOutput()
	require.NoError(t, err, "%s", said)
}
