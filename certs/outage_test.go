package certs_test

import (
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/certs/pebbletest"
)

// wire is what a dispatcher reaches PostgreSQL through, and what the test cuts.
type wire struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	cut      bool
	// hang takes connections and passes nothing on.
	hang  bool
	conns map[net.Conn]struct{}
	group sync.WaitGroup
}

// throughWire gives a database URL that goes through a wire.
func throughWire(t *testing.T, database string) (string, *wire) {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	w := &wire{listener: listen(t), target: u.Host, conns: map[net.Conn]struct{}{}}
	u.Host = "127.0.0.1:" + strconv.Itoa(port(w.listener))
	w.group.Go(w.accept)
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.sever(true, false)
		w.group.Wait()
	})
	return u.String(), w
}

func (w *wire) accept() {
	for {
		connection, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		if w.cut {
			_ = connection.Close()
			w.mu.Unlock()
			continue
		}
		w.conns[connection] = struct{}{}
		if !w.hang {
			if server, err := net.Dial("tcp", w.target); err == nil {
				w.conns[server] = struct{}{}
				w.group.Go(func() { w.copy(server, connection) })
				w.group.Go(func() { w.copy(connection, server) })
			}
		}
		w.mu.Unlock()
	}
}

func (w *wire) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

// sever ends all connections; new ones are refused, or hang.
func (w *wire) sever(cut, hang bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.hang = cut, hang
	for connection := range w.conns {
		_ = connection.Close()
	}
	w.conns = map[net.Conn]struct{}{}
}

func TestDatabaseAway_knownHostsAreServedOnAlsoByANewProcess(t *testing.T) {
	through, wire := throughWire(t, database(t))
	tls1, web1 := listen(t), listen(t)
	authority := pebbletest.Start(t, pebbletest.Options{HTTPPort: port(web1), TLSPort: port(tls1)})
	d := &domains{active: []string{"shop.example", "cafe.example"}}
	o := options(t, openStore(t, through), d, authority)
	serve(t, o, tls1, web1, d)
	roots := authority.Roots(t)
	for _, host := range d.active {
		_, err := handshake(tls1.Addr().String(), host, roots)
		require.NoError(t, err)
	}
	before := settledRequests(t, authority)
	for _, hang := range []bool{false, true} {
		wire.sever(!hang, hang)
		d.broken.Store(true)
		asked := d.asked.Load()
		_, err := handshake(tls1.Addr().String(), "shop.example", roots)
		require.NoError(t, err)
		require.Equal(t, asked, d.asked.Load(), "memory asks nobody")

		// A dispatcher that starts now has the disk alone.
		tls2 := listen(t)
		restarted := serve(t, o, tls2, nil, d)
		for _, host := range d.active {
			_, err = handshake(tls2.Addr().String(), host, roots)
			require.NoError(t, err, host)
		}
		_, err = handshake(tls2.Addr().String(), "new.example", roots)
		require.Error(t, err)
		restarted.stop()

		d.broken.Store(false)
	}
	require.Equal(t, before, settledRequests(t, authority), "nothing is ordered without a database")

	// With the decision known and the database away nothing is ordered either.
	d.mu.Lock()
	d.active = append(d.active, "late.example")
	d.mu.Unlock()
	wire.sever(true, false)
	_, err := handshake(tls1.Addr().String(), "late.example", roots)
	require.Error(t, err)
	require.Equal(t, before, settledRequests(t, authority))
	wire.sever(false, false)
	eventually(t, "a certificate once the database is back", func() bool {
		_, err := handshake(tls1.Addr().String(), "late.example", roots)
		return err == nil
	})
}
