package edge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

const minified = `function a(){throw new TypeError("no settings")}a();export default{fetch(){}};`

// mapped is the source map of minified: its function is line 3 of src/settings.ts.
const mapped = `{"version":3,"sources":["../../src/settings.ts"],"names":[],"mappings":"AAEA,eACE"}`

func TestOpen_saysWhyAWorkerDoesNotStart(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ script, message string }{
		"exception": {`throw new TypeError("at start"); export default {}`, "TypeError: at start"},
		"syntax":    {`export default { fetch() { return new Respo`, "SyntaxError: Unexpected end of input"},
		"import":    {`import "nowhere"; export default {}`, `No such module "nowhere"`},
		"date":      {`export default {}`, "Can't set compatibility date in the future"},
		"await":     {`await new Promise(() => {}); export default {}`, "Top-level await in module is unsettled"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.deploy("start-"+name, c.script, func(b *models.WorkerBundle) {
				if name == "date" {
					b.CompatibilityDate = "2999-01-01"
				}
			})
			err := w.get(r, "/").err
			assert.Equal(t, models.CodeWorkerStart, models.CodeOf(err))
			assert.Contains(t, models.MessageOf(err), c.message)
			w.awaitLine(r, models.LogSystem, "worker did not start: ")
			assert.Equal(t, models.CodeWorkerStart, models.CodeOf(w.get(r, "/").err), "and says so again while it waits")
			assert.Equal(t, models.CodeWorkerStart, models.CodeOf(w.Smoke(t.Context(), r)))
		})
	}
	assert.Empty(t, w.Status().Workers)
}

func TestOpen_mapsTheStackOfAFailedStart(t *testing.T) {
	w := newWorld(t)
	r := w.deployModules("r1", []module{{name: "main.js", kind: models.ModuleES, content: minified, sourceMap: mapped}})
	err := w.Smoke(t.Context(), r)
	require.Equal(t, models.CodeWorkerStart, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "TypeError: no settings")
	var coded *models.Error
	require.True(t, errors.As(err, &coded))
	assert.Contains(t, coded.Details.(StartError).Stack, "src/settings.ts:4:")
}

func TestOpen_boundsAStartThatSpins(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.StartTimeout = 3 * time.Second })
	r := w.deploy("r1", `while (true) {} export default {}`)
	// Who waited was told that it was still starting, so that a deployment of such a
	// worker was the platform's failure and not its owner's.
	var err error
	w.eventually(func() bool {
		err = w.Smoke(t.Context(), r)
		return models.CodeOf(err) == models.CodeWorkerStart // busy where it gets hardly any of a processor
	}, func() string { return fmt.Sprint("it is blamed on nobody: ", err) })
	assert.Contains(t, models.MessageOf(err), "it was not ready after 3s of computing")
	w.awaitLine(r, models.LogSystem, "worker did not start: ")
	w.eventually(func() bool { return len(w.Status().Workers) == 0 }, func() string { return "it still lives" })
}

func TestSmoke_leavesTheWorkerRunning(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", `export default { fetch() { throw new Error("every request fails") } }`)
	require.NoError(t, w.Smoke(t.Context(), r), "any answer passes")
	assert.Equal(t, 500, w.get(r, "/").status)
	assert.EqualValues(t, 1, w.Status().Counts.Starts)
}

func TestSmoke_failsWhereNoAnswerComes(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.RequestTimeout = time.Second })
	silent := w.deploy("silent", `export default { fetch() { return new Promise((yes) => setTimeout(yes, 1e6)) } }`)
	err := w.Smoke(t.Context(), silent)
	assert.Equal(t, models.CodeWorkerStart, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "did not answer its first request within 1s")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, w.Smoke(ctx, silent), context.Canceled)
}

func TestSmoke_saysWhatEndedTheWorker(t *testing.T) {
	// A small heap, so that it is full before the first answer is given up.
	w := newWorld(t, func(o *Options) { o.Limits.WorkerHeapBytes = 64 << 20 })
	eats := w.deploy("eats", `export default { fetch() { const all = []; while (true) all.push(new Array(100000).fill(Math.random())); } }`)
	err := w.Smoke(t.Context(), eats)
	assert.Equal(t, models.CodeWorkerStart, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "JavaScript heap")
}

