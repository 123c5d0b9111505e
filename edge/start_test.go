package edge

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
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

func TestOpen_startsManyReleasesAtOnce(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 20 {
		r := w.deploy(fmt.Sprintf("r%d", i), hello)
		all.Go(func() { assert.NoError(t, w.get(r, "/").err) })
	}
	all.Wait()
	assert.Equal(t, 20, w.runs())
	status := w.Status()
	assert.Less(t, status.MemoryBytes, int64(20*64<<20))
	for _, worker := range status.Workers {
		assert.EqualValues(t, 1, worker.Requests)
	}
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

func TestNew_sharesItsFolderWithNobody(t *testing.T) {
	w := newWorld(t)
	options := w.options
	_, err := New(options)
	require.Equal(t, models.CodeSandbox, models.CodeOf(err))
	assert.Contains(t, models.MessageOf(err), "another edge host uses it")
	require.NoError(t, w.Close(t.Context()))
	next, err := New(options)
	require.NoError(t, err)
	require.NoError(t, next.Close(t.Context()))
}

func TestNew_namesWhatIsMissing(t *testing.T) {
	_, err := New(Options{})
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
}

// A worker that runs has the user ids and namespaces of the organization it was
// started for, which its project may leave.
func TestOpen_startsAWorkerAnewWhenItsProjectMovesToAnotherOrganization(t *testing.T) {
	w := newWorld(t)
	before := w.deploy("a", hello)
	w.expect(before, "/", "hello 1")
	w.expect(before, "/", "hello 2")
	after := w.deployFor("org_other", "a", hello)
	require.Equal(t, before.ID, after.ID)
	w.expect(after, "/", "hello 1")
	w.expect(after, "/", "hello 2")
	w.eventually(func() bool {
		workers := w.Status().Workers
		return len(workers) == 1 && workers[0].OrganizationID == "org_other"
	}, func() string { return "the worker of the organization before was not ended" })
}
