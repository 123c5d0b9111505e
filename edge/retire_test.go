package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/upstream"
)

const streams = `export default { fetch(request, env, context) {
	if (request.url.endsWith("/wait")) { context.waitUntil((async () => { for (let i = 0; i < 8; i++) await scheduler.wait(100); console.log("waited"); })()); return new Response("ok"); }
	const { readable, writable } = new TransformStream();
	const writer = writable.getWriter();
	context.waitUntil((async () => {
		for (let i = 0; i < 10; i++) { await writer.write(new TextEncoder().encode("part " + i + "\n")); await scheduler.wait(100); }
		await writer.close();
	})());
	return new Response(readable);
} }`

func TestMakeRoom_stopsTheLeastRecentlyUsedIdleWorker(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.MaxWorkers = 2 })
	a, b, c := w.deploy("a", hello), w.deploy("b", hello), w.deploy("c", hello)
	w.expect(a, "/", "hello 1")
	w.expect(b, "/", "hello 1")
	used := w.clock.Load()
	w.eventually(func() bool { return w.clock.Load() > used }, func() string { return "the clock stands" })
	w.expect(a, "/", "hello 2")
	w.expect(c, "/", "hello 1")
	w.expect(a, "/", "hello 3")
	w.awaitLine(b, models.LogSystem, "others needed the room")
	assert.LessOrEqual(t, len(w.Status().Workers), 2)

	one, err := w.Open(t.Context(), a)
	require.NoError(t, err)
	two, err := w.Open(t.Context(), c)
	require.NoError(t, err)
	_, err = w.Open(t.Context(), b)
	assert.Equal(t, models.CodeWorkerBusy, models.CodeOf(err))
	assert.Positive(t, RetryAfter(err))
	one.Close()
	w.eventually(func() bool { return w.get(b, "/").err == nil }, func() string { return "no room was made" })
	two.Close()
}

// One organization that keeps all its workers busy must leave room for others,
// however many releases it has.
func TestMakeRoom_leavesRoomForOtherOrganizations(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.MaxWorkers, o.Limits.OrganizationShare = 4, 0.5 })
	var leases []*Lease
	defer func() {
		for _, lease := range leases {
			lease.Close()
		}
	}()
	for _, id := range []string{"a", "b"} {
		lease, err := w.Open(t.Context(), w.deploy(id, hello))
		require.NoError(t, err)
		leases = append(leases, lease)
	}
	_, err := w.Open(t.Context(), w.deploy("c", hello))
	require.Equal(t, models.CodeWorkerBusy, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "that the organization may run")
	other := w.deployFor("org_other", "d", hello)
	w.expect(other, "/", "hello 1")

	leases[0].Close()
	w.expect(w.deploy("c", hello), "/", "hello 1")
	w.expect(other, "/", "hello 2")
}

func TestKeepWithinMemory_endsTheLargestOfAGreedyOrganization(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.MemoryBytes, o.Limits.OrganizationShare = 200<<20, 0.5 })
	greedy := w.deploy("greedy", `
		const all = [];
		export default { async fetch() {
			for (let i = 0; i < 18; i++) { all.push(new Uint8Array(10 << 20).fill(1)); await scheduler.wait(1); }
			await scheduler.wait(60000);
		} }`)
	other := w.deployFor("org_other", "other", hello)
	lease, err := w.Open(t.Context(), other)
	require.NoError(t, err)
	defer lease.Close()
	got := w.get(greedy, "/")
	require.Equal(t, models.CodeWorkerCrashed, models.CodeOf(got.err), "%v", got.err)
	assert.Contains(t, models.MessageOf(got.err), "more than their share")
	w.expect(other, "/", "hello 1")
}

// One request must not buy a processor until the worker counts as idle.
func TestRetireWorkers_stopsWhatComputesLongAfterItsLastAnswer(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.DrainTimeout = time.Second })
	r := w.deploy("r1", `export default { fetch(request, env, context) {
		context.waitUntil((async () => { for (;;) { for (let i = 0; i < 1e6; i++) Math.sqrt(i); await scheduler.wait(0); } })());
		return new Response("ok");
	} }`)
	quiet := w.deploy("quiet", hello)
	w.expect(quiet, "/", "hello 1")
	w.expect(r, "/", "ok")
	w.awaitLine(r, models.LogSystem, "long after its last answer")
	w.expect(quiet, "/", "hello 2")
}

func TestMakeRoom_keepsWithinTheMemory(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.MemoryBytes = 60 << 20 })
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		w.expect(w.deploy(id, hello), "/", "hello 1")
	}
	var all room
	w.eventually(func() bool { // also when the last ones turn out larger than they were counted
		w.mu.Lock()
		defer w.mu.Unlock()
		all, _ = w.occupied()
		return all.bytes <= 60<<20
	}, func() string { return fmt.Sprint(all.bytes, " bytes are in use") })
	assert.Positive(t, w.Status().Counts.MadeRoom)
}

