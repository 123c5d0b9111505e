package dispatcher

import (
	"context"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"github.com/slipwayhq/slipway/models"
)

const (
	routeShards = 64
	// negativeTTL is how long "nothing there" is believed. NOTIFY ends it
	// sooner; it is short so that a name that is not heard of again is forgotten.
	negativeTTL = 5 * time.Second
	// maxNegatives bounds how many unknown names are remembered, so that a
	// stranger trying names cannot fill the memory.
	maxNegatives = 8192
	// unheardTTL is how long a route is believed while changes are not
	// announced, because the listening connection is down.
	unheardTTL = time.Second
	// retryAfter spaces attempts to reload a route that could not be reloaded.
	retryAfter = time.Second
	// loadTimeout bounds one read of a route.
	loadTimeout = 5 * time.Second
	// staleWait is how long a request waits for a route that changed to be read
	// again before it is served the old one.
	staleWait = time.Second
	// maxReads bounds the reads at once, so that strangers trying names cannot
	// take every connection to the database.
	maxReads = 32
)

// routeTable keeps routes in memory. Reading takes no lock: a shard's map is
// never changed, only replaced.
type routeTable struct {
	source Routes
	log    logrus.FieldLogger
	seed   maphash.Seed
	shards [routeShards]routeShard
	loads  singleflight.Group
	reads  chan struct{}
	// heard says that changes are being announced.
	heard atomic.Bool

	names routeNames

	negativeMu sync.Mutex
	negatives  map[string]time.Time
}

type routeShard struct {
	mu      sync.Mutex
	entries atomic.Pointer[map[string]*routeEntry]
	// epoch counts the announcements for this shard. A load that began before
	// the latest one may have read what was there before it.
	epoch atomic.Uint64
}

type routeEntry struct {
	route  models.Route
	loaded time.Time
	// stale says that the route changed after it was loaded.
	stale atomic.Bool
	// retryAt is when a failed reload may be tried again, in Unix nanoseconds.
	retryAt atomic.Int64
}

func newRouteTable(source Routes, log logrus.FieldLogger) *routeTable {
	t := &routeTable{source: source, log: log, seed: maphash.MakeSeed(), reads: make(chan struct{}, maxReads), negatives: make(map[string]time.Time)}
	t.names.seed = t.seed
	for i := range t.shards {
		t.shards[i].entries.Store(&map[string]*routeEntry{})
	}
	return t
}

// get finds a route: CodeNotFound when there is none, CodeDatabase when that
// cannot be known and no earlier answer is left to serve.
func (t *routeTable) get(ctx context.Context, key string) (*models.Route, error) {
	shard := t.shard(key)
	entry := (*shard.entries.Load())[key]
	if entry == nil {
		if t.isNegative(key) || t.names.absent(key) {
			return nil, errNoRoute
		}
		return t.load(ctx, shard, key)
	}
	if !entry.stale.Load() && (t.heard.Load() || time.Since(entry.loaded) < unheardTTL) {
		return &entry.route, nil
	}
	if time.Now().UnixNano() < entry.retryAt.Load() {
		return &entry.route, nil
	}
	if !entry.stale.Load() {
		// Nothing says that it changed: answer now, look meanwhile.
		entry.retryAt.Store(time.Now().Add(retryAfter).UnixNano())
		t.loads.DoChan(key, func() (any, error) { return t.read(shard, key) })
		return &entry.route, nil
	}
	ctx, cancel := context.WithTimeout(ctx, staleWait)
	defer cancel()
	route, err := t.load(ctx, shard, key)
	if err != nil && models.CodeOf(err) != models.CodeNotFound {
		entry.retryAt.Store(time.Now().Add(retryAfter).UnixNano())
		return &entry.route, nil
	}
	return route, err
}

// known says whether requests are answered by this route from memory.
func (t *routeTable) known(key string) bool {
	return (*t.shard(key).entries.Load())[key] != nil
}

