package dispatcher_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// namedBoard can tell its keys. hold, when set, is called before it does.
type namedBoard struct {
	*board
	hold func()
}

func (b namedBoard) RouteKeys(_ context.Context, each func(string)) error {
	if b.hold != nil {
		b.hold()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errDown
	}
	for key := range b.rows {
		each(key)
	}
	return nil
}

// eventuallyNames waits until names are known: asking for a new one costs nothing.
func (w *world) eventuallyNames() {
	tries := 0
	eventually(w.t, func() bool {
		tries++
		reads := w.board.reads.Load()
		w.get(fmt.Sprintf("unknown-%d.localhost", tries), "/")
		return w.board.reads.Load() == reads
	})
}

func TestRouteNames_strangersWhoTryNamesCostNoReads(t *testing.T) {
	const requests, batch = 50_000, 50
	var read sync.WaitGroup
	w := newWorld(t, func(o *dispatcher.Options) {
		b := o.Routes.(*board)
		b.place(models.WorkerRouteKey("before"), org, strings.Repeat("a", 64))
		o.Routes = namedBoard{board: b}
	})
	w.board.place(models.WorkerRouteKey("before"), org, w.release(assets.Config{}, files{"/index.html": "before"}))
	w.eventuallyNames()
	w.board.reads.Store(0)
	for client := range 8 {
		read.Go(func() {
			conn := w.dial()
			if err := conn.SetDeadline(time.Now().Add(5 * patience)); err != nil {
				t.Error(err)
			}
			// Pipelined, because what is measured is not the network.
			for i := 0; i < requests/8; i += batch {
				var text strings.Builder
				for j := i; j < i+batch; j++ {
					name := fmt.Sprintf("nobody-%d-%d", client, j)
					host := [...]string{name + ".localhost", name + ".example.com", "abcdefgh--" + name + ".localhost"}[j%3]
					text.WriteString("HEAD / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
				}
				if _, err := io.WriteString(conn, text.String()); err != nil {
					t.Error(err)
					return
				}
				for range batch {
					response, err := http.ReadResponse(conn.answers, &http.Request{Method: "HEAD"})
					if err != nil || response.StatusCode != 404 {
						t.Errorf("%v %v", response, err)
						return
					}
				}
			}
		})
	}
	read.Wait()
	require.Zero(t, w.board.reads.Load())
	require.Equal(t, "before", w.get("before.localhost", "/").body, "who is known is found")
	w.deploy("after", files{"/index.html": "after"})
	eventually(t, func() bool { return w.get("after.localhost", "/").body == "after" })
}

func TestRouteNames_areNotBelievedWhileTheyMayLack(t *testing.T) {
	loading := make(chan struct{})
	w := newWorld(t, func(o *dispatcher.Options) {
		o.Routes = namedBoard{board: o.Routes.(*board), hold: func() { <-loading }}
	})
	w.board.place(models.WorkerRouteKey("my-app"), org, w.release(assets.Config{}, files{"/index.html": "one"}))
	require.Equal(t, "one", w.get("my-app.localhost", "/").body, "while the names are read")
	close(loading)
	w.eventuallyNames()

	w.board.setDown(true)
	eventually(t, func() bool { return !w.board.listening() })
	tries := 0
	eventually(t, func() bool { // the connection is gone a moment before the dispatcher knows
		tries++
		return w.get(fmt.Sprintf("unheard-%d.localhost", tries), "/").status == 503
	})
	require.Equal(t, 503, w.get("new.localhost", "/").status, "what cannot be known is not denied")
	w.board.place(models.WorkerRouteKey("new"), org, w.release(assets.Config{}, files{"/index.html": "new"}))
	w.board.setDown(false)
	eventually(t, func() bool { return w.get("new.localhost", "/").body == "new" })
}
