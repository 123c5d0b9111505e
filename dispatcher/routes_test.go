package dispatcher_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

func TestRoutes_areReadOnceAndKept(t *testing.T) {
	w := newWorld(t, nil)
	w.board.place(models.WorkerRouteKey("my-app"), org, w.release(assets.Config{}, files{"/index.html": "one"}))
	for range 20 {
		require.Equal(t, "one", w.get("my-app.localhost", "/").body)
	}
	require.Equal(t, int64(1), w.board.reads.Load())
}

func TestRoutes_manyFirstRequestsMakeOneRead(t *testing.T) {
	w := newWorld(t, nil)
	w.board.place(models.WorkerRouteKey("my-app"), org, w.release(assets.Config{}, files{"/index.html": "one"}))
	open := make(chan struct{})
	w.board.hold = func(models.Route) { <-open }
	var waiting sync.WaitGroup
	for range 16 {
		waiting.Go(func() {
			if body := w.get("my-app.localhost", "/").body; body != "one" {
				t.Errorf("got %q", body)
			}
		})
	}
	eventually(t, func() bool { return w.board.reads.Load() == 1 })
	close(open)
	waiting.Wait()
	require.Equal(t, int64(1), w.board.reads.Load())
}

func TestRoutes_aFlipIsSeenOnceAnnounced(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 10 {
		text := fmt.Sprint("release ", i)
		w.deploy("my-app", files{"/index.html": text})
		eventually(t, func() bool { return w.get("my-app.localhost", "/").body == text })
	}
}

func TestRoutes_aNewNameIsSeenAlthoughItWasUnknownBefore(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, 404, w.get("my-app.localhost", "/").status)
	require.Equal(t, 404, w.get("my-app.localhost", "/").status)
	require.Equal(t, int64(1), w.board.reads.Load(), "that a name is unknown is remembered")
	w.deploy("my-app", files{"/index.html": "one"})
	eventually(t, func() bool { return w.get("my-app.localhost", "/").status == 200 })
}

func TestRoutes_aRemovedRouteIsGone(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "one"})
	require.Equal(t, 200, w.get("my-app.localhost", "/").status)
	w.board.remove(models.WorkerRouteKey("my-app"))
	eventually(t, func() bool { return w.get("my-app.localhost", "/").status == 404 })
}

func TestRoutes_staleOnesServeWhileTheDatabaseIsAway(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "one"})
	require.Equal(t, "one", w.get("my-app.localhost", "/").body)
	w.board.setDown(true)
	eventually(t, func() bool { return !w.board.listening() })

	deadline := time.Now().Add(2500 * time.Millisecond)
	for time.Now().Before(deadline) {
		require.Equal(t, "one", w.get("my-app.localhost", "/").body)
	}
	a := w.get("unknown.localhost", "/")
	require.Equal(t, 503, a.status)
	require.Contains(t, a.body, "Database connection failed")

	// A flip made while nobody was listening is found after the reconnection.
	w.deploy("my-app", files{"/index.html": "two"})
	w.board.setDown(false)
	eventually(t, func() bool { return w.get("my-app.localhost", "/").body == "two" })
	eventually(t, w.board.listening)
	require.Equal(t, 404, w.get("unknown.localhost", "/").status)
}

func TestRoutes_anAnnouncedOneServesItsOldReleaseWhenItCannotBeReadAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "one"})
	require.Equal(t, "one", w.get("my-app.localhost", "/").body)
	w.board.mu.Lock()
	w.board.down = true // readers fail, the listener stays
	w.board.announce(models.WorkerRouteKey("my-app"))
	w.board.mu.Unlock()
	eventually(t, func() bool { w.get("my-app.localhost", "/"); return w.board.reads.Load() > 1 })
	require.Equal(t, "one", w.get("my-app.localhost", "/").body)
}

func TestRoutes_aSlowReadNeverUndoesANewerFlip(t *testing.T) {
	w := newWorld(t, nil)
	w.board.place(models.WorkerRouteKey("my-app"), org, w.release(assets.Config{}, files{"/index.html": "one"}))
	first := w.board.rows[models.WorkerRouteKey("my-app")].Generation
	var slow atomic.Bool
	slow.Store(true)
	open := make(chan struct{})
	w.board.hold = func(row models.Route) {
		if row.Generation == first && slow.Load() {
			<-open
		}
	}
	done := make(chan answer)
	go func() { done <- w.get("my-app.localhost", "/") }()
	eventually(t, func() bool { return w.board.reads.Load() == 1 })
	w.deploy("my-app", files{"/index.html": "two"})
	// While the first read still hangs, the flip is announced and served.
	eventually(t, func() bool { return slowGet(w) == "two" })
	slow.Store(false)
	close(open)
	<-done
	for range 20 {
		require.Equal(t, "two", w.get("my-app.localhost", "/").body)
	}
}

// slowGet asks with a client that gives up, because the answer may hang.
func slowGet(w *world) string {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequest("GET", "http://"+w.addr+"/", nil)
	if err != nil {
		return ""
	}
	request.Host = "my-app.localhost"
	response, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body := make([]byte, 3)
	n, _ := response.Body.Read(body)
	return string(body[:n])
}

func TestRoutes_withoutAnnouncementsAFlipIsSeenSoon(t *testing.T) {
	w := newWorld(t, nil)
	quiet := newWorld(t, func(o *dispatcher.Options) { o.Routes, o.Blobs, o.Invalidations = w.board, w.blobs, nil })
	w.deploy("my-app", files{"/index.html": "one"})
	require.Equal(t, "one", quiet.get("my-app.localhost", "/").body)
	w.deploy("my-app", files{"/index.html": "two"})
	eventually(t, func() bool { return quiet.get("my-app.localhost", "/").body == "two" })
}

func TestDispatcher_servesManyWhileRoutesFlipAndTheDatabaseComesAndGoes(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Limits.CacheBytes = 256 << 10 // small enough to evict all the time
	})
	const sites = 8
	flip := func(site, version int) {
		w.deploy(fmt.Sprint("app-", site), files{
			"/index.html": fmt.Sprintf("app %d version %d", site, version),
			"/big.txt":    fmt.Sprintf("app %d %s", site, strings.Repeat("x", 4000)),
		})
	}
	for site := range sites {
		flip(site, 0)
		require.Equal(t, 200, w.get(fmt.Sprintf("app-%d.localhost", site), "/").status)
	}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	var served atomic.Int64
	for worker := range 4 {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				site := (i + worker) % sites
				path := []string{"/", "/big.txt", "/missing"}[i%3]
				a := w.get(fmt.Sprintf("app-%d.localhost", site), path)
				if path == "/missing" {
					if a.status != 404 {
						t.Errorf("%s: %d", path, a.status)
					}
				} else if a.status != 200 || !strings.HasPrefix(a.body, fmt.Sprintf("app %d ", site)) {
					t.Errorf("%s of %d: %d %.40q", path, site, a.status, a.body)
				}
				served.Add(1)
			}
		})
	}
	for version := 1; version <= 30; version++ {
		flip(version%sites, version)
		w.board.setDown(version%10 == 5)
		enough := served.Load() + 20
		eventually(t, func() bool { return served.Load() >= enough })
	}
	w.board.setDown(false)
	close(stop)
	workers.Wait()
	eventually(t, func() bool { return w.get("app-6.localhost", "/").body == "app 6 version 30" })
}

func TestNew_refusesOptionsItCannotWorkWith(t *testing.T) {
	_, err := dispatcher.New(dispatcher.Options{Domain: "localhost"})
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
	_, err = dispatcher.New(dispatcher.Options{Domain: "not a domain"})
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
}
