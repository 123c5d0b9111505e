package dispatcher_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

func TestServe_sendsTheBytesThatWereReleased(t *testing.T) {
	w := newWorld(t, nil)
	noise := make([]byte, 300_000)
	_, _ = rand.Read(noise)
	w.deploy("my-app", files{"/index.html": "<h1>hello</h1>", "/noise.bin": string(noise), "/empty.txt": ""})

	a := w.get("my-app.localhost", "/")
	require.Equal(t, 200, a.status)
	require.Equal(t, "<h1>hello</h1>", a.body)
	require.Equal(t, "text/html; charset=utf-8", a.header.Get("Content-Type"))
	require.Equal(t, "public, max-age=0, must-revalidate", a.header.Get("Cache-Control"))
	require.Equal(t, string(noise), w.get("my-app.localhost", "/noise.bin").body)
	require.Equal(t, "0", w.get("my-app.localhost", "/empty.txt").header.Get("Content-Length"))
	require.Equal(t, 404, w.get("my-app.localhost", "/missing").status)
	require.Equal(t, "/", w.get("my-app.localhost", "/index.html").header.Get("Location"))
	require.Equal(t, 405, w.do("POST", "my-app.localhost", "/", "Content-Length", "0").status)
}

func TestServe_answersVariantsRangesAndRevalidation(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "0123456789"})
	host := "my-app.localhost"

	a := w.get(host, "/", "Accept-Encoding", "gzip, br")
	require.Equal(t, "br:0123456789", a.body)
	require.Equal(t, "br", a.header.Get("Content-Encoding"))
	require.Equal(t, "Accept-Encoding", a.header.Get("Vary"))
	b := w.get(host, "/", "Accept-Encoding", "br", "If-None-Match", a.header.Get("Etag"))
	require.Equal(t, 304, b.status)
	require.Empty(t, b.body)
	a = w.get(host, "/", "Range", "bytes=2-4")
	require.Equal(t, 206, a.status)
	require.Equal(t, "234", a.body)
	require.Equal(t, "bytes 2-4/10", a.header.Get("Content-Range"))
	require.Equal(t, 416, w.get(host, "/", "Range", "bytes=99-").status)
	a = w.do("HEAD", host, "/")
	require.Equal(t, "10", a.header.Get("Content-Length"))
	require.Empty(t, a.body)
}

func TestServe_streamsLargeFilesAndPartsOfThem(t *testing.T) {
	for name, change := range map[string]func(*dispatcher.Options){
		"from a folder": func(o *dispatcher.Options) { o.Limits.CachedFileBytes = 1000 },
		"from a bucket": func(o *dispatcher.Options) {
			o.Limits.CachedFileBytes = 1000
			o.Blobs = onlyRanges{o.Blobs}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			noise := make([]byte, 3_000_000)
			_, _ = rand.Read(noise)
			w.deploy("my-app", files{"/noise.bin": string(noise)})
			a := w.get("my-app.localhost", "/noise.bin")
			require.Equal(t, 200, a.status)
			require.True(t, a.body == string(noise))
			a = w.get("my-app.localhost", "/noise.bin", "Range", "bytes=1234567-2345678")
			require.Equal(t, 206, a.status)
			require.True(t, a.body == string(noise[1234567:2345679]))
		})
	}
}

// onlyRanges hides what a store can do besides.
type onlyRanges struct{ blobs dispatcher.Blobs }

func (o onlyRanges) GetRange(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	return o.blobs.GetRange(ctx, key, offset, length)
}

func TestServe_refusesDamagedContent(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "true", "/other.html": "other"})
	damaged := 0
	digest := blob.Digest([]byte("true"))
	require.NoError(t, filepath.WalkDir(w.root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, digest) || strings.HasSuffix(path, digest[2:]) {
			damaged++
			require.NoError(t, os.Chmod(path, 0o600))
			return os.WriteFile(path, []byte("fake"), 0o600)
		}
		return err
	}))
	require.Equal(t, 1, damaged)
	a := w.get("my-app.localhost", "/")
	require.Equal(t, 500, a.status)
	require.Contains(t, a.body, "Internal dispatch error")
	require.NotContains(t, a.body, "fake")
	require.Equal(t, "other", w.get("my-app.localhost", "/other").body)
}

