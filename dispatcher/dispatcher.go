// Package dispatcher answers visitors: it finds the route a host or a path
// means, the release that route points at, and the file of that release that
// answers, and sends it.
//
//	request → target (whose path space is it?) → route → release → file
//
// Routes and manifests are kept in memory. A route is loaded when it is first
// asked for, reloaded when PostgreSQL announces that it changed, and goes on
// being served while PostgreSQL is away.
package dispatcher

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// Routes reads what answers a worker name or a custom host. models.Store is one.
type Routes interface {
	// Route reads the route with a key of models.WorkerRouteKey or
	// models.HostRouteKey. CodeNotFound says that nothing answers there; any
	// other error, that the answer is not known.
	Route(ctx context.Context, key string) (models.Route, error)
}

// Invalidations announce changed routes. models.Store is one.
type Invalidations interface {
	// Listen calls notify with the key of each route that changed, and connected
	// whenever changes may have been missed, the first time included. It returns
	// when the connection ends or ctx does.
	Listen(ctx context.Context, channel string, connected func(), notify func(key string)) error
}

// Blobs reads release content. Every blob.Store is one; one that also has
// blob/fs's Open lets the kernel copy large files.
type Blobs interface {
	GetRange(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error)
}

// fileBlobs is what a store on this machine's disk can do in addition.
type fileBlobs interface {
	Open(ctx context.Context, key blob.Key) (*os.File, error)
}

// Pinger says whether a dependency works.
type Pinger interface {
	Ping(ctx context.Context) error
}

// Options are a dispatcher's settings. Routes, Blobs, Domain and Log are needed.
type Options struct {
	// Domain is what worker names are put before, e.g. "localhost" for
	// <worker>.localhost.
	Domain string
	// OwnHosts are the dispatcher's own host names besides Domain,
	// dispatcher.<Domain>, localhost and IP addresses.
	OwnHosts []string
	// Reserved are the names no worker has; nil means models.ReservedWorkerNames.
	Reserved []string
	// Namespace is what GET /dispatch calls this set of workers.
	Namespace string
	// Version and Environment are shown by /health.
	Version, Environment string

	Routes        Routes
	Invalidations Invalidations
	// Presence, when there is one, is told that this dispatcher serves and which
	// changes of routes it has taken note of.
	Presence Presence
	// Counts, when there is one, is told how the releases of rollouts do.
	Counts Counts
	Blobs  Blobs
	// Workers runs releases with server code; nil where there are none.
	Workers edge.Workers
	// Database and Storage are what /health/detailed asks; nil ones are not checked.
	Database, Storage Pinger
	// Auth answers below /api/auth/ of the own hosts; nil means that nobody signs in
	// here.
	Auth      http.Handler
	Log       logrus.FieldLogger
	AccessLog AccessLog
	// Metrics, when there is one, takes what the dispatcher measures, and Tracer
	// makes spans of requests to workers.
	Metrics prometheus.Registerer
	Tracer  trace.Tracer

	HTTPS  HTTPS
	Limits Limits
	// Addresses knows the proxies whose connections are many people's; the zero
	// Finder knows none. Nothing else is believed of them.
	Addresses clientaddr.Finder
}

