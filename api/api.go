// Package api is the HTTP gateway of the platform: it authenticates, checks what
// it is given, stores files as blobs, writes the deployment's row and starts its
// workflow. Everything that takes time happens in the workflow.
//
// Routes are declared with huma, which derives the OpenAPI document and the
// validation from the same Go types, on a Gin engine. Every error of every
// route is an Error; envelope.go is the one place that makes them.
package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/singleflight"

	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/variables"
	"github.com/slipwayhq/slipway/webhook"
)

// Limits bound what a request may bring. A zero field means its default.
type Limits struct {
	// BodyBytes bounds the body of POST /deploy; 25 MiB.
	BodyBytes int64
	// Files bounds the files of one request; 5,000.
	Files int
	// FileBytes bounds one file; 5 MiB.
	FileBytes int64
	// PathBytes bounds the path of a file; 255.
	PathBytes int
	// BodyTimeout bounds the time a body may take to arrive; 5 minutes.
	BodyTimeout time.Duration
	// HeaderTimeout bounds the time a request's head may take to arrive; 10 seconds.
	HeaderTimeout time.Duration
	// AnswerTimeout bounds the time an answer may take once the body is there; 1
	// minute. What is slower than that is hung: the caller gets a 503.
	AnswerTimeout time.Duration
	// DeviceInterval is how often a program may ask whether it was confirmed; 5
	// seconds.
	DeviceInterval time.Duration
	// StartTimeout bounds the attempt to start a workflow while the caller waits; 3
	// seconds. After it the reconciler starts what is not started.
	StartTimeout time.Duration
	// QueryTimeout is how long a worker has to answer a status query before the
	// recorded status is given instead; 1 second.
	QueryTimeout time.Duration
	// ActionTimeout is how long a worker has to take an operator's action; 5 seconds.
	ActionTimeout time.Duration
	// ClientConnections bounds the connections of one client address, an IPv6
	// client's /64 network counting as one, and the requests of one behind a trusted
	// proxy; 1,024. Negative is no bound.
	ClientConnections int
}

func (l Limits) withDefaults() Limits {
	if l.BodyBytes <= 0 {
		l.BodyBytes = 25 << 20
	}
	if l.Files <= 0 {
		l.Files = 5000
	}
	if l.FileBytes <= 0 {
		l.FileBytes = 5 << 20
	}
	if l.PathBytes <= 0 {
		l.PathBytes = models.MaxPathBytes
	}
	if l.BodyTimeout <= 0 {
		l.BodyTimeout = 5 * time.Minute
	}
	if l.HeaderTimeout <= 0 {
		l.HeaderTimeout = 10 * time.Second
	}
	if l.AnswerTimeout <= 0 {
		l.AnswerTimeout = time.Minute
	}
	if l.DeviceInterval <= 0 {
		l.DeviceInterval = 5 * time.Second
	}
	if l.StartTimeout <= 0 {
		l.StartTimeout = 3 * time.Second
	}
	if l.QueryTimeout <= 0 {
		l.QueryTimeout = time.Second
	}
	if l.ActionTimeout <= 0 {
		l.ActionTimeout = 5 * time.Second
	}
	if l.ClientConnections == 0 {
		l.ClientConnections = 1024
	}
	return l
}

