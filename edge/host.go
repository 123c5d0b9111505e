package edge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// Options are what a Host is made of. Services, Workerd, StateDir, Blobs,
// Environment, UIDBase and Limits are needed.
type Options struct {
	// Services starts the sandboxed processes.
	Services sandbox.ServiceProvider
	// Workerd is the path of the workerd program.
	Workerd string
	// StateDir is this host's own folder: the code of releases, and sockets. Two
	// hosts cannot share one.
	StateDir string
	Blobs    blob.Store
	// Assets serves the ASSETS binding; without it, releases that have one do not
	// start.
	Assets      Assets
	Environment Environment
	// KV answers the requests of a KV binding, in the HTTP that workerd's
	// kvNamespace binding speaks. Without it, releases that have one do not start.
	KV func(organizationID, namespace string) http.Handler
	// Outbound answers what a worker's fetch and connect() send out: requests in
	// absolute form, and CONNECT. Without it every one is refused.
	Outbound func(r Release) http.Handler
	// Logs gets every line of every worker's log; nil for none.
	Logs LogSink
	// UIDBase is the first host user id of an organization's range, which has
	// sandbox.MinUIDCount ids. CodeDatabase.
	UIDBase func(ctx context.Context, organizationID string) (uint32, error)
	Limits  config.Edge
	Log     logrus.FieldLogger
	// Metrics, when there is one, takes what the host measures.
	Metrics prometheus.Registerer
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Host runs workers. Run must run as long as the Host is used. Safe for
// concurrent use.
type Host struct {
	options  Options
	limits   config.Edge
	log      logrus.FieldLogger
	code     codeStore
	sockets  *socketFolder
	lock     *os.File
	idPrefix string

	// running has the ready worker of each release, by its id. It is read without
	// a lock by every request.
	running sync.Map
	// clock is the time in Unix nanoseconds, set by Run: near enough for telling
	// which worker was used last, and free to read.
	clock  atomic.Int64
	counts counts
	// measures are the metrics, counts among them.
	measures *measures

	// lifetime ends when the host is closed and every worker is gone.
	lifetime context.Context
	end      context.CancelFunc
	tasks    sync.WaitGroup
	// making bounds the sandboxes that are made at once, and each of makingOf those
	// of an organization. These are kept for ever: they are few and small.
	making   chan struct{}
	makingOf map[string]chan struct{}

	mu sync.Mutex
	// live are the workers whose processes exist, draining ones included.
	live     map[*worker]struct{}
	starting map[string]*start
	faults   map[string]*fault
	// known is what releases that were started here need from PostgreSQL to be
	// started again while that is away.
	known    map[string]*known
	journals map[string]*journal
	sequence uint64
	closed   bool
}

// known does not change in a release's life.
type known struct {
	environment models.Environment
	uidBase     uint32
	used        time.Time
}

var _ Workers = (*Host)(nil)

// New makes a host on its folder, and removes what an earlier one left there.
// CodeValidation for missing options, CodeSandbox when the folder cannot be
// used.
func New(options Options) (*Host, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	stateDir, err := filepath.Abs(options.StateDir)
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the edge host's folder cannot be named")
	}
	options.StateDir = stateDir
	if options.Limits.MemoryBytes == 0 {
		options.Limits.MemoryBytes = halfOfMemory()
	}
	sum := sha256.Sum256([]byte(stateDir))
	h := &Host{
		options: options, limits: options.Limits, log: options.Log,
		code:     codeStore{folder: filepath.Join(stateDir, "code"), blobs: options.Blobs},
		idPrefix: "edge-" + hex.EncodeToString(sum[:6]) + "-",
		live:     map[*worker]struct{}{}, starting: map[string]*start{}, faults: map[string]*fault{},
		known: map[string]*known{}, journals: map[string]*journal{},
		making: make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0))), makingOf: map[string]chan struct{}{},
	}
	h.lifetime, h.end = context.WithCancel(context.Background())
	h.clock.Store(options.Now().UnixNano())
	if h.measures, err = newMeasures(options.Metrics, h); err != nil {
		return nil, err
	}
	if err := h.takeFolder(); err != nil {
		h.giveFolder()
		return nil, models.Errorf(models.CodeSandbox, "the edge host cannot use its folder %s: %w", stateDir, err)
	}
	return h, nil
}

func (o *Options) check() error {
	switch {
	case o.Services == nil, o.Workerd == "", o.StateDir == "", o.Blobs == nil, o.Environment == nil, o.UIDBase == nil:
		return models.Errorf(models.CodeValidation, "the edge host needs Services, Workerd, StateDir, Blobs, Environment and UIDBase")
	case o.Limits.MaxWorkers < 1, o.Limits.WorkerRequests < 1, o.Limits.StartTimeout <= 0:
		return models.Errorf(models.CodeValidation, "the edge host needs its limits")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = logrus.StandardLogger()
	}
	return nil
}

