package dispatcher

import (
	"context"
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"github.com/slipwayhq/slipway/models"
)

const (
	routeShardBits = 8
	routeShards    = 1 << routeShardBits
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

// routeTable keeps routes in memory. Reading one that is there takes no lock.
type routeTable struct {
	source Routes
	log    logrus.FieldLogger
	// moved is told of a route that was read again and points elsewhere.
	moved  func(from, to *models.Route)
	seed   maphash.Seed
	shards [routeShards]*routeShard
	loads  singleflight.Group
	// round counts resyncs: a load that began before one must not be joined after it.
	round atomic.Uint64
	reads chan struct{}
	// found, none and failed count reads by what came of them.
	found, none, failed atomic.Int64
	// heard says that changes are being announced.
	heard atomic.Bool
	// awayUntil is until when the database is taken to be away while changes are
	// not announced, in Unix nanoseconds.
	awayUntil atomic.Int64

	names  routeNames
	misses misses

	negativeMu sync.Mutex
	negatives  map[string]time.Time
}

func newRouteTable(source Routes, limit int, log logrus.FieldLogger) *routeTable {
	t := &routeTable{
		source: source, log: log, moved: func(_, _ *models.Route) {}, seed: maphash.MakeSeed(),
		reads: make(chan struct{}, maxReads), negatives: make(map[string]time.Time),
	}
	t.names.seed = t.seed
	for i := range t.shards {
		t.shards[i] = newRouteShard(max(1, limit/routeShards))
	}
	return t
}

// get finds a route: CodeNotFound when there is none, CodeDatabase when that
// cannot be known and no earlier answer is left to serve, CodeRateLimited when
// too many ask for what is not there.
func (t *routeTable) get(ctx context.Context, key string) (*models.Route, error) {
	hash := t.hash(key)
	shard := t.shard(hash)
	entry := shard.find(hash, key)
	if entry == nil {
		return t.first(ctx, key)
	}
	stale := entry.stale.Load()
	if !stale && t.heard.Load() {
		return shard.route(entry), nil
	}
	now := time.Now()
	if now.UnixNano() < entry.trusted.Load() {
		return shard.route(entry), nil
	}
	if !stale || t.away(now) {
		// Nothing says that it changed, or there is nobody to ask: answer now, and
		// look meanwhile unless others keep the database busy.
		entry.trusted.Store(now.Add(retryAfter).UnixNano())
		if !t.away(now) && len(t.reads) < maxReads {
			t.loads.DoChan(t.loadKey(key), func() (any, error) { return t.read(key) })
		}
		return shard.route(entry), nil
	}
	ctx, cancel := context.WithTimeout(ctx, staleWait)
	defer cancel()
	route, err := t.load(ctx, key)
	if err != nil && models.CodeOf(err) != models.CodeNotFound {
		entry.trusted.Store(time.Now().Add(retryAfter).UnixNano())
		return shard.route(entry), nil
	}
	return route, err
}

// current gives a route that answers as it is in memory, nil when get would have
// to look further.
func (t *routeTable) current(key string) *models.Route {
	hash := t.hash(key)
	shard := t.shard(hash)
	entry := shard.find(hash, key)
	if entry == nil || entry.stale.Load() || !t.heard.Load() {
		return nil
	}
	return shard.route(entry)
}

// known says whether requests are answered by this route from memory.
func (t *routeTable) known(key string) bool {
	hash := t.hash(key)
	return t.shard(hash).find(hash, key) != nil
}

// first finds a route that is not in memory.
func (t *routeTable) first(ctx context.Context, key string) (*models.Route, error) {
	now := time.Now()
	switch {
	case t.isNegative(key) || t.names.absent(key):
		return nil, errNoRoute
	case t.away(now):
		return nil, errAway
	case !t.misses.allows(key, now):
		return nil, errTooManyMisses
	}
	return t.load(ctx, key)
}

// away says that the database is taken to be away.
func (t *routeTable) away(now time.Time) bool {
	return !t.heard.Load() && now.UnixNano() < t.awayUntil.Load()
}

// load reads a route once for all that wait for it.
func (t *routeTable) load(ctx context.Context, key string) (*models.Route, error) {
	select {
	case result := <-t.loads.DoChan(t.loadKey(key), func() (any, error) { return t.read(key) }):
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*models.Route), nil
	case <-ctx.Done():
		return nil, models.Wrap(models.CodeDatabase, ctx.Err(), "The route was not read in time")
	}
}

