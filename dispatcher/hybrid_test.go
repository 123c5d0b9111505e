package dispatcher_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/models"
)

// says answers with who answers.
func says(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "worker") }

func TestHybrid_pathsAreSharedAsOnWorkersStaticAssets(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, says), nil)
	content := files{
		"/index.html": "start", "/404.html": "missing", "/about.html": "about", "/app.js": "script", "/admin/page.html": "admin",
		"/api/docs/index.html": "docs", "/_redirects": "/old /about 301\n",
	}
	navigate := []string{"Sec-Fetch-Mode", "navigate"}
	for name, c := range map[string]struct {
		handling assets.NotFoundHandling
		first    []string
		date     string
		flags    []string
		// get maps a path, after an "n" for a navigation, to what answers.
		get map[string]string
	}{
		"files first": {
			get: map[string]string{"/": "start", "/about": "about", "/app.js": "script", "/old": "301", "/about.html": "307", "/none": "worker", "n/none": "worker", "/api/x": "worker", "/%zz": "400"},
		},
		"404 page": {
			handling: assets.NotFoundPage, date: "2025-03-31",
			get: map[string]string{"/": "start", "/none": "worker", "n/none": "worker", "/404": "missing"},
		},
		"navigation prefers pages": {
			handling: assets.NotFoundSPA, date: "2025-04-01",
			get: map[string]string{"/none": "worker", "n/none": "start", "n/about": "about", "n/app.js": "script"},
		},
		"navigation by flag": {
			handling: assets.NotFoundSPA, date: "2024-01-01", flags: []string{"assets_navigation_prefers_asset_serving"},
			get: map[string]string{"n/none": "start", "/none": "worker"},
		},
		"navigation against the date": {
			handling: assets.NotFoundSPA, date: "2026-01-01", flags: []string{"assets_navigation_has_no_effect"},
			get: map[string]string{"n/none": "worker"},
		},
		"worker first": {
			first: []string{"/*"},
			get:   map[string]string{"/": "worker", "/app.js": "worker", "n/about": "worker", "/old": "worker"},
		},
		"worker first in places": {
			first: []string{"/api/*", "/admin/*", "!/api/docs/*"}, handling: assets.NotFoundPage,
			get: map[string]string{
				"/": "start", "/api/x": "worker", "/admin/page": "worker", "/api/docs/": "docs", "/api/docs/none": "missing",
				"/api": "worker", "/%61dmin/page": "307", "//admin/page": "307", "/x/../admin/page": "worker",
			},
		},
		"exceptions alone": {
			first: []string{"!/none"},
			get:   map[string]string{"/none": "404", "/other": "worker"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := models.WorkerBundle{CompatibilityDate: c.date, CompatibilityFlags: c.flags, Assets: &models.WorkerAssets{RunWorkerFirst: c.first}}
			worker := strings.ReplaceAll(strings.ToLower(name), " ", "-")
			w.deployWorker(worker, assets.Config{NotFoundHandling: c.handling}, content, bundle)
			for path, want := range c.get {
				var header []string
				if path[0] == 'n' {
					path, header = path[1:], navigate
				}
				a := w.get(worker+".localhost", path, header...)
				got := a.body
				if a.status != 200 && a.body != "missing" {
					got = http.StatusText(a.status)
					want = http.StatusText(atoi(want))
				}
				require.Equal(t, want, got, "%s %v", path, header)
			}
		})
	}
	w.deployWorker("my-app", assets.Config{}, content, models.WorkerBundle{})
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		require.Equal(t, "worker", w.do(method, "my-app.localhost", "/about", "Content-Length", "0").body, method)
	}
	require.Equal(t, "text/javascript; charset=utf-8", w.do("HEAD", "my-app.localhost", "/app.js").header.Get("Content-Type"))
}

func TestHybrid_pathRoutingReachesFilesAndWorker(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, says), nil)
	w.deployWorker("my-app", assets.Config{}, files{"/index.html": "start"}, models.WorkerBundle{Assets: &models.WorkerAssets{RunWorkerFirst: []string{"/api/*"}}})
	require.Equal(t, "start", w.get("localhost", "/dispatch/my-app/").body)
	require.Equal(t, "worker", w.get("localhost", "/dispatch/my-app/api/x").body)
	require.Equal(t, "worker", w.get("localhost", "/dispatch/my-app/none").body)
}

func TestHybrid_damagedBundleIsOurFault(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, says), nil)
	w.deployWorker("my-app", assets.Config{}, files{"/index.html": "start"}, models.WorkerBundle{})
	w.board.mu.Lock()
	row := w.board.rows[models.WorkerRouteKey("my-app")]
	row.Key, row.WorkerDigest = models.WorkerRouteKey("broken"), w.put("{}")
	w.board.rows[row.Key] = row
	w.board.mu.Unlock()
	require.Equal(t, 500, w.get("broken.localhost", "/").status)
	require.Equal(t, "start", w.get("my-app.localhost", "/").body)
}