func TestWatchdog_endsASpinningWorkerAloneAndNamesIt(t *testing.T) {
	// On a busy machine the watchdog takes longer than what is left to do may.
	w := newWorld(t, func(o *Options) { o.Limits.DrainTimeout = time.Minute })
	spins := w.deploy("spins", `export default { fetch(request, env, context) {
		if (request.url.endsWith("/later")) { context.waitUntil(scheduler.wait(10).then(() => { while (true) {} })); return new Response("ok"); }
		while (true) {}
	} }`)
	fine := w.deploy("fine", hello)
	w.expect(fine, "/", "hello 1")
	began := time.Now()
	got := w.get(spins, "/")
	t.Logf("ended after %s: %v", time.Since(began), got.err)
	assert.Equal(t, models.CodeWorkerCrashed, models.CodeOf(got.err))
	// Where others keep the processors from it, it is ended for its silence.
	ended := func() (computed, silent int) {
		for _, line := range w.lines.of(spins.ID) {
			switch {
			case line.Kind != models.LogSystem:
			case strings.HasPrefix(line.Message, "worker ended: it computed for"):
				computed++
			case strings.HasPrefix(line.Message, "worker ended: it did not answer"):
				silent++
			}
		}
		return computed, silent
	}
	awaitEnds := func(n int) (computed, silent int) {
		w.eventually(func() bool { computed, silent = ended(); return computed+silent == n }, func() string { return w.logOf(spins) })
		return computed, silent
	}
	computed, _ := awaitEnds(1)
	says, outcome := "did not answer anything", "unknown"
	if computed == 1 {
		says, outcome = "without answering", "exceededCpu"
	}
	assert.Contains(t, models.MessageOf(got.err), says)
	assert.Equal(t, outcome, w.awaitLine(spins, models.LogRequest, "").Outcome)
	w.expect(fine, "/", "hello 2")
	assert.EqualValues(t, computed, w.Status().Counts.CPU)

	// Without any lease.
	w.expect(spins, "/later", "ok")
	computed, _ = awaitEnds(2)
	assert.EqualValues(t, computed, w.Status().Counts.CPU)
	assert.EqualValues(t, 3, w.Status().Counts.Starts)
}

func TestWatchdog_leavesABusyWorkerThatAnswers(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.CPUTimeout = 500 * time.Millisecond })
	r := w.deploy("r1", `export default { async fetch() {
		const end = Date.now() + 2000; let rounds = 0;
		while (Date.now() < end) { for (let i = 0; i < 1e6; i++) Math.sqrt(i); rounds++; await scheduler.wait(0); }
		return new Response("done");
	} }`)
	w.expect(r, "/", "done")
	assert.Zero(t, w.Status().Counts.CPU)
}

func TestWorker_thatEatsMemoryEndsAloneAndIsNamed(t *testing.T) {
	w := newWorld(t)
	fine := w.deploy("fine", hello)
	w.expect(fine, "/", "hello 1")
	for name, script := range map[string]string{
		"heap":    `export default { fetch() { const all = []; while (true) all.push(new Array(100000).fill(Math.random())); } }`,
		"buffers": `export default { fetch() { const all = []; while (true) all.push(new Uint8Array(10 << 20).fill(1)); } }`,
	} {
		t.Run(name, func(t *testing.T) {
			r := w.deploy(name, script)
			err := w.get(r, "/").err
			assert.Equal(t, models.CodeWorkerCrashed, models.CodeOf(err))
			assert.Contains(t, models.MessageOf(err), "it used more than its", "%v", err)
			w.awaitLine(r, models.LogSystem, "worker ended: it used more than its")
			assert.Equal(t, "exceededMemory", w.awaitLine(r, models.LogRequest, "").Outcome)
		})
	}
	w.expect(fine, "/", "hello 2")
}

