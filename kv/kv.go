// Package kv serves workers' key-value namespaces (Cloudflare Workers KV) from
// PostgreSQL.
//
// workerd's KV binding speaks HTTP to a service. It is told of it with
//
//	(name = "kv-0", external = (address = "unix:…", http = ()))
//	bindings = [(name = "CACHE", kvNamespace = "kv-0")]
//
// and sends, as src/workerd/api/kv.c++ says: GET, PUT and DELETE
// /<key>?urlencoded=true, GET / for list() and POST /bulk/get for get() of
// several keys. What the worker sees of an error is "KV PUT failed: " with the
// status line, so the reason phrase says what is wrong.
package kv

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"

	"github.com/slipwayhq/slipway/models"
)

// Store keeps the entries; see models.Store for what its methods promise.
type Store interface {
	KVGet(ctx context.Context, ns models.KVNamespace, key string, first int) (models.KVEntry, error)
	KVRead(ctx context.Context, ns models.KVNamespace, key string, version, offset int64, length int) ([]byte, error)
	KVGetMany(ctx context.Context, ns models.KVNamespace, keys []string, maxBytes int64) ([]models.KVEntry, error)
	KVPut(ctx context.Context, ns models.KVNamespace, entry models.KVEntry, maxBytes int64) error
	KVDelete(ctx context.Context, ns models.KVNamespace, key string) error
	KVList(ctx context.Context, ns models.KVNamespace, prefix, after string, limit int) ([]models.KVEntry, bool, error)
}

// Options are what a Server is made of. Store is needed.
type Options struct {
	Store Store
	// MaxBytes is what the entries of one organization may take. Default 1 GiB.
	MaxBytes int64
	// MaxQueries and MaxQueriesPerOrganization bound the database queries at a
	// time, so that workers leave connections to the rest of the process and to
	// each other. Default 10 and 4.
	MaxQueries, MaxQueriesPerOrganization int
	// MaxMemory bounds the memory for large values, of more than 128 KiB, under way
	// at a time; one organization gets a quarter of it. At least 200 MiB. Default
	// 256 MiB.
	MaxMemory int64
	// WaitTimeout is how long a request waits for its turn. Default 10 s.
	WaitTimeout time.Duration
	// TransferTimeout bounds the time a value takes from or to the worker.
	// Default 2 min.
	TransferTimeout time.Duration
	Log             logrus.FieldLogger
}

// Server answers workers' KV bindings. Safe for concurrent use.
type Server struct {
	options Options
	queries chan struct{}
	memory  *semaphore.Weighted

	mu            sync.Mutex
	organizations map[string]*organization
}

// organization is what the namespaces of an organization share.
type organization struct {
	queries chan struct{}
	memory  *semaphore.Weighted

	logged sync.Mutex
	// next is when the next failure may be logged, silent how many were not.
	next   time.Time
	silent int
}

// logs says whether a failure is to be logged, at most one a second: while the
// database is away a worker decides how many there are. notLogged were not before.
func (o *organization) logs(now time.Time) (yes bool, notLogged int) {
	o.logged.Lock()
	defer o.logged.Unlock()
	if now.Before(o.next) {
		o.silent++
		return false, 0
	}
	notLogged = o.silent
	o.next, o.silent = now.Add(time.Second), 0
	return true, notLogged
}

// valueMemory is what one value of the greatest size takes: itself, and its copy
// in the message to PostgreSQL.
const valueMemory = 2 * models.KVMaxValue

// New makes a server.
func New(options Options) *Server {
	if options.MaxBytes <= 0 {
		options.MaxBytes = 1 << 30
	}
	if options.MaxQueries <= 0 {
		options.MaxQueries = 10
	}
	if options.MaxQueriesPerOrganization <= 0 {
		options.MaxQueriesPerOrganization = 4
	}
	if options.MaxMemory <= 0 {
		options.MaxMemory = 256 << 20
	}
	options.MaxMemory = max(options.MaxMemory, 4*valueMemory)
	if options.WaitTimeout <= 0 {
		options.WaitTimeout = 10 * time.Second
	}
	if options.TransferTimeout <= 0 {
		options.TransferTimeout = 2 * time.Minute
	}
	if options.Log == nil {
		options.Log = logrus.StandardLogger()
	}
	return &Server{
		options: options, queries: make(chan struct{}, options.MaxQueries),
		memory: semaphore.NewWeighted(options.MaxMemory), organizations: map[string]*organization{},
	}
}

// Handler answers the requests of one namespace's binding. It is safe for
// concurrent use and may be made any number of times.
func (s *Server) Handler(organizationID, namespace string) http.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.organizations[organizationID]
	if o == nil {
		o = &organization{
			queries: make(chan struct{}, s.options.MaxQueriesPerOrganization),
			memory:  semaphore.NewWeighted(s.options.MaxMemory / 4),
		}
		s.organizations[organizationID] = o
	}
	return &binding{server: s, organization: o, namespace: models.KVNamespace{OrganizationID: organizationID, Name: namespace}}
}

// query runs fn when it is its turn.
func (s *Server) query(ctx context.Context, o *organization, fn func(context.Context) error) error {
	wait, cancel := context.WithTimeout(ctx, s.options.WaitTimeout)
	defer cancel()
	// The organization's own turn first: those who wait for it hold no place that
	// others need.
	for _, slots := range []chan struct{}{o.queries, s.queries} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-wait.Done():
			return busy(ctx)
		}
	}
	ctx, cancel = context.WithTimeout(ctx, s.options.WaitTimeout)
	defer cancel()
	return fn(ctx)
}

// reserve waits for memory for large values and gives the way to give it back.
func (s *Server) reserve(ctx context.Context, o *organization, bytes int64) (release func(), err error) {
	wait, cancel := context.WithTimeout(ctx, s.options.WaitTimeout)
	defer cancel()
	if o.memory.Acquire(wait, bytes) != nil {
		return nil, busy(ctx)
	}
	if s.memory.Acquire(wait, bytes) != nil {
		o.memory.Release(bytes)
		return nil, busy(ctx)
	}
	return func() {
		s.memory.Release(bytes)
		o.memory.Release(bytes)
	}, nil
}

// busy is what to say when the wait was too long, unless nobody waits any more.
func busy(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &refusal{http.StatusTooManyRequests, "too many KV operations are under way, try again"}
}
