// Package ratelimit bounds how often something may happen: requests of an
// address or a token, attempts to sign in to an account.
//
// All limiters count the same way, the generic cell rate algorithm (a leaky
// bucket used as a meter): a key that rested may do Count at once, and gets one
// back every Period/Count. So over any time of n periods it does at most
// (n+1)·Count.
//
//	limiter := ratelimit.NewShared(store)
//	decision, err := limiter.Take(ctx, "sign-in account:"+email, ratelimit.PerMinute(10))
//	if err != nil {
//		return err // the database is away: models.CodeDatabase
//	}
//	if !decision.Allowed {
//		return decision.Err() // models.CodeRateLimited, says when to come again
//	}
//
// Which limiter: Shared is exact over all processes and costs a statement per
// call; Batched is nearly so and cheap for keys that are busy; Local costs nothing
// and counts in this process alone.
package ratelimit

import (
	"context"
	"math"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Limit lets Count through per Period. A Count of 0 or less is no bound.
type Limit struct {
	Count  int
	Period time.Duration
}

// PerMinute lets n through in a minute; 0 is no bound.
func PerMinute(n int) Limit { return Limit{Count: n, Period: time.Minute} }

// Unbounded says whether everything is let through.
func (l Limit) Unbounded() bool { return l.Count <= 0 || l.Period <= 0 }

// every is the time in which one permit comes back.
func (l Limit) every() time.Duration { return max(l.Period/time.Duration(l.Count), 1) }

// Limiter decides by a key, which should begin with what it is for, so that two
// uses never share one: "deploy org_…". Keys of Shared and Batched are rows: do
// not let callers choose long ones. A limit that is Unbounded costs nothing.
//
// Take returns CodeDatabase when it cannot tell; the caller decides what then.
// It is safe for concurrent use.
type Limiter interface {
	Take(ctx context.Context, key string, limit Limit) (Decision, error)
}

// Decision is the answer to one Take.
type Decision struct {
	Allowed bool
	// Limit is what the key is held to; the zero Limit for no bound.
	Limit Limit
	// Remaining is how many more would be let through now.
	Remaining int
	// ResetAfter is the time until the key has all of its permits again.
	ResetAfter time.Duration
	// RetryAfter is the time until the next may pass; 0 when one may now.
	RetryAfter time.Duration
}

// RetryAfterDetail is the detail of Err that says how many seconds to wait.
const RetryAfterDetail = "retryAfterSeconds"

// Err is nil for what is allowed, else CodeRateLimited with the numbers.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return models.Errorf(models.CodeRateLimited, "Too many requests: %d per %s are allowed here. Try again in %d s.",
		d.Limit.Count, period(d.Limit.Period), Seconds(d.RetryAfter)).
		WithDetails(map[string]any{"limit": d.Limit.Count, "periodSeconds": Seconds(d.Limit.Period), RetryAfterDetail: Seconds(d.RetryAfter)})
}

// Seconds rounds up to whole seconds, as headers have them: who waits that long
// has waited long enough.
func Seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

func period(d time.Duration) string {
	switch d {
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	default:
		return d.String()
	}
}

// decide says what a key whose permits are all back after full may do.
func decide(limit Limit, allowed bool, full time.Duration) Decision {
	every := limit.every()
	d := Decision{Allowed: allowed, Limit: limit, ResetAfter: full}
	used := int((full + every - 1) / every)
	d.Remaining = min(max(limit.Count-used, 0), limit.Count)
	if d.Remaining == 0 {
		d.RetryAfter = max(full-time.Duration(limit.Count-1)*every, 0)
	}
	if !allowed {
		// What has come back since it was refused is not promised.
		d.Remaining, d.RetryAfter = 0, max(d.RetryAfter, time.Millisecond)
	}
	return d
}