func TestFault_waitsLongerAfterEachCrash(t *testing.T) {
	// The clock can be stopped, so that the wait is not over before the test looks.
	var stopped atomic.Pointer[time.Time]
	w := newWorld(t, func(o *Options) {
		o.Now = func() time.Time {
			if at := stopped.Load(); at != nil {
				return *at
			}
			return time.Now()
		}
	})
	r := w.deploy("r1", hello)
	crash := func() {
		running, _ := w.running.Load(r.ID)
		require.NoError(t, running.(*worker).service.Kill())
		<-running.(*worker).done
	}
	w.expect(r, "/", "hello 1")
	crash()
	w.expect(r, "/", "hello 1") // The first is followed by a start at once.
	now := time.Now()
	stopped.Store(&now)
	crash()
	err := w.get(r, "/").err
	assert.Equal(t, models.CodeWorkerBusy, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "ended 2 times in a row")
	assert.Equal(t, time.Second, RetryAfter(err))
	stopped.Store(nil)
	w.eventually(func() bool { return w.get(r, "/").err == nil }, func() string { return w.logOf(r) })
	w.awaitLine(r, models.LogSystem, "its process ended by itself with code 137")
}

func TestFault_forgetsCrashesOfAWorkerThatRanWell(t *testing.T) {
	now := time.Now()
	var f fault
	for range 3 {
		f.crashed(now, now, ending{})
	}
	assert.Equal(t, now.Add(time.Second), f.until)
	f.crashed(now, now.Add(-soundAfter), ending{})
	assert.NoError(t, f.waiting(now))
	for n := range 100 {
		assert.LessOrEqual(t, backoff(n+1), maxBackoff)
		assert.Positive(t, backoff(n+1))
	}
}

func TestFailed_keepsOtherErrors(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", hello)
	lease, err := w.Open(t.Context(), r)
	require.NoError(t, err)
	defer lease.Close()
	own := errors.New("something else")
	assert.Equal(t, own, lease.Failed(own))
	assert.Equal(t, context.Canceled, lease.Failed(context.Canceled))
	assert.Equal(t, own, (&Lease{}).Failed(own))
}

func TestOpen_startsKnownReleasesWithoutDatabaseAndBlobs(t *testing.T) {
	w := newWorld(t)
	w.env.values["r1"] = models.Environment{"A": {Value: "1"}}
	r := w.deploy("r1", `export default { fetch(_, env) { return new Response(env.A) } }`)
	fresh := w.deploy("r2", `export default { fetch() { return new Response("new") } }`)
	w.expect(r, "/", "1")
	w.blobs.mu.Lock()
	w.blobs.away = true
	w.blobs.mu.Unlock()
	w.env.mu.Lock()
	*w.env.err = models.Errorf(models.CodeDatabase, "the database is away")
	w.env.mu.Unlock()
	running, _ := w.running.Load(r.ID)
	require.True(t, w.retireIdle(running.(*worker), endedIdle))
	w.expect(r, "/", "1")
	assert.Equal(t, models.CodeStorage, models.CodeOf(w.get(fresh, "/").err))
}

func TestOpen_refusesMoreRequestsThanAWorkerMayHave(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.WorkerRequests = 3 })
	r := w.deploy("r1", hello)
	var leases []*Lease
	for range 3 {
		lease, err := w.Open(t.Context(), r)
		require.NoError(t, err)
		leases = append(leases, lease)
	}
	_, err := w.Open(t.Context(), r)
	assert.Equal(t, models.CodeWorkerBusy, models.CodeOf(err))
	leases[0].Close()
	leases[0].Close()
	w.expect(r, "/", "hello 1")
	for _, lease := range leases {
		lease.Close()
	}
	running, _ := w.running.Load(r.ID)
	assert.Zero(t, running.(*worker).leases.Load())
}

func TestOpen_leavesAFirstRequestThatGivesUp(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", hello)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Open(ctx, r)
	require.ErrorIs(t, err, context.Canceled)
	w.eventually(func() bool { return w.runs() == 1 }, func() string { return "its start was given up too" })
	var others sync.WaitGroup
	for range 5 {
		others.Go(func() { assert.NoError(t, w.get(r, "/").err) })
	}
	others.Wait()
	assert.EqualValues(t, 1, w.Status().Counts.Starts)
}
