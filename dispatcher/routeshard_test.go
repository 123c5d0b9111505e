package dispatcher

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// filled is a table that hears of changes, with n routes.
func filled(n, limit int) *routeTable {
	t := newRouteTable(nil, limit, logrus.New())
	t.heard.Store(true)
	for i := range n {
		t.put(i, 1)
	}
	return t
}

func keyOf(i int) string { return fmt.Sprint("w:app-", i) }

func (t *routeTable) put(i int, generation int64) {
	r := models.Route{Key: keyOf(i), ReleaseID: fmt.Sprint("rel-", i), Generation: generation}
	hash := t.hash(r.Key)
	t.store(hash, &r, t.shard(hash).epoch.Load())
}

func (t *routeTable) live() (live int) {
	for _, s := range t.shards {
		live += s.live
	}
	return live
}

func TestRouteTable_keepsEveryRouteApart(t *testing.T) {
	const n = 50_000
	table := filled(n, 2*n)
	require.Equal(t, n, table.live())
	for i := range n {
		r := table.current(keyOf(i))
		require.NotNil(t, r)
		if r.ReleaseID != fmt.Sprint("rel-", i) || r.Key != keyOf(i) {
			t.Fatalf("%s has the route of %s", keyOf(i), r.Key)
		}
	}
	for i := 0; i < n; i += 2 {
		hash := table.hash(keyOf(i))
		table.forget(hash, keyOf(i), table.shard(hash).epoch.Load())
	}
	require.Equal(t, n/2, table.live())
	for i := range n {
		require.Equal(t, i%2 == 1, table.known(keyOf(i)))
	}
	// What is gone makes room again.
	for i := range n {
		table.put(i, 2)
	}
	require.Equal(t, n, table.live())
}

func TestRouteTable_isReadWhileItChanges(t *testing.T) {
	const n = 2000
	table := filled(n, 4*n)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r, err := table.get(context.Background(), keyOf(i%n))
				if err != nil || r.Key != keyOf(i%n) {
					t.Errorf("%s: %v %v", keyOf(i%n), r, err)
					return
				}
			}
		})
	}
	for round := range int64(10) {
		for i := range n {
			table.put(i, round+2)
			table.put(n+i, 1) // comes and goes, so that tables grow and are made anew
		}
		for i := range n {
			hash := table.hash(keyOf(n + i))
			table.forget(hash, keyOf(n+i), table.shard(hash).epoch.Load())
		}
	}
	close(stop)
	readers.Wait()
}

func TestRouteTable_forgetsWhatNobodyAsksFor(t *testing.T) {
	const limit = 10 * routeShards
	table := filled(1, limit)
	for i := range 10 * limit {
		table.put(i+1, 1)
		require.NotNil(t, table.current(keyOf(0)), "a route in use stays")
	}
	require.LessOrEqual(t, table.live(), limit)
	require.Greater(t, table.live(), limit*9/10)
}

func TestRouteTable_keepsFewRoutesOpen(t *testing.T) {
	const n = 3 * maxOpen * routeShards
	table := filled(n, 2*n)
	for i := range n {
		require.NotNil(t, table.current(keyOf(i)))
	}
	open := 0
	for _, s := range table.shards {
		require.LessOrEqual(t, len(s.open), maxOpen)
		s.each(func(e *routeEntry) {
			if e.opened.Load() != nil {
				open++
			}
		})
	}
	require.LessOrEqual(t, open, maxOpen*routeShards)
	require.NotZero(t, open)
}

func TestRouteTable_aRouteInUseCostsNoAllocation(t *testing.T) {
	table := filled(1000, 2000)
	key := keyOf(7)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if r, err := table.get(context.Background(), key); err != nil || table.current(key) != r {
			t.Fatal("another route")
		}
	}))
}

// hanging is a database that takes questions and answers none.
type hanging struct{}

func (hanging) Route(ctx context.Context, _ string) (models.Route, error) {
	<-ctx.Done()
	return models.Route{}, context.Cause(ctx)
}

func TestRouteTable_aHangingDatabaseDelaysAChangedRouteOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := filled(1, 1000)
		table.source = hanging{}
		table.log.(*logrus.Logger).SetOutput(io.Discard)
		table.invalidate(keyOf(0))
		for _, want := range []time.Duration{staleWait, 0, 0} {
			began := time.Now()
			route, err := table.get(t.Context(), keyOf(0))
			require.NoError(t, err)
			require.Equal(t, "rel-0", route.ReleaseID, "the old one, rather than none")
			require.Equal(t, want, time.Since(began))
		}
		time.Sleep(loadTimeout) // until the read has been given up
	})
}

func TestRouteTable_anAnnouncementEndsThatANameIsUnknown(t *testing.T) {
	table := filled(0, 1000)
	table.addNegative(keyOf(0))
	require.True(t, table.isNegative(keyOf(0)))
	table.invalidate(keyOf(0))
	require.False(t, table.isNegative(keyOf(0)), "before the time for it is over")
}

func TestRouteTable_readsWhatWasReadMeanwhileNoMore(t *testing.T) {
	table := filled(1, 1000) // without a source: a read would panic
	route, err := table.read(keyOf(0))
	require.NoError(t, err)
	require.Equal(t, "rel-0", route.ReleaseID)
}

func TestHashSet_hasWhatWasAdded(t *testing.T) {
	var set hashSet
	require.False(t, set.has(0))
	for i := range uint64(10_000) {
		require.False(t, set.has(i*64), i)
		set.add(i * 64)
		set.add(i * 64)
	}
	require.Equal(t, 10_000, set.count)
	for i := range uint64(10_000) {
		require.True(t, set.has(i*64), i)
		require.False(t, set.has(i*64+2), i)
	}
	require.LessOrEqual(t, len(set.slots), 1<<14)
}

func TestMisses_oneWorkersPreviewsAreBoundedAlone(t *testing.T) {
	var m misses
	now := time.Now()
	allowed := 0
	for i := range 50_000 {
		key := fmt.Sprintf("w:aaaaaaa%d--attacked", i)
		if m.allows(key, now) {
			m.count(key, now)
			allowed++
		}
	}
	require.Equal(t, missBurst, allowed)
	require.True(t, m.allows("w:aaaaaaaa--other", now))
	require.True(t, m.allows("w:plain", now))
	require.True(t, m.allows("h:"+strings.Repeat("a--", 20)+"example.com", now))
	require.False(t, m.allows("w:aaaaaaaa--attacked", now))
	require.True(t, m.allows("w:aaaaaaaa--attacked", now.Add(time.Second)))
	for i := range 3 * maxMissSources {
		m.count(fmt.Sprint("w:aaaaaaaa--app-", i), now)
	}
	require.LessOrEqual(t, len(m.sources), maxMissSources)
}

func BenchmarkRouteTable(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		table := filled(n, 2*n)
		for name, asked := range map[string]int{"hot": min(n, 1000), "all": n} {
			keys := make([]string, 1<<16)
			for i := range keys {
				keys[i] = keyOf(i * 7919 % asked)
			}
			b.Run(fmt.Sprintf("%d routes/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if table.current(keys[i&(1<<16-1)]) == nil {
						b.Fatal("not there")
					}
				}
			})
		}
	}
}
