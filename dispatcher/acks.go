package dispatcher

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
)

// Presence tells deployments which dispatchers there are and what each has
// taken note of. models.Store is one.
type Presence interface {
	// BeatDispatcher says that the dispatcher with that id serves.
	BeatDispatcher(ctx context.Context, id, host string) error
	// AckRoutes says that no request that comes from now on is answered by an
	// earlier generation of these routes.
	AckRoutes(ctx context.Context, id string, acks []models.RouteAck) error
	// RemoveDispatcher says that it has stopped.
	RemoveDispatcher(ctx context.Context, id string) error
}

const (
	// beatEvery is well below models.DispatcherGone.
	beatEvery = 2 * time.Second
	// maxRefreshes bounds the routes that are read again at once because they
	// changed, and maxAcks those that one statement acknowledges.
	maxRefreshes = 16
	maxAcks      = 1000
	// presenceTimeout bounds one statement.
	presenceTimeout = 5 * time.Second
)

// acks takes note of announced changes: it has a route that is in memory read
// again, and then acknowledges it. A route that changes a thousand times a
// second is read again as often as one read takes, and acknowledged once for
// all the changes before it.
type acks struct {
	id, host string
	presence Presence
	// refresh brings a route up to the generation given or a later one, and says
	// whether it could.
	refresh func(ctx context.Context, key string, generation int64) bool
	log     logrus.FieldLogger
	slots   chan struct{}

	mu sync.Mutex
	// wanted is the latest generation announced of each key being refreshed.
	wanted map[string]int64
	// done are the acknowledgements to send.
	done map[string]int64
	wake chan struct{}
	// ctx is Run's while it runs; changes that are announced then are refreshed
	// under it.
	ctx       context.Context
	refreshes sync.WaitGroup
	// unseen says that the last beat failed. Of run alone.
	unseen bool
}

func newAcks(presence Presence, refresh func(context.Context, string, int64) bool, log logrus.FieldLogger) *acks {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return &acks{
		id: models.NewID(models.PrefixDispatcher), host: host, presence: presence, refresh: refresh, log: log,
		slots: make(chan struct{}, maxRefreshes), wanted: map[string]int64{}, done: map[string]int64{}, wake: make(chan struct{}, 1),
	}
}

// seen is told of a change.
func (a *acks) seen(key string, generation int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx == nil {
		return
	}
	earlier, refreshing := a.wanted[key]
	a.wanted[key] = max(earlier, generation)
	if refreshing {
		return
	}
	ctx := a.ctx
	a.refreshes.Go(func() { a.bring(ctx, key) })
}

// bring refreshes a key until it is answered by the latest generation announced.
// When that fails it gives up: whoever waits has it announced again.
func (a *acks) bring(ctx context.Context, key string) {
	a.slots <- struct{}{}
	defer func() { <-a.slots }()
	for {
		a.mu.Lock()
		wanted := a.wanted[key]
		a.mu.Unlock()
		current := a.refresh(ctx, key, wanted)
		a.mu.Lock()
		if current {
			a.done[key] = max(a.done[key], wanted)
			a.signal()
		}
		if !current || a.wanted[key] == wanted {
			delete(a.wanted, key)
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
	}
}

func (a *acks) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run says that this dispatcher serves, and sends acknowledgements, until ctx ends.
func (a *acks) run(ctx context.Context) {
	a.mu.Lock()
	a.ctx = ctx
	a.mu.Unlock()
	defer a.leave(ctx)
	a.beat(ctx)
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			a.beat(ctx)
		case <-a.wake:
			a.send(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (a *acks) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	err := a.presence.BeatDispatcher(ctx, a.id, a.host)
	if unseen := err != nil; unseen != a.unseen && ctx.Err() == nil {
		a.unseen = unseen
		if unseen {
			a.log.WithError(err).Warn("cannot say that this dispatcher serves; deployments do not wait for it until it can")
		} else {
			a.log.Info("this dispatcher says again that it serves")
		}
	}
}

func (a *acks) send(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	for {
		batch := a.take()
		if len(batch) == 0 {
			return
		}
		if err := a.presence.AckRoutes(ctx, a.id, batch); err != nil {
			if ctx.Err() == nil {
				a.log.WithError(err).Warn("cannot acknowledge changes of routes; they will be announced again")
			}
			return
		}
	}
}

func (a *acks) take() []models.RouteAck {
	a.mu.Lock()
	defer a.mu.Unlock()
	batch := make([]models.RouteAck, 0, min(len(a.done), maxAcks))
	for key, generation := range a.done {
		batch = append(batch, models.RouteAck{Key: key, Generation: generation})
		delete(a.done, key)
		if len(batch) == maxAcks {
			break
		}
	}
	return batch
}

// leave says that this dispatcher has stopped, so that nobody waits for it.
func (a *acks) leave(ctx context.Context) {
	a.mu.Lock()
	a.ctx = nil
	a.mu.Unlock()
	a.refreshes.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), presenceTimeout)
	defer cancel()
	if err := a.presence.RemoveDispatcher(ctx, a.id); err != nil {
		a.log.WithError(err).Warn("cannot say that this dispatcher has stopped; deployments wait for it a little longer")
	}
}

// refresh brings a route up to date for the acknowledgement of a change. A key
// that is not in memory needs nothing: its next request reads it.
func (d *Dispatcher) refresh(ctx context.Context, key string, generation int64) bool {
	if !d.routes.known(key) {
		return true
	}
	route, err := d.routes.load(ctx, key)
	if err != nil {
		return models.CodeOf(err) == models.CodeNotFound
	}
	return route.Generation >= generation
}