func TestServe_missingManifestIsAnInternalError(t *testing.T) {
	w := newWorld(t, nil)
	w.board.flip(models.WorkerRouteKey("my-app"), org, strings.Repeat("a", 64))
	require.Equal(t, 500, w.get("my-app.localhost", "/").status)
}

func TestServe_tenantHostOwnsItsWholePathSpace(t *testing.T) {
	w := newWorld(t, nil)
	own := files{}
	for _, path := range []string{"/health", "/dispatch", "/docs", "/api/auth/x", "/api/dispatch", "/dispatch/other/x", "/openapi.json"} {
		own[strings.TrimSuffix(path, "/")+".txt"] = "unused"
	}
	own["/health.html"], own["/dispatch/other/index.html"], own["/api/dispatch.html"] = "my health", "mine", "my dispatch"
	w.deploy("my-app", own)
	w.deploy("other", files{"/index.html": "other's"})
	require.Equal(t, "my health", w.get("my-app.localhost", "/health").body)
	require.Equal(t, "mine", w.get("my-app.localhost", "/dispatch/other/").body)
	require.Equal(t, "my dispatch", w.get("my-app.localhost", "/api/dispatch?worker=other").body)
	require.Equal(t, 404, w.get("my-app.localhost", "/health/detailed").status)
}

func TestServe_customHostsHaveRoutesOfTheirOwn(t *testing.T) {
	w := newWorld(t, nil)
	w.board.flip(models.HostRouteKey("www.example.com"), org, w.release(assets.Config{}, files{"/index.html": "custom"}))
	require.Equal(t, "custom", w.get("www.example.com", "/").body)
	require.Equal(t, "custom", w.get("WWW.Example.COM.:3005", "/").body)
	require.Equal(t, 404, w.get("example.com", "/").status)
}

func TestServe_singlePageApplicationAnswersDeepLinks(t *testing.T) {
	w := newWorld(t, nil)
	w.board.flip(models.WorkerRouteKey("spa"), org, w.release(assets.Config{NotFoundHandling: assets.NotFoundSPA}, files{"/index.html": "app"}))
	a := w.get("spa.localhost", "/users/42?tab=1")
	require.Equal(t, 200, a.status)
	require.Equal(t, "app", a.body)
}

func TestPathRouting_servesWithThePrefixKept(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{
		"/index.html": "start", "/docs/index.html": "docs", "/a/b.txt": "text",
		"/_redirects": "/old /docs/ 301\n/out https://example.com/ 302\n",
		"/_headers":   "/*\n  Set-Cookie: session=stolen\n  Clear-Site-Data: \"cookies\"\n  Strict-Transport-Security: max-age=1\n  Content-Security-Policy: default-src 'self'\n",
	})
	for _, prefix := range []string{"/dispatch/my-app", "/api/dispatch/my-app", "/dispatch/My-App"} {
		for _, host := range []string{"localhost", "localhost:3005", "127.0.0.1:3005", "dispatcher.localhost", "[::1]:3005"} {
			a := w.get(host, prefix+"/a/b.txt", "Cookie", "session=1")
			require.Equal(t, "text", a.body, host)
			require.NotContains(t, a.header, "Set-Cookie")
			require.NotContains(t, a.header, "Clear-Site-Data")
			require.NotContains(t, a.header, "Strict-Transport-Security")
			require.Equal(t, []string{"default-src 'self'", "sandbox"}, a.header["Content-Security-Policy"])
		}
		require.Equal(t, "start", w.get("localhost", prefix).body)
		require.Equal(t, "start", w.get("localhost", prefix+"/").body)
		require.Equal(t, prefix+"/docs/?x=1", w.get("localhost", prefix+"/docs?x=1").header.Get("Location"))
		require.Equal(t, prefix+"/docs/", w.get("localhost", prefix+"/old").header.Get("Location"))
		require.Equal(t, "https://example.com/", w.get("localhost", prefix+"/out").header.Get("Location"))
	}
	a := w.get("my-app.localhost", "/a/b.txt")
	require.Equal(t, []string{"default-src 'self'"}, a.header["Content-Security-Policy"], "a tenant's own host is not sandboxed")
	require.Contains(t, a.header, "Set-Cookie")
	twice := w.get("localhost", "/dispatch/my-app/a/b.txt")
	require.Len(t, twice.header["Content-Security-Policy"], 2, "shared header values do not grow")
}