// Limits bound what a request may cost. Zero values take the defaults.
type Limits struct {
	// HeaderBytes bounds a request's header; default 32 KiB.
	HeaderBytes int
	// RequestBytes bounds a request's announced body; default 100 MiB.
	RequestBytes int64
	// Routes bounds the routes kept in memory, at about 220 bytes each; default
	// 2,000,000. Beyond it those not used for longest are read again when asked for.
	Routes int
	// CacheBytes bounds the memory for manifests and files; default 256 MiB.
	CacheBytes int64
	// CachedFileBytes bounds a file that is kept in memory; default 1 MiB.
	// Larger ones are streamed from blob storage.
	CachedFileBytes int64
	// HeaderTimeout bounds the time a client takes to send its header; default 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout closes a connection without requests; default 2 min.
	IdleTimeout time.Duration
	// SlowGrace and SlowRate bound the time a client takes to read a large
	// answer: the grace, default 1 min, and the time for its length at this
	// rate, default 16 KiB/s.
	SlowGrace time.Duration
	SlowRate  int64
	// BodyRate bounds, with SlowGrace, the time a client takes to send a body;
	// default 1 KiB/s.
	BodyRate int64
	// AnswerTimeout bounds the time from the end of a request until its worker
	// begins to answer; default 100 s.
	AnswerTimeout time.Duration
	// ClientConnections bounds the connections of one client address, an IPv6
	// client being a /64 network; default 2,048, negative for no bound. Those of
	// trusted proxies are not counted.
	ClientConnections int
}

func (l Limits) withDefaults() Limits {
	if l.HeaderBytes == 0 {
		l.HeaderBytes = 32 << 10
	}
	if l.RequestBytes == 0 {
		l.RequestBytes = 100 << 20
	}
	if l.Routes == 0 {
		l.Routes = 2_000_000
	}
	if l.CacheBytes == 0 {
		l.CacheBytes = 256 << 20
	}
	if l.CachedFileBytes == 0 {
		l.CachedFileBytes = 1 << 20
	}
	if l.HeaderTimeout == 0 {
		l.HeaderTimeout = 10 * time.Second
	}
	if l.IdleTimeout == 0 {
		l.IdleTimeout = 2 * time.Minute
	}
	if l.SlowGrace == 0 {
		l.SlowGrace = time.Minute
	}
	if l.SlowRate == 0 {
		l.SlowRate = 16 << 10
	}
	if l.BodyRate == 0 {
		l.BodyRate = 1 << 10
	}
	if l.AnswerTimeout == 0 {
		l.AnswerTimeout = 100 * time.Second
	}
	if l.ClientConnections == 0 {
		l.ClientConnections = 2048
	}
	return l
}

// Dispatcher is an http.Handler. Its methods are safe for concurrent use.
type Dispatcher struct {
	opts     Options
	hosts    hosts
	routes   *routeTable
	acks     *acks
	counts   *releaseCounts
	releases *releases
	bodies   *bodies
	own      http.Handler
	// looks are those at the dependencies, for /health/detailed.
	looks    singleflight.Group
	access   *accessLog
	measures *measures

	serversMu sync.Mutex
	servers   []*Server
}

// New makes a dispatcher. Options it cannot work with are CodeValidation.
func New(opts Options) (*Dispatcher, error) {
	opts.Domain = strings.ToLower(strings.Trim(opts.Domain, "."))
	switch {
	case opts.Domain == "" || !validHost(opts.Domain):
		return nil, models.Errorf(models.CodeValidation, "DISPATCH_DOMAIN must be a domain such as localhost or example.com, not %q", opts.Domain)
	case opts.Routes == nil || opts.Blobs == nil || opts.Log == nil:
		return nil, models.Errorf(models.CodeValidation, "a dispatcher needs routes, blob storage and a log")
	}
	if opts.Reserved == nil {
		opts.Reserved = models.ReservedWorkerNames()
	}
	opts.Limits = opts.Limits.withDefaults()
	d := &Dispatcher{
		opts:     opts,
		hosts:    newHosts(opts.Domain, opts.OwnHosts, opts.Reserved),
		routes:   newRouteTable(opts.Routes, opts.Limits.Routes, opts.Log),
		counts:   newReleaseCounts(opts.Counts, opts.Log),
		releases: newReleases(opts.Blobs, opts.Limits.CacheBytes/4),
		bodies:   newBodies(opts.Blobs, opts.Limits.CacheBytes-opts.Limits.CacheBytes/4, opts.Limits.CachedFileBytes),
		access:   newAccessLog(opts.AccessLog),
	}
	if opts.Workers != nil {
		d.routes.moved = d.prepare
	}
	if opts.Presence != nil {
		d.acks = newAcks(opts.Presence, d.refresh, opts.Log)
	}
	var err error
	if d.own, err = d.ownRoutes(); err != nil {
		return nil, err
	}
	if d.measures, err = newMeasures(opts.Metrics, d); err != nil {
		return nil, err
	}
	return d, nil
}

