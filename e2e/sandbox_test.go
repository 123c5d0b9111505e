package e2e

import (
	"context"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hostilePage is what a tenant would answer with to use somebody's session on the
// host it is served from.
const hostilePage = `<!doctype html>
<title>waiting</title>
<h1>hostile</h1>
<img src="/health" alt="">
<iframe src="/health"></iframe>
<script>document.title = "ran"; fetch("/health", { method: "POST", credentials: "include" });</script>
<meta http-equiv="refresh" content="1; url=javascript:document.title='ran'">
<form id="act" action="/health" method="post"></form>
<script>document.getElementById("act").hidden = true;</script>
`

// TestBrowser_tenantsActForNobodyOnTheOwnHost opens hostile pages by path and
// query routing in a browser that has a session on the dispatcher's own host;
// e2e/browser/sandbox.mjs says what must not happen.
func TestBrowser_tenantsActForNobodyOnTheOwnHost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	chromium := findChromium(t)
	tools := installVisit(ctx, t)

	s := boot(t)
	s.succeed(s.deploy(s.newProject("hostile"), []initFile{
		{Path: "wrangler.jsonc", Content: `{"name": "hostile", "main": "index.js", "compatibility_date": "2026-11-01"}`},
		{Path: "index.js", Content: `import page from "./page.txt";
export default {
  fetch(request) {
    if (new URL(request.url).pathname.endsWith("worker.js")) {
      return new Response("", { headers: { "Content-Type": "text/javascript", "Service-Worker-Allowed": "/" } });
    }
    const seen = "<p id=seen>" + (request.headers.get("Cookie") ?? "no cookie") + "</p>";
    const headers = new Headers({ "Content-Type": "text/html; charset=utf-8", "Set-Cookie": "planted=1; Path=/" });
    if (request.headers.has("X-Forwarded-Prefix")) {
      headers.set("Clear-Site-Data", '"cookies"');
      headers.set("Content-Security-Policy", "sandbox allow-scripts allow-same-origin allow-forms allow-popups allow-top-navigation");
    }
    return new Response(page + seen, { headers });
  },
};
`},
		{Path: "page.txt", Content: hostilePage},
	}))
	s.succeed(s.deploy(s.newProject("hostile-files"), []initFile{
		{Path: "index.html", Content: hostilePage},
		{Path: "worker.js", Content: "self.skipWaiting();"},
		{Path: "_headers", Content: "/*\n  Set-Cookie: planted=1; Path=/\n  Service-Worker-Allowed: /\n  Content-Security-Policy: sandbox allow-scripts allow-same-origin\n"},
	}))

	own, err := url.Parse(s.DispatcherURL)
	require.NoError(t, err)
	own.Host = "localhost:" + own.Port()
	home := "http://hostile." + own.Host + "/"
	visit := exec.CommandContext(ctx, tools.Tool("node"), filepath.Join(visitDir(), "sandbox.mjs"), chromium, own.String(), home,
		"/dispatch/hostile/", "/dispatch/hostile", "/api/dispatch/hostile/", "/dispatch?worker=hostile",
		"/dispatch/hostile-files/", "/dispatch?worker=hostile-files")
	said, err := visit.CombinedOutput()
	require.NoError(t, err, "%s", said)
	t.Logf("%s", said)
}
