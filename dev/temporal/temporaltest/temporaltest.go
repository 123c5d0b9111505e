// Package temporaltest gives tests a real Temporal server that keeps everything
// in memory and knows Slipway's search attributes.
//
// One server is started per test binary, on first use; it dies with it.
package temporaltest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/slipwayhq/slipway/dev/temporal"
)

// shared is the test binary's one server: starting one per test would cost each
// of them a second and 150 MB.
var shared struct {
	once   sync.Once
	server *temporal.Server
	err    error
}

// Main runs the tests and stops the server afterwards; call it from TestMain.
// Without it the server ends with the process just the same.
func Main(m *testing.M) { os.Exit(Wrap(m).Run()) }

// Runner runs a test binary's tests; it is what goleak.VerifyTestMain asks for.
type Runner struct{ m interface{ Run() int } }

// Wrap makes m stop the server when its tests are done. It composes:
//
//	goleak.VerifyTestMain(temporaltest.Wrap(pgtest.Wrap(m)))
func Wrap(m interface{ Run() int }) Runner { return Runner{m} }

// Run implements the interface of goleak.VerifyTestMain.
func (r Runner) Run() int {
	code := r.m.Run()
	if shared.server != nil {
		shared.server.Stop(context.Background())
	}
	return code
}

// Start returns the host:port of the test binary's server, in which the
// namespace "default" is ready. Tests share it: use task queues and workflow
// ids of your own.
func Start(t testing.TB) string {
	t.Helper()
	shared.once.Do(start)
	if shared.err != nil {
		t.Fatalf("start Temporal for tests: %v", shared.err)
	}
	return shared.server.Address()
}

func start() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	binary, err := temporal.Build(ctx, Root())
	if err != nil {
		shared.err = err
		return
	}
	shared.server, shared.err = temporal.Start(ctx, temporal.Options{Binary: binary, Headless: true})
}

// Root is the folder of the source tree this test was compiled from.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}
