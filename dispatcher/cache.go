package dispatcher

import (
	"sync"
	"sync/atomic"

	"github.com/slipwayhq/slipway/blob"
)

const cacheShards = 16

// cache keeps values by blob key within a number of bytes. Each shard evicts
// by the clock algorithm: a hit only sets a bit, so that readers do not queue
// for a lock to keep an order up to date.
type cache[V any] struct {
	shards [cacheShards]cacheShard[V]
}

type cacheShard[V any] struct {
	mu sync.RWMutex
	// hits and misses are for the metrics; they lie beside the lock, whose memory a
	// look-up writes to anyway.
	hits, misses atomic.Int64

	items map[blob.Key]*cacheItem[V]
	ring  []*cacheItem[V]
	hand  int
	bytes int64
	limit int64
}

type cacheItem[V any] struct {
	key   blob.Key
	value V
	bytes int64
	used  atomic.Bool
}

func newCache[V any](limit int64) *cache[V] {
	c := &cache[V]{}
	for i := range c.shards {
		c.shards[i].items = make(map[blob.Key]*cacheItem[V])
		c.shards[i].limit = limit / cacheShards
	}
	return c
}

func (c *cache[V]) get(key blob.Key) (V, bool) {
	s := c.shard(key)
	s.mu.RLock()
	item := s.items[key]
	s.mu.RUnlock()
	if item == nil {
		var none V
		return none, false
	}
	s.hits.Add(1)
	if !item.used.Load() {
		item.used.Store(true)
	}
	return item.value, true
}

// add keeps a value. One that alone is more than a shard may hold is not kept.
func (c *cache[V]) add(key blob.Key, value V, bytes int64) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items[key] != nil || bytes > s.limit {
		return
	}
	for s.bytes+bytes > s.limit {
		s.evict()
	}
	item := &cacheItem[V]{key: key, value: value, bytes: bytes}
	s.items[key] = item
	s.ring = append(s.ring, item)
	s.bytes += bytes
}

// missed counts a value that has to be read. A look-up alone is no miss: the same
// request may look twice.
func (c *cache[V]) missed(key blob.Key) { c.shard(key).misses.Add(1) }

// cacheUse is what came of look-ups, and the memory that is held.
type cacheUse struct{ hits, misses, bytes int64 }

func (c *cache[V]) use() (all cacheUse) {
	for i := range c.shards {
		s := &c.shards[i]
		all.hits += s.hits.Load()
		all.misses += s.misses.Load()
		s.mu.RLock()
		all.bytes += s.bytes
		s.mu.RUnlock()
	}
	return all
}

// evict removes the first item the hand meets that was not used since its last
// round. The ring is not empty when it is called.
func (s *cacheShard[V]) evict() {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		item := s.ring[s.hand]
		if item.used.Swap(false) {
			s.hand++
			continue
		}
		last := len(s.ring) - 1
		s.ring[s.hand], s.ring[last] = s.ring[last], nil
		s.ring = s.ring[:last]
		delete(s.items, item.key)
		s.bytes -= item.bytes
		return
	}
}

// shard goes by the digest's first digit, which is as good as random.
func (c *cache[V]) shard(key blob.Key) *cacheShard[V] {
	if key.Digest == "" {
		return &c.shards[0]
	}
	digit := key.Digest[0]
	return &c.shards[(digit&15+digit>>6*9)%cacheShards]
}
