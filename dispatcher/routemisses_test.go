package dispatcher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

func TestRoutes_tryingPreviewsOfAWorkerCostsFewReads(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.Routes = namedBoard{board: o.Routes.(*board)} })
	w.deploy("attacked", files{"/index.html": "attacked"})
	w.deploy("other", files{"/index.html": "other"})
	w.eventuallyNames()
	w.board.reads.Store(0)
	began := time.Now()
	statuses := map[int]int{}
	for n := range 5000 {
		statuses[visit(w.d, fmt.Sprintf("aaaaaa%04d--attacked.localhost", n), "192.0.2.1").status]++
	}
	most := 200 + int64(50*time.Since(began).Seconds()) + 1
	require.LessOrEqual(t, w.board.reads.Load(), most)
	require.Equal(t, 5000, statuses[404]+statuses[429], statuses)
	require.NotZero(t, statuses[429])

	// Nobody else is held up: neither names asked for the first time, nor another
	// worker's previews.
	require.Equal(t, "attacked", w.get("attacked.localhost", "/").body)
	require.Equal(t, "other", w.get("other.localhost", "/").body)
	w.board.place(models.WorkerRouteKey("abcdefgh--other"), org, w.release(assets.Config{}, files{"/index.html": "preview"}))
	require.Equal(t, "preview", w.get("abcdefgh--other.localhost", "/").body)
}