// ServeHTTP answers one request.
func (d *Dispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{w: w, r: r, requestID: requestID(r)}
	w.Header()["X-Request-Id"] = []string{x.requestID}
	defer d.ended(&x, time.Now())
	defer d.counts.answered(&x)
	defer d.recovered(&x)
	if d.refused(&x) {
		return
	}
	target := d.hosts.target(r)
	switch target.kind {
	case targetOwn:
		own := &statusWriter{ResponseWriter: w}
		d.own.ServeHTTP(own, r)
		x.status, x.class = own.status, answerOwn
	case targetInvalid:
		x.class = answerUnknown
		d.fail(&x, failure{status: http.StatusBadRequest, text: invalidWorkerName, detail: target.detail})
	default:
		d.serveTarget(&x, target)
	}
}

// exchange is one request being answered.
type exchange struct {
	w         http.ResponseWriter
	r         *http.Request
	requestID string
	// status, worker and releaseID are for the access log.
	status            int
	worker, releaseID string
	// class is for the metrics.
	class answerClass
	// traceID is set when the request is traced.
	traceID string
	// rollout is set when the route has two releases.
	rollout *rollout
}

// refused answers requests that no target should see.
func (d *Dispatcher) refused(x *exchange) bool {
	if x.r.ContentLength != 0 && x.r.ProtoMajor == 1 {
		// Files do not read bodies. The connection ends with the answer: waiting
		// for the body could take as long as a client likes, and one that is
		// chunked may hide a second request from a proxy that went by a
		// Content-Length (RFC 9112 §6.1).
		x.w.Header()["Connection"] = []string{"close"}
	}
	if f := ambiguous(x.r); f != nil {
		d.fail(x, failure{status: f.status, text: f.text, detail: f.detail})
		return true
	}
	switch {
	case x.r.Method == http.MethodConnect:
		d.fail(x, failure{status: http.StatusMethodNotAllowed, text: "Method not allowed"})
	case x.r.ContentLength > d.opts.Limits.RequestBytes:
		d.fail(x, failure{status: http.StatusRequestEntityTooLarge, text: "Request is too large"})
	default:
		return false
	}
	return true
}

// recovered answers for a defect of ours, unless the answer has begun.
func (d *Dispatcher) recovered(x *exchange) {
	switch defect := recover(); {
	case defect == nil:
	case defect == http.ErrAbortHandler || x.status != 0: //nolint:errorlint // what a panic carries is this very value
		panic(defect)
	default:
		d.failInternal(x, fmt.Errorf("panic: %v\n%s", defect, debug.Stack()))
	}
}

func (d *Dispatcher) serveTarget(x *exchange, target target) {
	x.worker = target.name
	if target.ours && strings.HasPrefix(target.path, challengePrefix) {
		// A tenant who answered here could get a certificate of his own for a name
		// that may be another's tomorrow.
		d.fail(x, failure{http.StatusNotFound, "Not found", "Certificates of this domain are the platform's.", target.name})
		return
	}
	x.class = answerStatic
	route, err := d.routes.get(x.r.Context(), target.key)
	if err != nil {
		d.failRoute(x, target, err)
		return
	}
	if route.CanaryPercent > 0 {
		route = d.choose(x, target, route)
	}
	x.worker, x.releaseID = route.WorkerName, route.ReleaseID
	release, err := d.releases.get(x.r.Context(), route)
	if err != nil {
		d.failInternal(x, err)
		return
	}
	if route.WorkerDigest != "" {
		d.serveHybrid(x, target, route, release)
		return
	}
	d.serveStatic(x, target, release)
}