func TestClose_letsStreamsAndWaitUntilFinish(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.DrainTimeout = patience })
	r := w.deploy("r1", streams)
	w.expect(r, "/wait", "ok")
	lease, err := w.Open(t.Context(), r)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, q *http.Request) {
		defer lease.Close()
		assert.NoError(t, lease.Upstream.Forward(a, q, upstream.Forwarding{Target: "/", Host: "worker.test"}))
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	require.NoError(t, err)
	defer response.Body.Close()
	closed := make(chan error)
	go func() { closed <- w.Close(context.Background()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Contains(t, string(body), "part 9\n")
	_, err = w.Open(t.Context(), r)
	assert.Equal(t, models.CodeWorkerBusy, models.CodeOf(err))
	require.NoError(t, <-closed)
	w.awaitLine(r, models.LogConsole, "waited")
	w.awaitLine(r, models.LogSystem, "this machine stops serving")
	http.DefaultClient.CloseIdleConnections()
}

func TestClose_endsAStreamAtItsDeadline(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.DrainTimeout = 300 * time.Millisecond })
	r := w.deploy("r1", `export default { fetch() { return new Response(new ReadableStream({ async pull(c) { await scheduler.wait(20); c.enqueue(new TextEncoder().encode("x")); } })); } }`)
	ended := make(chan answer)
	go func() { ended <- w.get(r, "/") }()
	w.eventually(func() bool { return w.runs() == 1 && w.Status().Workers[0].Active == 1 }, func() string { return "no request" })
	require.NoError(t, w.Close(context.Background()))
	assert.Equal(t, models.CodeWorkerBusy, models.CodeOf((<-ended).err), "it was stopped in order")
}

func TestClose_letsAWebSocketFinish(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.DrainTimeout = patience })
	r := w.deploy("r1", `export default { fetch() {
		const [ours, theirs] = Object.values(new WebSocketPair());
		theirs.accept();
		theirs.addEventListener("message", (event) => theirs.send("echo " + event.data));
		return new Response(null, { status: 101, webSocket: ours });
	} }`)
	server := httptest.NewServer(http.HandlerFunc(func(a http.ResponseWriter, q *http.Request) {
		lease, err := w.Open(q.Context(), r)
		if assert.NoError(t, err) {
			defer lease.Close()
			_ = lease.Upstream.Forward(a, q, upstream.Forwarding{Target: "/", Host: "worker.test"})
		}
	}))
	defer server.Close()
	socket, _, err := websocket.Dial(t.Context(), server.URL, nil)
	require.NoError(t, err)
	closed := make(chan error)
	go func() { closed <- w.Close(context.Background()) }()
	w.eventually(func() bool { return w.runs() == 0 }, func() string { return "it takes new requests" })
	require.NoError(t, socket.Write(t.Context(), websocket.MessageText, []byte("hello")))
	_, message, err := socket.Read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "echo hello", string(message))
	require.NoError(t, socket.CloseNow())
	require.NoError(t, <-closed)
}

func TestPrepare_startsTheNextReleaseAndLetsTheOlderGo(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.DrainTimeout = time.Second })
	older, newer, other := w.deploy("older", hello), w.deploy("newer", hello), w.deploy("other", hello)
	other.ProjectID = "another"
	w.Prepare(newer, true)
	assert.Zero(t, w.runs(), "nothing of the project runs here")
	w.expect(older, "/", "hello 1")
	w.Prepare(other, true)
	w.Prepare(newer, true)
	w.eventually(func() bool { _, ok := w.running.Load(newer.ID); return ok }, func() string { return w.logOf(newer) })
	w.eventually(func() bool { return w.runs() == 1 }, func() string { return "the older release still runs" })
	w.awaitLine(older, models.LogSystem, "worker stopped: it was idle")
	w.expect(newer, "/", "hello 1")
	assert.EqualValues(t, 2, w.Status().Counts.Starts)

	// Back again.
	w.expect(older, "/", "hello 1")
	w.Prepare(older, true)
	back, _ := w.running.Load(older.ID)
	assert.False(t, back.(*worker).superseded.Load())
	w.eventually(func() bool { return w.runs() == 1 }, func() string { return "the newer release still runs" })
}

// A canary that was prepared had the live release stopped whenever it paused.
func TestPrepare_besideTheLiveReleaseKeepsIt(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.DrainTimeout = time.Second })
	live, canary := w.deploy("live", hello), w.deploy("canary", hello)
	w.expect(live, "/", "hello 1")
	w.Prepare(canary, false)
	w.eventually(func() bool { _, ok := w.running.Load(canary.ID); return ok }, func() string { return w.logOf(canary) })
	kept, _ := w.running.Load(live.ID)
	assert.False(t, kept.(*worker).superseded.Load())
	w.Prepare(canary, true)
	assert.True(t, kept.(*worker).superseded.Load())
}

func TestWorker_countsLeasesWhateverTheOrder(t *testing.T) {
	h := &Host{limits: testLimits()}
	w := &worker{host: h, drained: make(chan struct{})}
	require.NoError(t, w.acquire())
	require.False(t, w.closeIdle())
	w.close()
	w.close()
	assert.True(t, w.closing())
	assert.ErrorIs(t, w.acquire(), errClosing)
	assert.EqualValues(t, 1, w.open())
	select {
	case <-w.drained:
		t.Fatal("drained with a lease out")
	default:
	}
	w.giveBack()
	<-w.drained
	assert.Zero(t, w.open())
	assert.ErrorIs(t, w.acquire(), errClosing)
}
