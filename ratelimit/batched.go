package ratelimit

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// batchShare is the largest batch, as a part of the limit: what one process may
	// hold unused.
	batchShare = 20
	// batchKeys bounds what is held; more than that and the oldest go.
	batchKeys = 50_000
)

// Batched takes permits of a Shared in batches that grow while a key is busy, from
// one to a twentieth of its limit, and remembers a refusal until it is over. It is
// for keys that come often. What all processes let through together is above the
// limit by no more than a batch each, which they took in the period before.
type Batched struct {
	shared  *Shared
	flights singleflight.Group
	mu      sync.Mutex
	keys    map[string]*batch
}

// batch is what this process holds for a key.
type batch struct {
	held int
	next int // the size of the next batch
	// full is when the key has all permits, as of the last word from the database.
	full time.Time
	// ends is when what is held is too old, refused until when none is to be had.
	ends, refused time.Time
}

// NewBatched takes from this one.
func NewBatched(shared *Shared) *Batched {
	return &Batched{shared: shared, keys: map[string]*batch{}}
}

// Take implements Limiter.
func (b *Batched) Take(ctx context.Context, key string, limit Limit) (Decision, error) {
	if limit.Unbounded() {
		return Decision{Allowed: true}, nil
	}
	for {
		decision, size, known := b.spend(key, limit)
		if known {
			return decision, nil
		}
		// Requests that come while a batch is fetched share what it brings; the
		// fetch must not end with the request that began it.
		fetch := b.flights.DoChan(key, func() (any, error) {
			shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
			defer cancel()
			return nil, b.fetch(shared, key, size, limit)
		})
		select {
		case result := <-fetch:
			if result.Err != nil {
				return Decision{}, result.Err
			}
		case <-ctx.Done():
			return Decision{}, ctx.Err()
		}
	}
}

// fetchTimeout bounds one batch's statement.
const fetchTimeout = 5 * time.Second

// spend decides by what is held; when nothing is, it says how much to fetch.
func (b *Batched) spend(key string, limit Limit) (decision Decision, size int, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	held := b.keys[key]
	switch {
	case held == nil:
		return Decision{}, 1, false
	case now.Before(held.refused):
		return decide(limit, false, held.full.Sub(now)), 0, true
	case held.held > 0 && now.Before(held.ends):
		held.held--
		decision := decide(limit, true, max(held.full.Sub(now), 0))
		decision.Remaining = min(decision.Remaining+held.held, limit.Count)
		if decision.Remaining > 0 {
			decision.RetryAfter = 0
		}
		return decision, 0, true
	}
	return Decision{}, held.next, false
}

func (b *Batched) fetch(ctx context.Context, key string, size int, limit Limit) error {
	granted, full, err := b.shared.take(ctx, key, size, limit)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if len(b.keys) >= batchKeys {
		b.forget(now)
	}
	held := &batch{held: granted, next: min(size*2, max(limit.Count/batchShare, 1)), full: now.Add(full), ends: now.Add(limit.Period)}
	if before := b.keys[key]; before != nil && now.Before(before.ends) {
		// Another request's batch came in between.
		held.held += before.held
	}
	if held.held == 0 {
		held.refused = now.Add(decide(limit, false, full).RetryAfter)
		held.next = 1
	}
	b.keys[key] = held
	return nil
}

func (b *Batched) forget(now time.Time) {
	for key, held := range b.keys {
		if now.After(held.ends) {
			delete(b.keys, key)
		}
	}
	for key := range b.keys {
		if len(b.keys) <= batchKeys*3/4 {
			return
		}
		delete(b.keys, key)
	}
}