// load reads a route once for all that wait for it.
func (t *routeTable) load(ctx context.Context, shard *routeShard, key string) (*models.Route, error) {
	select {
	case result := <-t.loads.DoChan(key, func() (any, error) { return t.read(shard, key) }):
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*models.Route), nil
	case <-ctx.Done():
		return nil, models.Wrap(models.CodeDatabase, ctx.Err(), "The route was not read in time")
	}
}

// read is on its own time: whoever asked first may leave, others still wait.
func (t *routeTable) read(shard *routeShard, key string) (*models.Route, error) {
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	select {
	case t.reads <- struct{}{}:
		defer func() { <-t.reads }()
	case <-ctx.Done():
		return nil, models.Wrap(models.CodeDatabase, ctx.Err(), "The route was not read in time")
	}
	epoch := shard.epoch.Load()
	route, err := t.source.Route(ctx, key)
	switch {
	case err == nil:
		return shard.store(key, route, epoch), nil
	case models.CodeOf(err) == models.CodeNotFound:
		t.forget(shard, key, epoch)
		return nil, errNoRoute
	default:
		t.log.WithError(err).WithField("route", key).Warn("cannot read a route")
		return nil, err
	}
}

// store keeps a route that was read, unless a newer one is there already: a
// slow read must not undo a flip that a faster one has seen.
func (s *routeShard) store(key string, route models.Route, epoch uint64) *models.Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := *s.entries.Load()
	if old := entries[key]; old != nil && old.route.Generation > route.Generation {
		return &old.route
	}
	entry := &routeEntry{route: route, loaded: time.Now()}
	entry.stale.Store(s.epoch.Load() != epoch)
	next := maps.Clone(entries)
	next[key] = entry
	s.entries.Store(&next)
	return &entry.route
}

// forget drops a route that is no more, unless it was announced meanwhile.
func (t *routeTable) forget(shard *routeShard, key string, epoch uint64) {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.epoch.Load() != epoch {
		return
	}
	if entries := *shard.entries.Load(); entries[key] != nil {
		next := maps.Clone(entries)
		delete(next, key)
		shard.entries.Store(&next)
	}
	t.addNegative(key)
}

// invalidate is called when a route's change is announced.
func (t *routeTable) invalidate(key string) {
	t.names.add(key)
	shard := t.shard(key)
	shard.mu.Lock()
	shard.epoch.Add(1)
	if entry := (*shard.entries.Load())[key]; entry != nil {
		entry.markStale()
	}
	shard.mu.Unlock()
	t.loads.Forget(key)
	t.negativeMu.Lock()
	delete(t.negatives, key)
	t.negativeMu.Unlock()
}

// resync is called when announcements may have been missed.
func (t *routeTable) resync() {
	for i := range t.shards {
		shard := &t.shards[i]
		shard.mu.Lock()
		shard.epoch.Add(1)
		for key, entry := range *shard.entries.Load() {
			entry.markStale()
			t.loads.Forget(key)
		}
		shard.mu.Unlock()
	}
	t.negativeMu.Lock()
	clear(t.negatives)
	t.negativeMu.Unlock()
}

func (e *routeEntry) markStale() {
	e.retryAt.Store(0)
	e.stale.Store(true)
}

func (t *routeTable) isNegative(key string) bool {
	t.negativeMu.Lock()
	defer t.negativeMu.Unlock()
	until, ok := t.negatives[key]
	return ok && time.Now().Before(until)
}

func (t *routeTable) addNegative(key string) {
	t.negativeMu.Lock()
	defer t.negativeMu.Unlock()
	if len(t.negatives) >= maxNegatives {
		clear(t.negatives)
	}
	ttl := negativeTTL
	if !t.heard.Load() {
		ttl = unheardTTL
	}
	t.negatives[key] = time.Now().Add(ttl)
}

func (t *routeTable) shard(key string) *routeShard {
	return &t.shards[maphash.String(t.seed, key)%routeShards]
}

var errNoRoute = models.Errorf(models.CodeNotFound, "Nothing is deployed there.")