// takeFolder claims the folder for this host alone and clears what is stale.
func (h *Host) takeFolder() error {
	if err := os.MkdirAll(h.options.StateDir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(h.options.StateDir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return fmt.Errorf("another edge host uses it: %w", err)
	}
	h.lock = lock
	if h.sockets, err = openSocketFolder(filepath.Join(h.options.StateDir, "sockets")); err != nil {
		return err
	}
	if err := h.code.prepare(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(h.lifetime, 30*time.Second)
	defer cancel()
	_, err = h.options.Services.Sweep(ctx, func(id string) bool { return !strings.HasPrefix(id, h.idPrefix) })
	return err
}

func (h *Host) giveFolder() {
	if h.sockets != nil {
		h.sockets.close()
	}
	if h.lock != nil {
		_ = h.lock.Close()
	}
}

// Open gives the running worker of a release; see Workers. For one that runs it
// takes no lock.
func (h *Host) Open(ctx context.Context, r Release) (*Lease, error) {
	if found, ok := h.running.Load(r.ID); ok {
		w := found.(*worker)
		if w.release.OrganizationID == r.OrganizationID {
			switch err := w.acquire(); {
			case err == nil:
				return &Lease{Upstream: w.client, worker: w}, nil
			case !errors.Is(err, errClosing):
				return nil, err
			}
		}
	}
	return h.openSlowly(ctx, r)
}

// openSlowly starts the worker or waits for the start under way. A worker may be
// retired between its start and its first lease, hence the loop.
func (h *Host) openSlowly(ctx context.Context, r Release) (*Lease, error) {
	for range 3 {
		w, err := h.ready(ctx, r)
		if err != nil {
			return nil, err
		}
		if w.release.OrganizationID != r.OrganizationID {
			continue
		}
		if err := w.acquire(); err == nil {
			return &Lease{Upstream: w.client, worker: w}, nil
		} else if !errors.Is(err, errClosing) {
			return nil, err
		}
	}
	return nil, busy(time.Second, "The worker is being stopped; try again in a moment.")
}

// verdictTime is how long it may take to say why a start that had all its time
// failed. Who has waited so long is told the reason, not that it is still starting.
const verdictTime = 2 * time.Second

// ready waits for a release's worker.
func (h *Host) ready(ctx context.Context, r Release) (*worker, error) {
	h.mu.Lock()
	w, s, err := h.begin(r)
	h.mu.Unlock()
	if w != nil || err != nil {
		return w, err
	}
	timer := time.NewTimer(h.limits.StartTimeout + verdictTime)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.worker, s.err
	case <-timer.C:
		return nil, busy(time.Second, "The worker is still starting; try again in a moment.")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Prepare starts a release ahead of its first request; see Workers. The other
// releases of the project become the first to be stopped.
func (h *Host) Prepare(r Release, replaces bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.supersede(r, replaces) {
		return
	}
	if _, _, err := h.begin(r); err != nil {
		h.log.WithError(err).WithField("release", r.ID).Debug("Release not started ahead")
	}
}

// supersede says whether workers of a project's other releases run here, and
// marks them when r replaces them. The caller holds mu.
func (h *Host) supersede(r Release, replaces bool) (others bool) {
	for w := range h.live {
		if w.release.ProjectID == r.ProjectID {
			other := w.release.ID != r.ID
			w.superseded.Store(other && (replaces || w.superseded.Load()))
			others = others || other
		}
	}
	return others
}

func (h *Host) now() time.Time { return h.options.Now() }

// RetryAfter is how long to wait before asking again after err, one of Open's or
// Failed's; 0 when it does not say.
func RetryAfter(err error) time.Duration {
	var coded *models.Error
	if errors.As(err, &coded) {
		if wait, ok := coded.Details.(Wait); ok {
			return time.Duration(wait.Seconds) * time.Second
		}
	}
	return 0
}

// Wait is the Details of a CodeWorkerBusy.
type Wait struct {
	// Seconds is for Retry-After.
	Seconds int `json:"retryAfterSeconds"`
}

func busy(wait time.Duration, format string, args ...any) error {
	seconds := max(1, int((wait+time.Second-1)/time.Second))
	return models.Errorf(models.CodeWorkerBusy, format, args...).WithDetails(Wait{Seconds: seconds})
}

func halfOfMemory() int64 {
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return 1 << 30
	}
	return int64(system.Totalram) * int64(cmp.Or(system.Unit, 1)) / 2
}
