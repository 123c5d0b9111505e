package ratelimit_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(pgtest.Wrap(m)) }

// openStore opens a second connection to the same database each time it is called.
func openStore(t *testing.T) func() *models.Store {
	t.Helper()
	url := pgtest.URL(t)
	open := func() *models.Store {
		store, err := models.OpenStore(models.StoreOptions{URL: url})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	}
	require.NoError(t, open().Migrate(t.Context()))
	return open
}

// hammer calls Take this often at once on each limiter and counts what is let through.
func hammer(t *testing.T, calls int, limit ratelimit.Limit, limiters ...ratelimit.Limiter) int64 {
	t.Helper()
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			d, err := limiters[i%len(limiters)].Take(context.Background(), "k", limit)
			if err != nil {
				t.Error(err)
			}
			if d.Allowed {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	return allowed.Load()
}

func TestLimiters_letThroughExactlyTheLimit(t *testing.T) {
	open := openStore(t)
	limit := ratelimit.Limit{Count: 100, Period: 100 * time.Hour}
	require.EqualValues(t, 100, hammer(t, 300, limit, ratelimit.NewLocal()))
	require.EqualValues(t, 100, hammer(t, 300, limit, ratelimit.NewShared(open()), ratelimit.NewShared(open()), ratelimit.NewShared(open())))
}

func TestBatched_letsThroughNoMoreThanTheLimitOverSeveralProcesses(t *testing.T) {
	open := openStore(t)
	limit := ratelimit.Limit{Count: 100, Period: 100 * time.Hour}
	allowed := hammer(t, 600, limit, ratelimit.NewBatched(ratelimit.NewShared(open())),
		ratelimit.NewBatched(ratelimit.NewShared(open())), ratelimit.NewBatched(ratelimit.NewShared(open())))
	require.EqualValues(t, 100, allowed)
}

func TestBatched_asksTheDatabaseSeldomForABusyKey(t *testing.T) {
	counted := &counting{Permits: openStore(t)()}
	limiter := ratelimit.NewBatched(ratelimit.NewShared(counted))
	limit := ratelimit.Limit{Count: 1000, Period: 100 * time.Hour}
	for i := range 1000 {
		d, err := limiter.Take(t.Context(), "k", limit)
		require.NoError(t, err)
		require.True(t, d.Allowed, i)
		require.Equal(t, 999-i, d.Remaining)
	}
	require.Less(t, counted.calls.Load(), int64(30))
	before := counted.calls.Load()
	for range 100 {
		d, err := limiter.Take(t.Context(), "k", limit)
		require.NoError(t, err)
		require.False(t, d.Allowed)
	}
	require.LessOrEqual(t, counted.calls.Load(), before+1, "a refusal is remembered")
}

type counting struct {
	ratelimit.Permits
	calls atomic.Int64
}

func (c *counting) TakePermits(ctx context.Context, key string, n, count int, period time.Duration) (int, time.Duration, error) {
	c.calls.Add(1)
	return c.Permits.TakePermits(ctx, key, n, count, period)
}

func TestLocal_givesPermitsBackOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := ratelimit.NewLocal()
		take := func() ratelimit.Decision {
			d, err := limiter.Take(t.Context(), "k", ratelimit.PerMinute(6))
			require.NoError(t, err)
			return d
		}
		for i := range 6 {
			d := take()
			require.True(t, d.Allowed)
			require.Equal(t, 5-i, d.Remaining)
			require.Equal(t, time.Duration(i+1)*10*time.Second, d.ResetAfter)
		}
		d := take()
		require.False(t, d.Allowed)
		require.Zero(t, d.Remaining)
		require.Equal(t, 10*time.Second, d.RetryAfter)
		require.Equal(t, time.Minute, d.ResetAfter)

		time.Sleep(d.RetryAfter - time.Nanosecond)
		require.False(t, take().Allowed)
		time.Sleep(time.Nanosecond)
		require.True(t, take().Allowed, "who waits as long as told is let through")
		require.False(t, take().Allowed)
		time.Sleep(time.Hour)
		require.Equal(t, 5, take().Remaining, "a key that rested has all of them, and not more")
	})
}

func TestLocal_keepsItsMemoryBounded(t *testing.T) {
	limiter := ratelimit.NewLocal()
	limit := ratelimit.Limit{Count: 1, Period: time.Hour}
	for i := range 300_000 {
		d, err := limiter.Take(t.Context(), fmt.Sprint(i), limit)
		require.NoError(t, err)
		require.True(t, d.Allowed)
	}
	require.LessOrEqual(t, limiter.Keys(), 16*8192)
}

func TestShared_tellsWhenToComeAgain(t *testing.T) {
	limiter := ratelimit.NewShared(openStore(t)())
	limit := ratelimit.Limit{Count: 2, Period: 2 * time.Hour}
	for range 2 {
		d, err := limiter.Take(t.Context(), "k", limit)
		require.NoError(t, err)
		require.NoError(t, d.Err())
	}
	d, err := limiter.Take(t.Context(), "k", limit)
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Seconds(), d.RetryAfter.Seconds(), 60)
	require.InDelta(t, 2*time.Hour.Seconds(), d.ResetAfter.Seconds(), 60)
	require.Equal(t, models.CodeRateLimited, models.CodeOf(d.Err()))
	other, err := limiter.Take(t.Context(), "other", limit)
	require.NoError(t, err)
	require.True(t, other.Allowed)
}

func TestTake_letsEverythingThroughWithoutABound(t *testing.T) {
	shared := ratelimit.NewShared(nil)
	for _, limiter := range []ratelimit.Limiter{shared, ratelimit.NewBatched(shared), ratelimit.NewLocal()} {
		d, err := limiter.Take(t.Context(), "k", ratelimit.PerMinute(0))
		require.NoError(t, err)
		require.True(t, d.Allowed)
	}
}

func TestTake_saysThatTheDatabaseIsAway(t *testing.T) {
	store, err := models.OpenStore(models.StoreOptions{URL: "postgresql://127.0.0.1:1/none"})
	require.NoError(t, err)
	defer store.Close()
	shared := ratelimit.NewShared(store)
	for _, limiter := range []ratelimit.Limiter{shared, ratelimit.NewBatched(shared)} {
		_, err := limiter.Take(t.Context(), "k", ratelimit.PerMinute(5))
		require.Equal(t, models.CodeDatabase, models.CodeOf(err))
	}
}

func BenchmarkTake(b *testing.B) {
	store, err := models.OpenStore(models.StoreOptions{URL: pgtest.URL(b)})
	require.NoError(b, err)
	defer store.Close()
	require.NoError(b, store.Migrate(b.Context()))
	shared := ratelimit.NewShared(store)
	limit := ratelimit.PerMinute(100_000_000)
	for name, limiter := range map[string]ratelimit.Limiter{"shared": shared, "batched": ratelimit.NewBatched(shared), "local": ratelimit.NewLocal()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := limiter.Take(b.Context(), name, limit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
