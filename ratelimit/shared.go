package ratelimit

import (
	"context"
	"sync/atomic"
	"time"
)

// Permits are counted in one place for all processes; models.Store does.
type Permits interface {
	// TakePermits takes up to n of count permits per period; see models.Store.
	TakePermits(ctx context.Context, key string, n, count int, period time.Duration) (granted int, full time.Duration, err error)
	// SweepPermits forgets up to limit keys that are full.
	SweepPermits(ctx context.Context, limit int) (int64, error)
}

const (
	// sweepEvery is how many calls pay together for one sweep, which removes up to
	// sweepRows: more than those calls can have added.
	sweepEvery = 500
	sweepRows  = 1000
)

// Shared counts in the database, by its clock: exact over all processes.
type Shared struct {
	permits Permits
	calls   atomic.Int64
}

// NewShared counts in these permits.
func NewShared(permits Permits) *Shared { return &Shared{permits: permits} }

// Take implements Limiter.
func (s *Shared) Take(ctx context.Context, key string, limit Limit) (Decision, error) {
	if limit.Unbounded() {
		return Decision{Allowed: true}, nil
	}
	granted, full, err := s.take(ctx, key, 1, limit)
	if err != nil {
		return Decision{}, err
	}
	return decide(limit, granted > 0, full), nil
}

func (s *Shared) take(ctx context.Context, key string, n int, limit Limit) (granted int, full time.Duration, err error) {
	if s.calls.Add(1)%sweepEvery == 0 {
		if _, err := s.permits.SweepPermits(ctx, sweepRows); err != nil {
			return 0, 0, err
		}
	}
	return s.permits.TakePermits(ctx, key, n, limit.Count, limit.Period)
}
