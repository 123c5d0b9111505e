package dispatcher

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	firstRelisten = 100 * time.Millisecond
	maxRelisten   = 5 * time.Second
)

// Run hears of changed routes until ctx ends, reconnecting as often as needed,
// and returns nil then. A dispatcher that is not running serves all the same,
// but looks at PostgreSQL again for every route that is older than a second.
func (d *Dispatcher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	if d.acks != nil {
		running.Go(func() { d.acks.run(ctx) })
	}
	if d.opts.Counts != nil {
		running.Go(func() { d.counts.run(ctx) })
	}
	if d.opts.Invalidations == nil {
		<-ctx.Done()
		return nil
	}
	wait := firstRelisten
	for {
		err := d.opts.Invalidations.Listen(ctx, models.RoutesChannel, func() {
			wait = firstRelisten
			d.routes.resync()
			d.routes.heard.Store(true)
			if keys, ok := d.opts.Routes.(RouteKeys); ok {
				round := d.routes.names.begin()
				running.Go(func() { d.routes.names.load(ctx, keys, round, d.opts.Log) })
			}
		}, d.routeChanged)
		d.routes.heard.Store(false)
		d.routes.names.lost()
		if ctx.Err() != nil {
			return nil
		}
		d.opts.Log.WithError(err).Warn("not hearing of route changes, connecting again")
		// Spread reconnections: many dispatchers lose one database together.
		pause := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil
		}
		wait = min(wait*2, maxRelisten)
	}
}

// routeChanged is told of each announced change, one at a time.
func (d *Dispatcher) routeChanged(payload string) {
	key, generation := models.ParseRouteChange(payload)
	if worker, ok := models.PreviewsOf(key); ok {
		d.routes.invalidatePreviews(worker)
		return
	}
	d.routes.invalidate(key)
	if d.acks != nil && generation > 0 {
		d.acks.seen(key, generation)
	}
}
