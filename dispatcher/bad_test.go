package dispatcher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

func TestBad_hostsInOtherSpellingsMeanOneOrNobody(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "mine"})
	w.board.flip(models.HostRouteKey("xn--bcher-kva.example"), org, w.release(assets.Config{}, files{"/index.html": "books"}))
	for host, want := range map[string]string{
		"my-app.localhost":            "mine",
		"MY-APP.LocalHost":            "mine",
		"my-app.localhost.":           "mine",
		"my-app.localhost:1":          "mine",
		"my-app.localhost.:65535":     "mine",
		"my-app.localhost:":           "mine",
		"my-app.localhost:80:80":      "400",
		"my-app.localhost:-1":         "400",
		"my-app.localhost:123456":     "400",
		"my-app.localhost..":          "400",
		"my-app.localhost,x":          "400",
		"my-app.localhost%00":         "400",
		"my-app%2elocalhost":          "400",
		".my-app.localhost":           "400",
		"localhost.my-app":            "404",
		"my-app.localhost.evil.test":  "404",
		"my-applocalhost":             "404",
		"xn--bcher-kva.example":       "books",
		"XN--BCHER-KVA.example:443":   "books",
		"bücher.example":              "400",
		"127.0.0.1":                   "own",
		"127.0.0.1:80":                "own",
		"[::1]":                       "own",
		"[::ffff:127.0.0.1]:80":       "own",
		"[::1":                        "400",
		"::1":                         "400",
		"[my-app.localhost]":          "400",
		"2130706433":                  "404",
		"0x7f.1":                      "404",
		"127.1":                       "404",
		"localhost":                   "own",
		"LOCALHOST.:3005":             "own",
		"dispatcher.localhost":        "own",
		"my-app.dispatcher.localhost": "400",
		"":                            "400",
		strings.Repeat("a", 300):      "400",
	} {
		a := w.raw("GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n", "GET")
		got := a.body
		switch {
		case a.status == 404 && strings.Contains(a.body, "sites answer at"):
			got = "own"
		case a.status != 200:
			got = fmt.Sprint(a.status)
		}
		require.Equal(t, want, got, host)
	}
}

func TestBad_pathsInOtherSpellingsAreNotTheDispatchersOwn(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "mine", "/health.html": "my health"})
	for _, path := range []string{
		"//dispatch/my-app/", "/./dispatch/my-app/", "/x/../dispatch/my-app/", "/%64ispatch/my-app/", "/dispatch%2fmy-app/", "/dispatch%2Fmy-app%2F",
		"/Dispatch/my-app/", "/dispatch;/my-app/", "/dispatch\\my-app/", "/api/../dispatch/my-app/", "/dispatch/%2e%2e/health", "/dispatch/../health",
		"/%68ealth", "//health", "/health/", "/health%00", "/health;a", "/api/auth%2f..%2f..%2fhealth", "/dispatch/my-app%00/", "/dispatch/my-app%2f/",
		"/dispatch/./my-app/", "/dispatch//my-app/", "/dispatch/my-app/../../health", "/dispatch/my-app/%2e%2e/%2e%2e/health",
	} {
		a := w.get("localhost", path)
		require.Contains(t, []int{400, 404}, a.status, "%s: %s", path, a.body)
		require.NotContains(t, a.body, `"healthy"`, path)
		require.NotContains(t, a.body, "mine", path)
	}
	for _, path := range []string{"/..", "/../", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cetc", "/....//", "/a/%2e%2e%2f%2e%2e%2f"} {
		require.Contains(t, []int{404, 307}, w.get("my-app.localhost", path).status, path)
	}
}

// slowBlobs make whoever reads one blob wait.
type slowBlobs struct {
	dispatcher.Blobs
	digest  string
	waiting atomic.Int64
	release chan struct{}
}

func (s *slowBlobs) GetRange(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	if key.Digest == s.digest {
		s.waiting.Add(1)
		select {
		case <-s.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Blobs.GetRange(ctx, key, offset, length)
}

func TestBad_aSlowBlobKeepsNobodyElseWaiting(t *testing.T) {
	slow := &slowBlobs{release: make(chan struct{}), digest: blob.Digest([]byte("slow"))}
	w := newWorld(t, func(o *dispatcher.Options) {
		slow.Blobs = onlyRanges{o.Blobs}
		o.Blobs = slow
	})
	w.deploy("slow", files{"/index.html": "slow", "/other.html": "other"})
	w.deploy("quick", files{"/index.html": "quick"})
	var waiting sync.WaitGroup
	for range 200 {
		waiting.Go(func() {
			if a := w.get("slow.localhost", "/"); a.status != 200 || a.body != "slow" {
				t.Errorf("%d %q", a.status, a.body)
			}
		})
	}
	eventually(t, func() bool { return slow.waiting.Load() == 1 })
	// That they are answered at all says it: the blob is held until after them.
	for range 100 {
		require.Equal(t, "quick", w.get("quick.localhost", "/").body)
		require.Equal(t, "other", w.get("slow.localhost", "/other").body, "not even on the same site")
	}
	close(slow.release)
	waiting.Wait()
	require.Equal(t, int64(1), slow.waiting.Load(), "all waited for one read")
}

func TestBad_aReleaseWithoutItsBlobsHarmsNobodyElse(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("broken", files{"/index.html": "gone", "/kept.html": "kept"})
	w.deploy("well", files{"/index.html": "well"})
	removed := 0
	digest := blob.Digest([]byte("gone"))
	require.NoError(t, filepath.WalkDir(w.root, func(path string, _ os.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, digest) || strings.HasSuffix(path, digest[2:])) {
			removed++
			return os.Remove(path)
		}
		return err
	}))
	require.Equal(t, 1, removed)
	for range 3 {
		a := w.get("broken.localhost", "/")
		require.Equal(t, 500, a.status)
		var body struct{ Error, RequestID string }
		require.NoError(t, json.Unmarshal([]byte(a.body), &body))
		require.Equal(t, "Internal dispatch error", body.Error)
		require.Equal(t, a.header.Get("X-Request-Id"), body.RequestID)
		require.NotContains(t, a.body, digest, "where things are is not said")
	}
	require.Equal(t, "kept", w.get("broken.localhost", "/kept").body)
	require.Equal(t, "well", w.get("well.localhost", "/").body)
	w.put("gone")
	require.Equal(t, "gone", w.get("broken.localhost", "/").body, "what was missing is looked for again")
}

func TestBad_aCacheThatIsFullOnlyCostsTime(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.Limits.CacheBytes = 64 << 10 })
	content := files{}
	for i := range 200 {
		content[fmt.Sprintf("/%d.txt", i)] = strings.Repeat(fmt.Sprintf("%03d", i), 1000)
	}
	w.deploy("my-app", content)
	conn := w.dial()
	for round := range 2 {
		for i := range 200 {
			conn.send(fmt.Sprintf("GET /%d.txt HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n", i))
			require.Equal(t, content[fmt.Sprintf("/%d.txt", i)], conn.read("GET").body, "round %d", round)
		}
	}
}
