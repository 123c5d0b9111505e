package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards = 16
	// shardKeys bounds the keys of a shard: about 10 MB in all.
	shardKeys = 8192
)

// Local counts in this process's memory, which is bounded: with more keys than it
// holds, those that have all their permits are forgotten first, then any.
type Local struct {
	seed   maphash.Seed
	start  time.Time
	shards [shards]shard
}

type shard struct {
	mu sync.Mutex
	// full is when a key has all permits again, as time since start.
	full map[string]time.Duration
}

// NewLocal makes one that has seen nobody.
func NewLocal() *Local {
	l := &Local{seed: maphash.MakeSeed(), start: time.Now()}
	for i := range l.shards {
		l.shards[i].full = map[string]time.Duration{}
	}
	return l
}

// Take implements Limiter; it never fails.
func (l *Local) Take(_ context.Context, key string, limit Limit) (Decision, error) {
	if limit.Unbounded() {
		return Decision{Allowed: true}, nil
	}
	s := &l.shards[maphash.String(l.seed, key)%shards]
	every := limit.every()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(l.start)
	full := max(s.full[key], now)
	allowed := full-now+every <= every*time.Duration(limit.Count)
	if allowed {
		full += every
		s.put(key, full, now)
	}
	return decide(limit, allowed, full-now), nil
}

func (s *shard) put(key string, full, now time.Duration) {
	if _, known := s.full[key]; !known && len(s.full) >= shardKeys {
		s.forget(now)
	}
	s.full[key] = full
}

// forget makes room for a quarter of the keys, so that few calls pay for it.
func (s *shard) forget(now time.Duration) {
	for key, full := range s.full {
		if full <= now {
			delete(s.full, key)
		}
	}
	for key := range s.full {
		if len(s.full) <= shardKeys*3/4 {
			return
		}
		delete(s.full, key)
	}
}
