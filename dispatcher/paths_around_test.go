package dispatcher_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/models"
)

// TestHybrid_noSpellingOfAPathReadsAFileAroundTheWorker asks for files that the
// worker answers first, as a login would, in spellings its pattern does not match.
func TestHybrid_noSpellingOfAPathReadsAFileAroundTheWorker(t *testing.T) {
	spellings := []string{
		"/admin/", "/admin/x.txt", "/admin/p", "/%61dmin/", "/%61dmin/x.txt", "/%61dmin/p", "/%61dmin/p.html", "/%61dmin/index", "/%61dmin/index.html",
		"/admin%2f", "/admin%2fx.txt", "/admin%2Fx.txt", "//admin/x.txt", "/./admin/x.txt", "/y/../admin/x.txt", "/y/%2e%2e/admin/x.txt", "/%2fadmin/x.txt",
		"/ADMIN/x.txt", "/admin\\x.txt", "/admin%5cx.txt", "/admin//x.txt", "/admin;/x.txt", "/admin/%78.txt", "/%2561dmin/x.txt",
	}
	for _, html := range []assets.HTMLHandling{assets.AutoTrailingSlash, assets.ForceTrailingSlash, assets.DropTrailingSlash, assets.ExactHTML} {
		for _, missing := range []assets.NotFoundHandling{assets.NotFoundNone, assets.NotFoundSPA, assets.NotFoundPage} {
			w, _ := newHybrid(t, serveUnix(t, reflect), nil)
			w.deployWorker("my-app", assets.Config{HTMLHandling: html, NotFoundHandling: missing}, files{
				"/admin/index.html": "guarded", "/admin/x.txt": "guarded", "/admin/p.html": "guarded", "/index.html": "open", "/404.html": "missing",
			}, models.WorkerBundle{Assets: &models.WorkerAssets{RunWorkerFirst: []string{"/admin/*"}}})
			for _, path := range spellings {
				for _, mode := range []string{"cors", "navigate"} {
					a := w.raw("GET "+path+" HTTP/1.1\r\nHost: my-app.localhost\r\nConnection: close\r\nSec-Fetch-Mode: "+mode+"\r\n\r\n", "GET")
					require.NotContains(t, a.body, "guarded", "%s %s %s %s", path, mode, html, missing)
				}
			}
		}
	}
}
