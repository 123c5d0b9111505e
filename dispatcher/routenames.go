package dispatcher

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
)

// RouteKeys names every route there is. When Routes can do this too, a name that
// nobody has is refused without a look at PostgreSQL. models.Store can.
type RouteKeys interface {
	// RouteKeys calls each with every route's key, as of one moment after the
	// call began.
	RouteKeys(ctx context.Context, each func(key string)) error
}

// routeNames are the keys of all routes, as hashes: strangers who try names ask
// for a new one each time, which no memory of earlier refusals helps against.
// They are complete from the end of a load that began after changes were heard
// of, until changes are heard no more.
type routeNames struct {
	seed maphash.Seed
	mu   sync.RWMutex
	// round counts the loads, so that a late one does not complete a newer one.
	round    int
	keys     *hashSet
	complete bool
}

const namesRetry = 5 * time.Second

// begin starts over. Changes announced from now on are added.
func (n *routeNames) begin() (round int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.round++
	n.keys, n.complete = new(hashSet), false
	return n.round
}

// load reads the keys until that succeeds, the round is over or ctx ends.
func (n *routeNames) load(ctx context.Context, source RouteKeys, round int, log logrus.FieldLogger) {
	for {
		err := source.RouteKeys(ctx, n.add)
		if err == nil {
			n.finish(round)
			return
		}
		if ctx.Err() != nil || !n.current(round) {
			return
		}
		log.WithError(err).Warn("cannot read the names of all routes, trying again")
		pause := time.NewTimer(namesRetry)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

func (n *routeNames) finish(round int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.complete = round == n.round
}

func (n *routeNames) current(round int) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return round == n.round
}

// lost is called when changes are not heard of.
func (n *routeNames) lost() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.round++
	n.keys, n.complete = nil, false
}

func (n *routeNames) add(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys != nil {
		n.keys.add(maphash.String(n.seed, key))
	}
}

// absent says for certain that there is no route, nor a worker whose preview a
// name could be.
func (n *routeNames) absent(key string) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !n.complete || n.has(key) {
		return false
	}
	if name, isWorker := strings.CutPrefix(key, models.WorkerRouteKey("")); isWorker {
		for at := strings.Index(name, "--"); at >= 0; {
			if n.has(models.WorkerRouteKey(name[at+2:])) {
				return false
			}
			next := strings.Index(name[at+1:], "--")
			if next < 0 {
				break
			}
			at += 1 + next
		}
	}
	return true
}

func (n *routeNames) has(key string) bool {
	return n.keys.has(maphash.String(n.seed, key))
}
