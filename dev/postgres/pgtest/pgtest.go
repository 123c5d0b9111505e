// Package pgtest gives tests databases of their own on a real PostgreSQL server.
//
// One server is started per test binary, on first use, with durability off.
// It dies with the test binary, and its folder with it or at the latest when a test
// that uses this package starts an hour later.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/dev/postgres"
)

// folderPattern names the folders that sweep looks for.
const folderPattern = "slipway-pgtest-*"

// shared is the test binary's one server; a test binary is one process, and a
// server per test would cost each of them a second.
var shared struct {
	once   sync.Once
	server *postgres.Server
	dir    string
	err    error
	count  atomic.Int64

	prepare    sync.Once
	prepareErr error
}

// original is the database that Copy copies.
const original = "original"

// Main runs the tests and stops the server afterwards; call it from TestMain.
// Without it the server ends with the process just the same.
func Main(m *testing.M) { os.Exit(Wrap(m).Run()) }

// Runner runs a test binary's tests; it is what goleak.VerifyTestMain asks for.
type Runner struct{ m interface{ Run() int } }

// Wrap makes m stop the server when its tests are done:
//
//	goleak.VerifyTestMain(pgtest.Wrap(m))
func Wrap(m interface{ Run() int }) Runner { return Runner{m} }

// Run implements the interface of goleak.VerifyTestMain.
func (r Runner) Run() int {
	code := r.m.Run()
	if shared.server != nil {
		shared.server.Stop(context.Background())
		_ = os.RemoveAll(shared.dir)
	}
	return code
}

// URL makes an empty database for this test and returns its connection string.
// The database is dropped, with whatever is still connected, when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	server := Server(t)
	name := fmt.Sprintf("test_%d", shared.count.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.CreateDatabase(ctx, name); err != nil {
		t.Fatal(err)
	}
	dropAfter(t, server, name)
	return patient(server.URL(name))
}

// patient lets connections take as long as they need on a busy machine. The few
// seconds that the product gives them are too short for many at once, which all
// prove that they know the password.
func patient(url string) string { return url + "&connect_timeout=120" }

// Copy makes a database for this test as prepare leaves it: a copy of one that it
// prepares once in the test binary, which is quicker than migrating each. Every
// call brings the same prepare, which must have closed its connections when it
// returns.
func Copy(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	server := Server(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	shared.prepare.Do(func() {
		if shared.prepareErr = server.CreateDatabase(ctx, original); shared.prepareErr == nil {
			shared.prepareErr = prepare(patient(server.URL(original)))
		}
	})
	if shared.prepareErr != nil {
		t.Fatalf("prepare a database for tests: %v", shared.prepareErr)
	}
	name := fmt.Sprintf("test_%d", shared.count.Add(1))
	if err := execute(ctx, server.URL("postgres"), "CREATE DATABASE "+name+" TEMPLATE "+original); err != nil {
		t.Fatal(err)
	}
	dropAfter(t, server, name)
	return patient(server.URL(name))
}

func dropAfter(t testing.TB, server *postgres.Server, name string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := drop(ctx, server.URL("postgres"), name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
}

// Server is the test binary's server, started on first use.
func Server(t testing.TB) *postgres.Server {
	t.Helper()
	shared.once.Do(start)
	if shared.err != nil {
		t.Fatalf("start PostgreSQL for tests: %v", shared.err)
	}
	return shared.server
}

func start() {
	sweep()
	if shared.dir, shared.err = os.MkdirTemp("", folderPattern); shared.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	shared.server, shared.err = postgres.Start(ctx, postgres.Options{DataDir: shared.dir, Ephemeral: true})
}

// sweep removes folders of test binaries that were killed; a living one holds its
// lock, which it takes a moment after it has made the file.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPattern))
	for _, dir := range dirs {
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if made, err := lock.Stat(); err != nil || time.Since(made.ModTime()) < time.Hour {
			_ = lock.Close()
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}

func drop(ctx context.Context, server, name string) error {
	return execute(ctx, server, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

func execute(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
