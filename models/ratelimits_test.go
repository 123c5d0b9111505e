package models_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

func TestTakePermits_letsInExactlyTheLimitUnderConcurrency(t *testing.T) {
	store, _ := openStore(t)
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			n, _, err := store.TakePermits(context.Background(), "k", 1, 50, 10*time.Hour)
			if err != nil {
				t.Error(err)
			}
			granted.Add(int64(n))
		})
	}
	wg.Wait()
	require.EqualValues(t, 50, granted.Load())
}

func TestTakePermits_givesWhatIsLeftOfABatch(t *testing.T) {
	store, _ := openStore(t)
	take := func(key string, n, count int) (int, time.Duration) {
		granted, full, err := store.TakePermits(t.Context(), key, n, count, 7*time.Hour)
		require.NoError(t, err)
		return granted, full
	}
	for _, count := range []int{1, 3, 7, 1000} {
		key := time.Duration(count).String()
		began := time.Now()
		soFar := func() float64 { return 1 + time.Since(began).Seconds() }
		granted, _ := take(key, count/2, count)
		require.Equal(t, max(count/2, 0), granted)
		granted, full := take(key, 2*count, count)
		require.Equal(t, count-count/2, granted)
		require.InDelta(t, (7 * time.Hour).Seconds(), full.Seconds(), soFar())
		granted, full = take(key, 1, count)
		require.Zero(t, granted)
		require.InDelta(t, (7 * time.Hour).Seconds(), full.Seconds(), soFar())
	}
	granted, _ := take("another", 5, 3)
	require.Equal(t, 3, granted)
}

func TestTakePermits_comeBackOneByOne(t *testing.T) {
	store, _ := openStore(t)
	take := func(n int) int {
		granted, _, err := store.TakePermits(t.Context(), "k", n, 10, 500*time.Millisecond)
		require.NoError(t, err)
		return granted
	}
	require.Equal(t, 10, take(10))
	require.Eventually(t, func() bool { return take(1) == 1 }, time.Minute, 5*time.Millisecond)
}

func TestSweepPermits_forgetsOnlyWhatIsFull(t *testing.T) {
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	defer store.Close()
	_, _, err = store.TakePermits(t.Context(), "busy", 1, 1, time.Hour)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "INSERT INTO rate_limits SELECT 'old' || n, now() - interval '2 minutes', 1 FROM generate_series(1, 5) n")
	require.NoError(t, err)
	swept, err := store.SweepPermits(t.Context(), 3)
	require.NoError(t, err)
	require.EqualValues(t, 3, swept)
	swept, err = store.SweepPermits(t.Context(), 100)
	require.NoError(t, err)
	require.EqualValues(t, 2, swept)
}
