// Package edge runs released worker code: one workerd process per active
// release, each in a sandbox of its own.
//
//	Open (host.go) → running worker (worker.go), or start it (start.go)
//	  start: code on disk (code.go) → config (workerdconfig.go) → sockets
//	         (sockets.go) → sandboxed process → ready
//	  then:  what it says (output.go, journal.go, stack.go)
//	         how it is watched and stopped (run.go, watchdog.go, retire.go, fault.go)
package edge

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/upstream"
)

// Release is what the host needs to know to run a release.
type Release struct {
	ID             string
	OrganizationID string
	ProjectID      string
	WorkerName     string
	// WorkerDigest and ManifestDigest name blobs in the organization's scope.
	WorkerDigest   string
	ManifestDigest string
}

// Workers is what a Host does for those who send requests to workers.
type Workers interface {
	// Open gives the running worker of a release, and starts it first when it
	// does not run; all who ask meanwhile wait for the one start. Errors:
	// CodeWorkerStart with what the worker said when it cannot start,
	// CodeWorkerBusy when it did not start in time, waits out a crash, or a limit
	// on workers or on this worker's requests is reached (answer 503 with
	// Retry-After), CodeSandbox, CodeStorage, CodeDatabase for the platform's
	// faults, and the context's.
	Open(ctx context.Context, r Release) (*Lease, error)
	// Prepare starts a release ahead of its first request when another release of
	// its project runs here. replaces says that it has the others' visitors from now
	// on, and they need not be kept for more; during a rollout they do. It returns
	// at once.
	Prepare(r Release, replaces bool)
}

// Lease is a claim on a running worker for one request with its streams. The
// worker is not stopped as long as a lease on it is open, but for the drain
// deadline. Not safe for concurrent use.
type Lease struct {
	// Upstream sends requests to the worker. It belongs to the running process:
	// one that is started again has another.
	Upstream *upstream.Client
	worker   *worker
}

// Close gives the lease back. Calling it again does nothing.
func (l *Lease) Close() {
	if l.worker != nil {
		l.worker.giveBack()
		l.worker = nil
	}
}

// Failed is told of the error of a request that broke off, before Close, and
// gives back what to say about it: CodeWorkerCrashed with the reason when the
// process ended or was ended under it, CodeWorkerBusy when the host stopped it
// in order, else the error itself. It may wait a moment, for a connection breaks
// before the end of its process is known.
func (l *Lease) Failed(err error) error {
	if l.worker == nil {
		return err
	}
	return l.worker.blame(err)
}

// Report closes a request in the worker's log; before Close.
func (l *Lease) Report(r Request) {
	if l.worker != nil {
		l.worker.report(r)
	}
}

// Request is how a request to a worker went.
type Request struct {
	ID, Method, Path string
	// Status is the answer's; 0 when there was none.
	Status   int
	Duration time.Duration
	// Err is what Failed gave back, or the client's leaving; nil when the answer
	// was complete.
	Err error
}

// Assets answers from the files of a release, for its ASSETS binding. The
// handler sees the worker's request as sent, with an absolute URL.
type Assets interface {
	Assets(ctx context.Context, r Release) (http.Handler, error)
}

// Environment reads the variables and secrets of a release. CodeReleaseNotFound,
// CodeDatabase.
type Environment interface {
	Environment(ctx context.Context, releaseID string) (models.Environment, error)
}

// LogLine is one line of a worker's log.
type LogLine = models.WorkerLogLine

// LogSink takes what workers say. It must not block and keeps nothing of the
// slice. It is called from many goroutines.
type LogSink interface {
	Log(r Release, lines []LogLine)
}
