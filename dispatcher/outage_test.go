package dispatcher_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// wire carries connections to PostgreSQL, and can be cut.
type wire struct {
	url      string
	listener net.Listener
	dial     func() (net.Conn, error)
	running  sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	conns map[net.Conn]bool
}

// newWire lies before the database at a URL.
func newWire(t *testing.T, direct string) *wire {
	config, err := pgx.ParseConfig(direct)
	require.NoError(t, err)
	w := &wire{conns: map[net.Conn]bool{}}
	w.dial = func() (net.Conn, error) {
		return net.Dial("tcp", net.JoinHostPort(config.Host, fmt.Sprint(config.Port)))
	}
	w.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.url = (&url.URL{
		Scheme: "postgres", User: url.UserPassword(config.User, config.Password), Host: w.listener.Addr().String(),
		Path: config.Database, RawQuery: "sslmode=disable",
	}).String()
	w.running.Go(func() {
		for {
			conn, err := w.listener.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { w.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.cut(true)
		w.running.Wait()
	})
	return w
}

func (w *wire) carry(from net.Conn) {
	defer func() { _ = from.Close() }()
	to, err := w.dial()
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	if !w.keep(from, to) {
		return
	}
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		w.running.Go(func() { _, _ = io.Copy(pair[0], pair[1]); done <- struct{}{} })
	}
	<-done
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, from)
	delete(w.conns, to)
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = true
	}
	return !w.isCut
}

func (w *wire) cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = cut
	if cut {
		for c := range w.conns {
			_ = c.Close()
		}
	}
}

func TestOutage_knownRoutesServeAndEverythingCatchesUp(t *testing.T) {
	t.Parallel()
	var line *wire
	f := newFleetBehind(t, 3, func(direct string) string { line = newWire(t, direct); return line.url })
	_, err := f.store.GoLive(t.Context(), f.releases[0])
	require.NoError(t, err)
	f.awaitAll("0")

	for round := 1; round < len(f.releases); round++ {
		line.cut(true)
		var took []time.Duration
		for began := time.Now(); time.Since(began) < 2*time.Second; {
			for _, d := range f.dispatchers {
				at := time.Now()
				require.Equal(t, fmt.Sprint(round-1), f.ask(d, "site.localhost"))
				took = append(took, time.Since(at))
			}
		}
		requireNoneWaits(t, took, "while PostgreSQL is away")
		took = nil
		for n := range 200 {
			at := time.Now()
			require.Equal(t, 503, visit(f.dispatchers[n%2], fmt.Sprintf("unknown-%d.localhost", n), "::1").status)
			took = append(took, time.Since(at))
		}
		requireNoneWaits(t, took, "of unknown names")

		// A flip that nobody hears of.
		_, err := f.store.GoLive(t.Context(), f.releases[round])
		require.NoError(t, err)
		line.cut(false)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		require.NoError(t, f.store.AwaitRoutes(ctx, f.project.ID))
		cancel()
		f.awaitAll(fmt.Sprint(round))
		eventually(t, func() bool { return visit(f.dispatchers[0], "unknown.localhost", "::1").status == 404 })
	}
}

func TestListen_aFlipWhileConnectingAgainIsNotMissed(t *testing.T) {
	t.Parallel()
	var direct string
	f := newFleetBehind(t, 2, func(url string) string { direct = url; return url })
	_, err := f.store.GoLive(t.Context(), f.releases[0])
	require.NoError(t, err)
	f.awaitAll("0")
	conn, err := pgx.Connect(t.Context(), direct)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for n := 1; n <= 5; n++ {
		_, err := conn.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
		require.NoError(t, err)
		require.NoError(t, f.store.Rollback(t.Context(), f.releases[n%2]))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		require.NoError(t, f.store.AwaitRoutes(ctx, f.project.ID))
		cancel()
		for _, d := range f.dispatchers {
			require.Equal(t, fmt.Sprint(n%2), f.ask(d, "site.localhost"))
		}
	}
}

func TestFlip_isSeenByEveryDispatcherSoon(t *testing.T) {
	f := newFleet(t, 2)
	require.NoError(t, f.store.Rollback(t.Context(), f.releases[1]))
	f.awaitAll("1")
	var took []time.Duration
	for n := range 60 {
		require.NoError(t, f.store.Rollback(t.Context(), f.releases[n%2]))
		began := time.Now()
		for _, d := range f.dispatchers {
			for f.ask(d, "site.localhost") != fmt.Sprint(n%2) {
				require.Less(t, time.Since(began), patience)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("from the commit until both dispatchers answer by it: median %v, the slowest of %d %v", took[len(took)/2], len(took), took[len(took)-1])
	require.Less(t, took[len(took)/2], 5*time.Second, "100 ms are the aim, on a machine that has nothing else to do")
}

func TestFlip_aThousandAsFastAsTheyGoDisturbNobody(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	require.NoError(t, f.store.Rollback(t.Context(), f.releases[1]))
	f.awaitAll("1")
	stop := make(chan struct{})
	var askers sync.WaitGroup
	var answers atomic.Int64
	askers.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if got := f.ask(f.dispatchers[n%2], "site.localhost"); got != "0" && got != "1" {
				t.Errorf("answer %q", got)
				return
			}
			answers.Add(1)
		}
	})
	began := time.Now()
	for n := range 1000 {
		require.NoError(t, f.store.Rollback(t.Context(), f.releases[n%2]))
	}
	t.Logf("1,000 flips in %v under %d answers", time.Since(began), answers.Load())
	close(stop)
	askers.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, f.store.AwaitRoutes(ctx, f.project.ID))
	f.awaitAll("1")
	require.NotZero(t, answers.Load())
}

// requireNoneWaits says that requests do not wait for what is away, which would be
// a second each: one or the other may be held up by a busy machine, most are not.
func requireNoneWaits(t *testing.T, took []time.Duration, which string) {
	t.Helper()
	slices.Sort(took)
	t.Logf("%d answers %s: the median after %v, the slowest after %v", len(took), which, took[len(took)/2], took[len(took)-1])
	require.Less(t, took[len(took)/2], 900*time.Millisecond, "no request waits for what is away")
}

// awaitAll waits until every dispatcher answers a text.
func (f *fleet) awaitAll(text string) {
	f.Helper()
	for _, d := range f.dispatchers {
		eventually(f.T, func() bool { return f.ask(d, "site.localhost") == text })
	}
}