func TestQueryRouting_takesTheWorkerOutOfTheQuery(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start", "/_redirects": "/ /next 302\n"})
	a := w.get("localhost", "/dispatch?a=1&worker=my-app&b=%2F&worker=other")
	require.Equal(t, "/dispatch/my-app/next?a=1&b=%2F", a.header.Get("Location"))
	require.Equal(t, []string{"sandbox"}, a.header["Content-Security-Policy"])
	require.Equal(t, "/dispatch/my-app/next", w.get("localhost", "/dispatch?worker=my-app").header.Get("Location"))
	require.Equal(t, "/api/dispatch/my-app/next", w.get("localhost", "/api/dispatch?worker=my-app").header.Get("Location"))
	require.Equal(t, 400, w.get("localhost", "/dispatch?worker=").status)
	require.Equal(t, 400, w.get("localhost", "/dispatch?worker=a.b").status)
}

func TestErrors_useTheAgreedWords(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		host, path, text, detail string
		status                   int
	}{
		{"nobody.localhost", "/", "Worker not found", "", 404},
		{"localhost", "/dispatch/nobody/", "Worker not found", "", 404},
		{"nobody.example.com", "/", "Worker not found", "", 404},
		{"api.localhost", "/", "Invalid worker name format", "Subdomain 'api' is reserved", 400},
		{"a_b.localhost", "/", "Invalid worker name format", "Subdomain can only contain letters, numbers, and hyphens", 400},
		{"a.b.localhost", "/", "Invalid worker name format", "Subdomain can only contain letters, numbers, and hyphens", 400},
		{"-a.localhost", "/", "Invalid worker name format", "Subdomain cannot start or end with a hyphen", 400},
		{strings.Repeat("a", 64) + ".localhost", "/", "Invalid worker name format", "Subdomain must be 63 characters or less", 400},
		{"localhost", "/dispatch//x", "Invalid worker name format", "Subdomain is required", 400},
		{"localhost", "/dispatch/%61/x", "Invalid worker name format", "Subdomain can only contain letters, numbers, and hyphens", 400},
		{"localhost", "/nothing", "Not found", "", 404},
		{"localhost", "/dispatchx/my-app/", "Not found", "", 404},
	} {
		a := w.get(c.host, c.path)
		require.Equal(t, c.status, a.status, c.host+c.path)
		var body struct{ Error, Message, RequestID, Timestamp string }
		require.NoError(t, json.Unmarshal([]byte(a.body), &body), a.body)
		require.Equal(t, c.text, body.Error, c.host+c.path)
		require.NotEmpty(t, body.RequestID)
		require.Equal(t, a.header.Get("X-Request-Id"), body.RequestID)
		require.NotEmpty(t, body.Timestamp)
		if c.detail != "" {
			require.Equal(t, c.detail, body.Message)
		}
		page := w.get(c.host, c.path, "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		require.Equal(t, c.status, page.status)
		require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
		require.Contains(t, page.body, "<h1>"+c.text+"</h1>")
		require.NotContains(t, page.body, "src=")
	}
}