// Options are what a Server needs. Store, Blobs, Variables, WebhookVault, Temporal,
// SiteURL and the // functions that start and tell workflows are required.
type Options struct {
	Store *models.Store
	Blobs blob.Store
	// Variables opens and seals the variables of projects.
	Variables *variables.Vault
	// Temporal answers status queries and takes operators' actions.
	Temporal client.Client
	// Start starts the workflow of a deployment whose row is written and returns
	// its run id. Its failure does not fail the request: a reconciler starts
	// what was not started.
	Start func(ctx context.Context, d models.Deployment) (runID string, err error)
	// Log gets one line per request and every failure of the platform; nil is
	// the standard logger.
	Log logrus.FieldLogger
	// Metrics takes what the gateway measures, and Tracer makes the spans of its
	// requests; nil for neither.
	Metrics prometheus.Registerer
	Tracer  trace.Tracer
	// Version and Environment are shown by GET / and GET /health.
	Version     string
	Environment string
	// Sessions knows who is signed in; nil means that only tokens count.
	Sessions Sessions
	// Auth answers below /api/auth/; nil means that nobody signs in here.
	Auth http.Handler
	// Mail sends invitations; nil means that none can be sent.
	Mail Mailer
	// AppURL is where people reach the gateway, without a slash at the end; pages
	// of it may act with a session, besides those of Origins.
	AppURL string
	// Turnstile has the dashboard's forms show Cloudflare's challenge.
	Turnstile bool
	// BuildQueue is the task queue of the hosts that build.
	BuildQueue string
	// ActiveTimeout and ParkTimeout go into each deployment's input.
	ActiveTimeout time.Duration
	ParkTimeout   time.Duration
	// SiteURL is where a worker answers.
	SiteURL func(worker string) string
	// CheckDomain has the workflow of a custom domain look at DNS now, starting it
	// when there is none, and returns its run id.
	CheckDomain func(ctx context.Context, d models.Domain) (runID string, err error)
	// StartRollout starts the workflow of a rollout whose row is written, and
	// returns its run id; CancelRollout has it give the visitors back.
	StartRollout  func(ctx context.Context, r models.Rollout) (runID string, err error)
	CancelRollout func(ctx context.Context, id string) error
	// WebhookVault seals what is secret of webhooks; WebhookRules say which
	// addresses they may have; Deliver has a delivery sent now and returns the run
	// id of its workflow.
	WebhookVault *webhook.Vault
	WebhookRules webhook.Rules
	Deliver      func(ctx context.Context, d models.Delivery) (runID string, err error)
	// CNAMETarget is what people point their domains at.
	CNAMETarget string
	// Domain is the domain workers answer under; it cannot be a custom domain.
	Domain string
	// Reserved are worker names no project may take; nil means
	// models.ReservedWorkerNames.
	Reserved []string
	// Origins are the browser origins allowed to call, besides that of AppURL; nil
	// means auth.LocalOrigins.
	Origins []string
	// Addresses finds clients' addresses; the zero Finder trusts no proxy.
	Addresses clientaddr.Finder
	// Rates bound requests.
	Rates  Rates
	Limits Limits
}

// Server is the gateway. It is an http.Handler and safe for concurrent use.
type Server struct {
	opts    Options
	log     logrus.FieldLogger
	engine  *gin.Engine
	api     huma.API
	started time.Time
	// measures are the metrics of requests.
	measures *measures
	// flights merges status queries for one deployment and health checks.
	flights singleflight.Group
	streams streams
	// changes tells those who watch what changes; watchers counts them.
	changes  *changeHub
	watchers streams
	origins  *auth.Origins
	limiters limiters
	statuses statuses
	// connections counts what each client has open.
	connections *clientaddr.Connections
	// closing is closed when Serve begins to shut down, which ends log streams.
	closing   chan struct{}
	closeOnce sync.Once
}

// New makes a Server; it does not listen yet.
func New(opts Options) (*Server, error) {
	switch {
	case opts.Store == nil, opts.Blobs == nil, opts.Variables == nil, opts.Temporal == nil, opts.Start == nil, opts.CheckDomain == nil,
		opts.StartRollout == nil, opts.CancelRollout == nil, opts.WebhookVault == nil, opts.Deliver == nil, opts.SiteURL == nil:
		return nil, errors.New("api: Store, Blobs, Variables, WebhookVault, Temporal, SiteURL and what starts workflows are required")
	}
	if opts.Log == nil {
		opts.Log = logrus.StandardLogger()
	}
	if opts.Reserved == nil {
		opts.Reserved = models.ReservedWorkerNames()
	}
	opts.Limits = opts.Limits.withDefaults()
	if opts.Sessions == nil {
		opts.Sessions = noSessions{}
	}
	if opts.Mail == nil {
		opts.Mail = noMailer{}
	}
	origins, err := originsOf(opts)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, origins: origins, log: opts.Log, started: time.Now(), closing: make(chan struct{})}
	s.streams = streams{open: map[string]int{}, most: maxStreams, refusal: "The organization follows %d logs, as many as it may at a time."}
	s.watchers = streams{open: map[string]int{}, most: maxEventStreams, refusal: "The organization is watched by %d clients, as many as may at a time."}
	s.changes = newChangeHub(opts.Store, opts.Log)
	s.limiters = newLimiters(opts.Store)
	s.connections = clientaddr.NewConnections(opts.Limits.ClientConnections)
	s.measures = newMeasures(opts.Metrics)
	s.engine = s.newEngine()
	s.api = humagin.New(s.engine, s.config())
	s.api.UseMiddleware(noteOperation, s.refuseBody, s.audit, s.authenticate, s.limitCaller, s.allowBody)
	s.registerInformation()
	s.registerDeploy()
	s.registerStatus()
	s.registerDeployments()
	s.registerActions()
	s.registerAudit()
	s.registerLogs()
	s.registerProjects()
	s.registerProjectSettings()
	s.registerTransfer()
	s.registerReleases()
	s.registerVariables()
	s.registerDomains()
	s.registerWorkerLogs()
	s.registerRollouts()
	s.registerWebhooks()
	s.registerBlobs()
	s.registerEvents()
	s.registerOrganizations()
	s.registerUsage()
	s.registerMembers()
	s.registerInvitations()
	s.registerTokens()
	s.registerDevices()
	if opts.Auth != nil {
		s.engine.Any(auth.Prefix+"*path", gin.WrapH(opts.Auth))
	}
	if err := s.checkPermissions(); err != nil {
		return nil, err
	}
	s.completeDocument()
	if err := s.registerDocs(); err != nil {
		return nil, err
	}
	if err := s.registerDashboard(); err != nil {
		return nil, err
	}
	return s, nil
}

