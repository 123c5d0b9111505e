package edge

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const hello = `let n = 0; export default { fetch() { return new Response("hello " + ++n) } }`

func TestOpen_startsOneProcessForManyFirstRequests(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", hello)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { assert.NoError(t, w.get(r, "/").err) })
	}
	all.Wait()
	assert.EqualValues(t, 1, w.Status().Counts.Starts)
	w.expect(r, "/", "hello 101")
}

func TestRun_stopsAnIdleWorkerThatTheNextRequestStartsAgain(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.IdleTimeout = time.Second })
	r := w.deploy("r1", hello)
	w.expect(r, "/", "hello 1")
	w.eventually(func() bool { return len(w.Status().Workers) == 0 }, func() string { return w.logOf(r) })
	w.awaitLine(r, "system", "worker stopped: it was idle")
	w.expect(r, "/", "hello 1")
	require.EqualValues(t, 2, w.Status().Counts.Starts)
}