func TestErrors_pagesEscapeWhatAStrangerSent(t *testing.T) {
	w := newWorld(t, nil)
	a := w.get("localhost", "/dispatch?worker=%3Cscript%3Ex", "Accept", "text/html")
	require.Equal(t, 400, a.status)
	require.NotContains(t, a.body, "<script>")
}

func TestRequestID_keepsASaneOneAndReplacesOthers(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "x"})
	require.Equal(t, "abc-123_x.y:z", w.get("my-app.localhost", "/", "X-Request-Id", "abc-123_x.y:z").header.Get("X-Request-Id"))
	for _, strange := range []string{"a b", "<script>", strings.Repeat("a", 129), "\"", ""} {
		id := w.get("my-app.localhost", "/", "X-Request-Id", strange).header.Get("X-Request-Id")
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
	}
}

func TestHealth_answersWithTheAgreedFields(t *testing.T) {
	w := newWorld(t, nil)
	var body struct {
		Status, Timestamp, Service, Version, Environment string
		Checks                                           map[string]map[string]string
	}
	a := w.get("localhost:3005", "/health")
	require.Equal(t, 200, a.status)
	require.NoError(t, json.Unmarshal([]byte(a.body), &body))
	require.Equal(t, "healthy", body.Status)
	require.Equal(t, "1.2.3", body.Version)
	require.Equal(t, "test", body.Environment)
	require.NotEmpty(t, body.Service)
	require.Nil(t, body.Checks)

	a = w.get("10.1.2.3", "/health/detailed")
	require.Equal(t, 200, a.status)
	require.NoError(t, json.Unmarshal([]byte(a.body), &body))
	require.Equal(t, map[string]map[string]string{
		"hyperdrive": {"status": "available", "connection_pool": "active"},
		"dispatcher": {"status": "available", "namespace": "test-dispatcher"},
		"storage":    {"status": "available"},
	}, body.Checks)

	w.board.setDown(true)
	a = w.get("localhost", "/health/detailed")
	require.Equal(t, 503, a.status)
	require.NoError(t, json.Unmarshal([]byte(a.body), &body))
	require.Equal(t, "unhealthy", body.Status)
	require.Equal(t, "unavailable", body.Checks["hyperdrive"]["status"])
	require.Equal(t, 200, w.get("localhost", "/health").status)
}

func TestNamespace_isDescribedAtDispatch(t *testing.T) {
	w := newWorld(t, nil)
	a := w.get("localhost", "/dispatch")
	var body map[string]string
	require.NoError(t, json.Unmarshal([]byte(a.body), &body))
	require.Equal(t, "test-dispatcher", body["namespace"])
	require.Equal(t, "available", body["status"])
	require.Equal(t, a.header.Get("X-Request-Id"), body["requestId"])
	require.NotEmpty(t, body["service"])
	require.NotEmpty(t, body["timestamp"])
	require.Equal(t, 405, w.do("POST", "localhost", "/dispatch", "Content-Length", "0").status)
}

// A tenant could get a certificate of his own for a name of the platform's domain.
func TestServe_nobodyAnswersACMEChallengesUnderOurDomain(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start", "/.well-known/acme-challenge/token": "mine", "/.well-known/security.txt": "contact"})
	for range 2 { // the second one could come from memory
		require.Equal(t, "contact", w.get("my-app.localhost", "/.well-known/security.txt").body)
		a := w.get("my-app.localhost", "/.well-known/acme-challenge/token")
		require.Equal(t, 404, a.status)
		require.NotContains(t, a.body, "mine")
	}
	w.board.flip(models.HostRouteKey("www.example.com"), org, w.release(assets.Config{}, files{"/.well-known/acme-challenge/token": "mine"}))
	require.Equal(t, "mine", w.get("www.example.com", "/.well-known/acme-challenge/token").body, "their own domain is theirs")
}