func (t *routeTable) loadKey(key string) string {
	return strconv.FormatUint(t.round.Load(), 10) + " " + key
}

// read is on its own time: whoever asked first may leave, others still wait.
func (t *routeTable) read(key string) (*models.Route, error) {
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	select {
	case t.reads <- struct{}{}:
		defer func() { <-t.reads }()
	case <-ctx.Done():
		return nil, models.Wrap(models.CodeDatabase, ctx.Err(), "The route was not read in time")
	}
	hash := t.hash(key)
	shard := t.shard(hash)
	entry := shard.find(hash, key)
	switch {
	case entry == nil && !t.misses.allows(key, time.Now()):
		return nil, errTooManyMisses // meanwhile, while it waited
	case entry != nil && !entry.stale.Load() && t.heard.Load():
		return shard.route(entry), nil // was read for others, while it was on its way here
	}
	epoch := shard.epoch.Load()
	route, err := t.source.Route(ctx, key)
	switch {
	case err == nil:
		t.found.Add(1)
		return t.store(hash, &route, epoch), nil
	case models.CodeOf(err) == models.CodeNotFound:
		t.none.Add(1)
		t.misses.count(key, time.Now())
		t.forget(hash, key, epoch)
		return nil, errNoRoute
	default:
		t.failed.Add(1)
		t.awayUntil.Store(time.Now().Add(retryAfter).UnixNano())
		t.log.WithError(err).WithField("route", key).Warn("cannot read a route")
		return nil, err
	}
}

// store keeps a route that was read, unless a newer one is there already: a
// slow read must not undo a flip that a faster one has seen.
func (t *routeTable) store(hash uint64, route *models.Route, epoch uint64) *models.Route {
	shard := t.shard(hash)
	entry := newRouteEntry(route, time.Now())
	shard.mu.Lock()
	old := shard.find(hash, route.Key)
	if old != nil && old.generation() > route.Generation {
		shard.mu.Unlock()
		return shard.route(old)
	}
	if shard.epoch.Load() != epoch {
		entry.markStale()
	}
	shard.put(hash, entry, t.hash)
	shard.keepOpen(entry, route)
	shard.mu.Unlock()
	if old != nil {
		t.moved(old.open(), route)
	}
	return route
}

// forget drops a route that is no more, unless it was announced meanwhile.
func (t *routeTable) forget(hash uint64, key string, epoch uint64) {
	shard := t.shard(hash)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.epoch.Load() != epoch {
		return
	}
	shard.remove(hash, key)
	t.addNegative(key)
}

// invalidate is called when a route's change is announced.
func (t *routeTable) invalidate(key string) {
	t.names.add(key)
	hash := t.hash(key)
	shard := t.shard(hash)
	shard.mu.Lock()
	shard.epoch.Add(1)
	if entry := shard.find(hash, key); entry != nil {
		entry.markStale()
	}
	shard.mu.Unlock()
	t.loads.Forget(t.loadKey(key))
	t.negativeMu.Lock()
	delete(t.negatives, key)
	t.negativeMu.Unlock()
}

// resync is called when announcements may have been missed.
func (t *routeTable) resync() {
	t.round.Add(1)
	t.awayUntil.Store(0)
	for _, shard := range t.shards {
		shard.mu.Lock()
		shard.epoch.Add(1)
		shard.each((*routeEntry).markStale)
		shard.mu.Unlock()
	}
	t.negativeMu.Lock()
	clear(t.negatives)
	t.negativeMu.Unlock()
}

func (t *routeTable) hash(key string) uint64 { return maphash.String(t.seed, key) }

// shard goes by the top of the hash, a slot in it by the bottom.
func (t *routeTable) shard(hash uint64) *routeShard { return t.shards[hash>>(64-routeShardBits)] }

// size counts the routes in memory.
func (t *routeTable) size() int {
	n := 0
	for _, shard := range t.shards {
		shard.mu.Lock()
		n += shard.live
		shard.mu.Unlock()
	}
	return n
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

var (
	errNoRoute       = models.Errorf(models.CodeNotFound, "Nothing is deployed there.")
	errAway          = models.Errorf(models.CodeDatabase, "The database did not answer; try again shortly.")
	errTooManyMisses = models.Errorf(models.CodeRateLimited, "Too many ask for what is not there; try again shortly.")
)