// newEngine is a Gin engine that leaves paths as they are and answers what it
// does not know in the error envelope.
func (s *Server) newEngine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.RedirectTrailingSlash = false
	engine.RedirectFixedPath = false
	engine.HandleMethodNotAllowed = true
	engine.ContextWithFallback = true
	engine.Use(s.requestID, s.observe, s.addresses, s.accessLog, s.recovery, s.headers, s.deadlines, s.cors, s.boundRequests, s.limitAddress)
	engine.NoRoute(func(c *gin.Context) {
		s.writeError(c, models.Errorf(models.CodeNotFound, "There is no such route. GET / lists them."))
	})
	engine.NoMethod(func(c *gin.Context) {
		if allowed := c.Writer.Header().Get("Allow"); strings.Contains(allowed, http.MethodGet) {
			c.Header("Allow", allowed+", "+http.MethodHead)
		}
		s.writeError(c, models.Errorf(models.CodeMethodNotAllowed, "This route does not answer %s.", methodOf(c.Request)))
	})
	return engine
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead && answersHead(r.URL.Path) {
		s.serveHead(w, r)
		return
	}
	s.engine.ServeHTTP(w, r)
}

// Serve answers on l until ctx ends, then lets requests under way finish for up
// to ten seconds. Log streams end at once; their clients resume elsewhere.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.opts.Limits.HeaderTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Bodies and answers have deadlines of their own: see deadlines.
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(&boundedListener{Listener: l, server: s}) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.closeOnce.Do(func() { close(s.closing) })
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close()
	}
	<-done
	return nil
}

// config is huma's, without what it adds to answers ($schema fields, Link
// headers) and without routes of its own: the OpenAPI document and its page are
// served by docs.go.
func (s *Server) config() huma.Config {
	config := huma.DefaultConfig("Slipway", s.opts.Version)
	config.CreateHooks = nil
	config.OpenAPIPath = ""
	config.DocsPath = ""
	config.SchemasPath = ""
	json := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshalJSON}
	config.Formats = map[string]huma.Format{"application/json": json, "json": json}
	config.Info.Description = "Puts a project's files live: one request starts one durable deployment of six steps, validate, sync, sandbox, build, deploy and cleanup.\n\n" +
		"Every error has the shape `Error`; its `error` is a code that does not change. Lists are paged: pass `nextCursor` as `cursor` to get the next page.\n\n" +
		"People sign up, sign in and manage their sessions below `/api/auth/`, which speaks the wire format of the `better-auth` client and answers errors in its `{code, message}`."
	config.Info.Contact = &huma.Contact{Name: "Slipway", URL: "https://github.com/slipwayhq/slipway"}
	config.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearer: {Type: "http", Scheme: "bearer", Description: "An API token, made by `slipway login` or `POST /tokens`. `slipway dev` writes one to `.slipway/credentials.json`."},
		cookie: {Type: "apiKey", In: "cookie", Name: auth.SessionCookie, Description: "A session, made by `POST /api/auth/sign-in/email`. It acts in the organization that the header `X-Slipway-Organization` names, else in the one it acted in last."},
	}
	return config
}
