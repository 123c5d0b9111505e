// Package config turns the environment into one typed struct, in one place.
// Every variable of the two documents that Slipway implements is declared here:
// used, or accepted and documented as not needed.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
)

// Config is every setting of every role. A role reads the parts it needs.
type Config struct {
	Environment string `env:"ENVIRONMENT" envDefault:"development"`
	LogLevel    string `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat   string `env:"LOG_FORMAT" envDefault:"text"` // text or json

	// DataDir holds everything `slipway dev` keeps, and a role's local state.
	DataDir string `env:"SLIPWAY_DATA_DIR" envDefault:".slipway"`
	// SecretKey seals variables, secrets and private keys in the database. Empty
	// takes the file secret.key of DataDir, which is made when missing.
	SecretKey string `env:"SLIPWAY_SECRET_KEY"`

	Postgres Postgres
	Temporal Temporal
	S3       S3
	API      API
	Dispatch Dispatch
	TLS      TLS
	Domains  Domains
	Edge     Edge
	Deploy   Deploy
	Collect  Collect
	Sandbox  Sandbox
	Dev      Dev
	Auth     Auth
	Mail     Mail
	Quotas   Quotas
	Rates    Rates
	Webhooks Webhooks
	Observe  Observe

	NotNeeded NotNeeded
}

// Postgres says where the database is. `slipway dev` sets it itself when empty.
type Postgres struct {
	URL string `env:"POSTGRES_URL"`
	// DirectURL bypasses a pooler, for LISTEN and session locks; empty: URL.
	DirectURL string `env:"POSTGRES_DIRECT_URL"`
	MaxConns  int    `env:"POSTGRES_MAX_CONNS" envDefault:"20"`
}

// Temporal says where the cluster is and which task queues are used.
type Temporal struct {
	Address   string `env:"TEMPORAL_ADDRESS" envDefault:"127.0.0.1:7233"`
	Namespace string `env:"TEMPORAL_NAMESPACE" envDefault:"default"`
	// Queue is the task queue of workflows and of every step but sandbox and build.
	Queue string `env:"DEPLOYMENT_QUEUE_NAME" envDefault:"deployment-queue"`
}

// BuildQueue is the task queue of the hosts that build.
func (t Temporal) BuildQueue() string { return t.Queue + "-builds" }

// S3 selects an S3-compatible blob store when Endpoint is set; otherwise blobs
// live in a folder of DataDir.
type S3 struct {
	Endpoint  string `env:"S3_ENDPOINT"`
	Region    string `env:"S3_REGION" envDefault:"us-east-1"`
	Bucket    string `env:"S3_BUCKET" envDefault:"slipway"`
	AccessKey string `env:"S3_ACCESS_KEY_ID"`
	SecretKey string `env:"S3_SECRET_ACCESS_KEY"`
	UseSSL    bool   `env:"S3_USE_SSL" envDefault:"true"`
	PathStyle bool   `env:"S3_PATH_STYLE" envDefault:"true"`
	Prefix    string `env:"S3_PREFIX"`
}

// API holds the gateway's settings. Sizes are in bytes.
type API struct {
	Addr         string   `env:"SLIPWAY_API_ADDR" envDefault:"127.0.0.1:3008"`
	MaxBody      int64    `env:"SLIPWAY_MAX_BODY_BYTES" envDefault:"26214400"`
	MaxFiles     int      `env:"SLIPWAY_MAX_FILES" envDefault:"5000"`
	MaxFile      int64    `env:"SLIPWAY_MAX_FILE_BYTES" envDefault:"5242880"`
	MaxPath      int      `env:"SLIPWAY_MAX_PATH_BYTES" envDefault:"255"`
	AllowOrigins []string `env:"SLIPWAY_CORS_ORIGINS"`
	// ClientConnections is what one client address may have open; 0 is no bound.
	ClientConnections int `env:"SLIPWAY_MAX_CLIENT_CONNECTIONS" envDefault:"1024"`
}

// Dispatch holds the dispatcher's settings.
type Dispatch struct {
	Addr   string `env:"SLIPWAY_DISPATCHER_ADDR" envDefault:"127.0.0.1:3005"`
	Domain string `env:"DISPATCH_DOMAIN" envDefault:"localhost"`
	// Scheme and Port make the URLs that are shown for a worker name.
	Scheme    string   `env:"DISPATCH_URL_SCHEME" envDefault:"http"`
	Port      int      `env:"DISPATCH_URL_PORT" envDefault:"0"`
	OwnHosts  []string `env:"DISPATCH_OWN_HOSTS"`
	Namespace string   `env:"DISPATCH_NAMESPACE_NAME" envDefault:"slipway-dispatcher"`
	// Reserved replaces the list of worker names nobody may take.
	Reserved []string `env:"DISPATCH_RESERVED_NAMES"`
	// CacheBytes bounds the memory that holds files.
	CacheBytes int64 `env:"DISPATCH_CACHE_BYTES" envDefault:"268435456"`
	// MaxHeader and MaxBody bound a request, ClientConnections what one client
	// address may have open, 0 for no bound. Sizes are in bytes.
	MaxHeader         int   `env:"DISPATCH_MAX_HEADER_BYTES" envDefault:"32768"`
	MaxBody           int64 `env:"DISPATCH_MAX_BODY_BYTES" envDefault:"104857600"`
	ClientConnections int   `env:"DISPATCH_MAX_CLIENT_CONNECTIONS" envDefault:"2048"`
	// AccessLog is which requests are logged: all, errors or off.
	AccessLog string `env:"DISPATCH_ACCESS_LOG" envDefault:"errors"`
}

// TLS holds the settings of HTTPS on the dispatcher, which is off while Addr is
// empty.
type TLS struct {
	// Addr is where the dispatcher answers HTTPS, e.g. ":443".
	Addr string `env:"DISPATCH_TLS_ADDR"`
	// CertFile and KeyFile hold a certificate for the domain and *.domain, in
	// PEM; read again when they change. Without them it is got by DNS-01.
	CertFile string `env:"DISPATCH_TLS_CERT_FILE"`
	KeyFile  string `env:"DISPATCH_TLS_KEY_FILE"`
	// Redirect sends plain HTTP to HTTPS.
	Redirect bool `env:"DISPATCH_HTTPS_REDIRECT" envDefault:"true"`
	// HSTS is the Strict-Transport-Security header to send, "" for none.
	HSTS string `env:"DISPATCH_HSTS"`
	// Directory is the ACME server's; CAFile a certificate it is trusted by
	// besides the system's.
	Directory string `env:"ACME_DIRECTORY" envDefault:"https://acme-v02.api.letsencrypt.org/directory"`
	Email     string `env:"ACME_EMAIL"`
	CAFile    string `env:"ACME_CA_FILE"`
	// DNS01Server takes RFC 2136 updates ("host:port") for the wildcard
	// certificate's challenge; the key signs them (RFC 8945).
	DNS01Server    string `env:"ACME_DNS01_SERVER"`
	DNS01Zone      string `env:"ACME_DNS01_ZONE"`
	DNS01KeyName   string `env:"ACME_DNS01_KEY_NAME"`
	DNS01KeySecret string `env:"ACME_DNS01_KEY_SECRET"`
}

// Domains holds the settings of custom domains.
type Domains struct {
	// CNAMETarget is what people point their domains at; empty means
	// dispatcher.<DISPATCH_DOMAIN>.
	CNAMETarget string `env:"DOMAIN_CNAME_TARGET"`
	// Resolver is the DNS server to ask, "host:port"; empty: the system's.
	Resolver string `env:"DOMAIN_RESOLVER"`
	// VerifyTimeout is how long a domain may stay unverified.
	VerifyTimeout time.Duration `env:"DOMAIN_VERIFY_TIMEOUT" envDefault:"72h"`
	// CheckEvery is how often an active domain is looked at again; 0 is never.
	CheckEvery time.Duration `env:"DOMAIN_CHECK_EVERY" envDefault:"24h"`
	// Patience is how long an active domain may point elsewhere before it fails.
	Patience time.Duration `env:"DOMAIN_PATIENCE" envDefault:"72h"`
}

// Edge holds what bounds running workers. Sizes are in bytes.
type Edge struct {
	// Runtime is the OCI runtime that workers run under.
	Runtime string `env:"EDGE_OCI_RUNTIME" envDefault:"runc"`
	// IdleTimeout stops a worker without requests.
	IdleTimeout time.Duration `env:"EDGE_IDLE_TIMEOUT" envDefault:"5m"`
	// MaxWorkers and MemoryBytes bound what runs at once on this machine; the
	// least recently used is stopped first. 0 is half of the machine's memory.
	MaxWorkers  int   `env:"EDGE_MAX_WORKERS" envDefault:"500"`
	MemoryBytes int64 `env:"EDGE_MEMORY_BYTES" envDefault:"0"`
	// OrganizationShare is the part of both that one organization may take.
	OrganizationShare float64 `env:"EDGE_ORGANIZATION_SHARE" envDefault:"0.5"`
	// The limits of one worker.
	WorkerHeapBytes   int64         `env:"EDGE_WORKER_HEAP_BYTES" envDefault:"134217728"`
	WorkerMemoryBytes int64         `env:"EDGE_WORKER_MEMORY_BYTES" envDefault:"268435456"`
	WorkerCPUs        float64       `env:"EDGE_WORKER_CPUS" envDefault:"1"`
	WorkerRequests    int           `env:"EDGE_WORKER_REQUESTS" envDefault:"1000"`
	RequestTimeout    time.Duration `env:"EDGE_REQUEST_TIMEOUT" envDefault:"100s"`
	// CPUTimeout is how long a worker may compute without answering anything.
	CPUTimeout   time.Duration `env:"EDGE_CPU_TIMEOUT" envDefault:"1200ms"`
	StartTimeout time.Duration `env:"EDGE_START_TIMEOUT" envDefault:"10s"`
	DrainTimeout time.Duration `env:"EDGE_DRAIN_TIMEOUT" envDefault:"30s"`
	// AllowPrivate lists address ranges that workers may reach although they are
	// private.
	AllowPrivate []netip.Prefix `env:"EDGE_ALLOW_PRIVATE"`
	// Refuse lists address ranges that workers may not reach although they are
	// public: those of this installation that no interface of the machine shows.
	Refuse []netip.Prefix `env:"EDGE_REFUSE"`
	// LogLines is how many lines of a release's log are kept.
	LogLines int `env:"EDGE_LOG_LINES" envDefault:"2000"`
}

// Deploy holds what bounds deployments.
type Deploy struct {
	// MaxTimeoutMS is the time a deployment may spend working, in milliseconds:
	// neither queued nor parked.
	MaxTimeoutMS int64 `env:"MAX_DEPLOYMENT_TIMEOUT" envDefault:"600000"`
	// MaxConcurrent is how many builds one host runs at once.
	MaxConcurrent int `env:"MAX_CONCURRENT_DEPLOYMENTS" envDefault:"5"`
	// ParkTimeout is how long a dead letter waits for an operator.
	ParkTimeout time.Duration `env:"SLIPWAY_PARK_TIMEOUT" envDefault:"168h"`
	// ReconcileEvery is how often rows and workflows are compared.
	ReconcileEvery time.Duration `env:"SLIPWAY_RECONCILE_EVERY" envDefault:"10s"`
}

// MaxTimeout is MaxTimeoutMS as a duration.
func (d Deploy) MaxTimeout() time.Duration { return time.Duration(d.MaxTimeoutMS) * time.Millisecond }

// Collect says when objects in blob storage that nothing refers to are deleted.
type Collect struct {
	// Every is how often each organization's are looked at; 0 is never.
	Every time.Duration `env:"SLIPWAY_COLLECT_EVERY" envDefault:"24h"`
	// Grace is how long an object has to be unreferred.
	Grace time.Duration `env:"SLIPWAY_COLLECT_GRACE" envDefault:"24h"`
	// DryRun only says, in the log, what would be deleted.
	DryRun bool `env:"SLIPWAY_COLLECT_DRY_RUN" envDefault:"false"`
}

// minCollectGrace is above what any request may take, twice.
const minCollectGrace = time.Hour

// Sandbox holds the settings of builds of untrusted code.
type Sandbox struct {
	Provider string `env:"SANDBOX_BUILDER_DEFAULT_PROVIDER" envDefault:"oci"`
	Runtime  string `env:"SANDBOX_OCI_RUNTIME" envDefault:"runc"`
	// UIDBase is the first host user id of slot 0; each organization has 65,536.
	UIDBase       uint32   `env:"SANDBOX_UID_BASE" envDefault:"1000000000"`
	MemoryBytes   int64    `env:"SANDBOX_MEMORY_BYTES" envDefault:"4294967296"`
	CPUs          float64  `env:"SANDBOX_CPUS" envDefault:"2"`
	PIDs          int64    `env:"SANDBOX_PIDS" envDefault:"1024"`
	DiskBytes     int64    `env:"SANDBOX_DISK_BYTES" envDefault:"2147483648"`
	Registries    []string `env:"SANDBOX_REGISTRIES" envDefault:"registry.npmjs.org:443,registry.yarnpkg.com:443"`
	SnapshotBytes int64    `env:"SANDBOX_SNAPSHOT_BYTES" envDefault:"10737418240"`
	// AllowPrivate lists address ranges that registries may resolve to although
	// they are private, for a mirror inside the operator's own network.
	AllowPrivate []netip.Prefix `env:"SANDBOX_ALLOW_PRIVATE"`
}

// Dev holds the settings of `slipway dev`; a port of 0 takes a free one.
type Dev struct {
	APIPort        int `env:"SLIPWAY_API_PORT" envDefault:"3008"`
	DispatcherPort int `env:"SLIPWAY_DISPATCHER_PORT" envDefault:"3005"`
	TemporalPort   int `env:"SLIPWAY_TEMPORAL_PORT" envDefault:"7233"`
	TemporalUIPort int `env:"SLIPWAY_TEMPORAL_UI_PORT" envDefault:"8233"`
	PostgresPort   int `env:"SLIPWAY_POSTGRES_PORT" envDefault:"0"`
	// Worker false leaves the worker out, for running it as a process of its own.
	Worker bool `env:"SLIPWAY_DEV_WORKER" envDefault:"true"`
	// TemporalBinary is the embedded server's program; empty looks beside
	// slipway and on the PATH.
	TemporalBinary string `env:"SLIPWAY_TEMPORAL_BINARY"`
}

// Auth holds the settings of accounts and signing in.
type Auth struct {
	// Secret signs session cookies; empty derives one from SLIPWAY_SECRET_KEY.
	Secret string `env:"BETTER_AUTH_SECRET"`
	// AppURL is where people reach the gateway: links in mails, the callback of
	// GitHub and what counts as same-origin go by it. Empty is the API's address.
	AppURL string `env:"NEXT_PUBLIC_APP_URL"`
	// SignUp says who may make an account: open, invited (a pending invitation
	// names the address) or closed. Empty is open in development, else invited.
	SignUp string `env:"SLIPWAY_SIGN_UP"`
	// SessionTTL is how long a session lives; it is renewed while it is used.
	SessionTTL time.Duration `env:"SLIPWAY_SESSION_TTL" envDefault:"168h"`
	// Signing in with GitHub, or a GitHub Enterprise server, is on when both are set.
	GitHubClientID     string `env:"BETTER_GITHUB_CLIENT_ID"`
	GitHubClientSecret string `env:"BETTER_GITHUB_CLIENT_SECRET"`
	GitHubURL          string `env:"SLIPWAY_GITHUB_URL" envDefault:"https://github.com"`
	GitHubAPIURL       string `env:"SLIPWAY_GITHUB_API_URL" envDefault:"https://api.github.com"`
	// Turnstile is asked at sign-up and sign-in when its secret is set.
	TurnstileSecret  string `env:"TURNSTILE_SECRET_KEY"`
	TurnstileSiteKey string `env:"TURNSTILE_SITE_KEY"`
	TurnstileURL     string `env:"TURNSTILE_VERIFY_URL" envDefault:"https://challenges.cloudflare.com/turnstile/v0/siteverify"`
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `env:"SLIPWAY_TRUSTED_PROXIES"`
}

// Mail says how mail is sent: through Resend when its key is set, else SMTP when
// a server is, else into files of the data folder and the log.
type Mail struct {
	From         string `env:"RESEND_FROM" envDefault:"Slipway <slipway@localhost>"`
	ResendKey    string `env:"RESEND_API_KEY"`
	ResendURL    string `env:"RESEND_API_URL" envDefault:"https://api.resend.com"`
	SMTPAddr     string `env:"SMTP_ADDR"` // host:port
	SMTPUser     string `env:"SMTP_USERNAME"`
	SMTPPassword string `env:"SMTP_PASSWORD"`
	// SMTPTLS is starttls (required), tls (from the first byte) or none.
	SMTPTLS string `env:"SMTP_TLS" envDefault:"starttls"`
}

// Quotas are what a new organization may use, the first two in a month.
type Quotas struct {
	Deployments  int64 `env:"SLIPWAY_QUOTA_DEPLOYMENTS" envDefault:"1000"`
	BuildMinutes int64 `env:"SLIPWAY_QUOTA_BUILD_MINUTES" envDefault:"3000"`
	Projects     int64 `env:"SLIPWAY_QUOTA_PROJECTS" envDefault:"500"`
	Domains      int64 `env:"SLIPWAY_QUOTA_DOMAINS" envDefault:"500"`
	StorageBytes int64 `env:"SLIPWAY_QUOTA_STORAGE_BYTES" envDefault:"53687091200"`
}

// Rates bound requests per minute; 0 is no bound.
type Rates struct {
	// Token and Address are of the API: by token or session, and by address.
	Token   int `env:"SLIPWAY_RATE_TOKEN" envDefault:"1200"`
	Address int `env:"SLIPWAY_RATE_ADDRESS" envDefault:"3000"`
	// Deploy is of POST /deploy, by organization.
	Deploy int `env:"SLIPWAY_RATE_DEPLOY" envDefault:"300"`
	// Status is of GET /deploy-status, by address.
	Status int `env:"SLIPWAY_RATE_STATUS" envDefault:"600"`
	// SignInAccount and SignInAddress are of attempts to sign in.
	SignInAccount int `env:"SLIPWAY_RATE_SIGN_IN_ACCOUNT" envDefault:"10"`
	SignInAddress int `env:"SLIPWAY_RATE_SIGN_IN_ADDRESS" envDefault:"60"`
}

// Webhooks holds the settings of outgoing notifications.
type Webhooks struct {
	Timeout time.Duration `env:"SLIPWAY_WEBHOOK_TIMEOUT" envDefault:"15s"`
	// AllowPrivate lists address ranges that webhooks may reach although they are
	// private.
	AllowPrivate []netip.Prefix `env:"SLIPWAY_WEBHOOK_ALLOW_PRIVATE"`
}

// Observe says where metrics are read and where traces go.
type Observe struct {
	// MetricsAddr serves /metrics; empty serves none. Keep it private.
	MetricsAddr string `env:"SLIPWAY_METRICS_ADDR" envDefault:"127.0.0.1:9464"`
	// OTLPEndpoint takes traces (OTLP over HTTP); empty sends none.
	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// TraceRatio is the part of requests that are traced from here on; a caller's
	// own decision is kept.
	TraceRatio float64 `env:"SLIPWAY_TRACE_RATIO" envDefault:"0.01"`
}

// NotNeeded are variables that the documents name and this release does not
// use. They are accepted, so that an environment made for the documents works.
type NotNeeded struct {
	// DLQName named Cloudflare's dead letter queue. Dead letters are parked
	// workflows here; GET /dead-letters lists them.
	DLQName string `env:"DEPLOYMENT_DLQ_NAME"`
	// DatabaseID named a D1 database. POSTGRES_URL says where rows live.
	DatabaseID string `env:"DATABASE_ID"`
	// The keys of hosted sandboxes and of Cloudflare become used with those providers.
	DaytonaKey        string `env:"DAYTONA_API_KEY"`
	E2BKey            string `env:"E2B_API_KEY"`
	CloudflareAccount string `env:"CLOUDFLARE_ACCOUNT_ID"`
	CloudflareToken   string `env:"CLOUDFLARE_API_TOKEN"`
	CloudflareZone    string `env:"CLOUDFLARE_ZONE_ID"`
	// Nothing is billed: quotas are numbers of an organization's row.
	StripeSecret  string `env:"STRIPE_SECRET_KEY"`
	StripeWebhook string `env:"STRIPE_WEBHOOK_SECRET"`
}

// Load reads the process's environment and checks it; the error lists every
// variable that is wrong and says what it should be.
func Load() (Config, error) {
	return Parse(env.ToMap(os.Environ()))
}

// Parse reads the environment given.
func Parse(environment map[string]string) (Config, error) {
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: environment}); err != nil {
		var several env.AggregateError
		if errors.As(err, &several) {
			lines := make([]string, len(several.Errors))
			for i, e := range several.Errors {
				lines[i] = e.Error()
			}
			return c, models.Errorf(models.CodeValidation, "The environment has settings that cannot be read: %s", strings.Join(lines, "; "))
		}
		return c, models.Errorf(models.CodeValidation, "The environment cannot be read: %s", err)
	}
	return c, c.check()
}

func (c Config) check() error {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if _, err := logrus.ParseLevel(c.LogLevel); err != nil {
		bad("LOG_LEVEL must be one of debug, info, warn, error (it is %q)", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("LOG_FORMAT must be text or json (it is %q)", c.LogFormat)
	}
	if c.Deploy.MaxTimeoutMS < 1000 {
		bad("MAX_DEPLOYMENT_TIMEOUT is in milliseconds and must be at least 1000 (it is %d)", c.Deploy.MaxTimeoutMS)
	}
	if c.Deploy.MaxConcurrent < 1 {
		bad("MAX_CONCURRENT_DEPLOYMENTS must be at least 1 (it is %d)", c.Deploy.MaxConcurrent)
	}
	switch c.Sandbox.Provider {
	case "oci":
	case "daytona", "e2b":
		bad("SANDBOX_BUILDER_DEFAULT_PROVIDER %q is not in this release; use oci", c.Sandbox.Provider)
	default:
		bad("SANDBOX_BUILDER_DEFAULT_PROVIDER must be oci (it is %q)", c.Sandbox.Provider)
	}
	if c.Sandbox.UIDBase < 65536 {
		bad("SANDBOX_UID_BASE must be 65536 or more, away from the machine's own users (it is %d)", c.Sandbox.UIDBase)
	}
	if c.Sandbox.MemoryBytes < 64<<20 {
		bad("SANDBOX_MEMORY_BYTES must be at least 67108864 (it is %d)", c.Sandbox.MemoryBytes)
	}
	if c.Edge.MaxWorkers < 1 || c.Edge.WorkerRequests < 1 || c.Edge.WorkerCPUs < 0.05 || c.Edge.LogLines < 1 {
		bad("EDGE_MAX_WORKERS, EDGE_WORKER_REQUESTS, EDGE_LOG_LINES must be at least 1 and EDGE_WORKER_CPUS at least 0.05")
	}
	if !(c.Edge.OrganizationShare > 0 && c.Edge.OrganizationShare <= 1) {
		bad("EDGE_ORGANIZATION_SHARE must be above 0 and at most 1 (it is %v)", c.Edge.OrganizationShare)
	}
	if c.Edge.WorkerHeapBytes < 16<<20 || c.Edge.WorkerMemoryBytes < c.Edge.WorkerHeapBytes+(32<<20) {
		bad("EDGE_WORKER_HEAP_BYTES must be at least 16777216, and EDGE_WORKER_MEMORY_BYTES at least 33554432 more (they are %d and %d)", c.Edge.WorkerHeapBytes, c.Edge.WorkerMemoryBytes)
	}
	if c.Dispatch.AccessLog != "all" && c.Dispatch.AccessLog != "errors" && c.Dispatch.AccessLog != "off" {
		bad("DISPATCH_ACCESS_LOG must be all, errors or off (it is %q)", c.Dispatch.AccessLog)
	}
	if c.Dispatch.MaxHeader < 4096 || c.Dispatch.MaxBody < 1 || c.Dispatch.ClientConnections < 0 {
		bad("DISPATCH_MAX_HEADER_BYTES must be at least 4096, DISPATCH_MAX_BODY_BYTES positive and DISPATCH_MAX_CLIENT_CONNECTIONS not negative")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("DISPATCH_TLS_CERT_FILE and DISPATCH_TLS_KEY_FILE belong together: set both or neither")
	}
	if c.API.ClientConnections < 0 {
		bad("SLIPWAY_MAX_CLIENT_CONNECTIONS must not be negative; 0 is no bound (it is %d)", c.API.ClientConnections)
	}
	if c.API.MaxBody < 1024 || c.API.MaxFile < 1 || c.API.MaxFiles < 1 || c.API.MaxPath < 1 {
		bad("SLIPWAY_MAX_BODY_BYTES, SLIPWAY_MAX_FILE_BYTES, SLIPWAY_MAX_FILES and SLIPWAY_MAX_PATH_BYTES must be positive")
	}
	// Half of the grace is what everybody has to refer to an object; a build's output
	// is referred to when the build has ended.
	if least := max(minCollectGrace, 4*c.Deploy.MaxTimeout()); c.Collect.Grace < least {
		bad("SLIPWAY_COLLECT_GRACE must be at least %s, which is an hour and four times MAX_DEPLOYMENT_TIMEOUT (it is %s)", least, c.Collect.Grace)
	}
	if c.Collect.Every < 0 {
		bad("SLIPWAY_COLLECT_EVERY must not be negative (it is %s); 0 turns it off", c.Collect.Every)
	}
	c.checkAccounts(bad)
	if len(wrong) > 0 {
		return models.Errorf(models.CodeValidation, "The environment has settings that cannot be used: %s.", strings.Join(wrong, "; "))
	}
	return nil
}

func (c Config) checkAccounts(bad func(format string, args ...any)) {
	if c.Auth.AppURL != "" {
		if u, err := url.Parse(c.Auth.AppURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			bad("NEXT_PUBLIC_APP_URL must be an address such as https://slipway.example.com, without a path (it is %q)", c.Auth.AppURL)
		}
	}
	if c.Auth.Secret != "" && len(c.Auth.Secret) < 16 {
		bad("BETTER_AUTH_SECRET must have at least 16 characters; make one with `openssl rand -base64 32`")
	}
	switch c.Auth.SignUp {
	case "", SignUpOpen, SignUpInvited, SignUpClosed:
	default:
		bad("SLIPWAY_SIGN_UP must be open, invited or closed (it is %q)", c.Auth.SignUp)
	}
	if (c.Auth.GitHubClientID == "") != (c.Auth.GitHubClientSecret == "") {
		bad("BETTER_GITHUB_CLIENT_ID and BETTER_GITHUB_CLIENT_SECRET belong together: set both or neither")
	}
	if c.Auth.SessionTTL < time.Minute {
		bad("SLIPWAY_SESSION_TTL must be at least 1m (it is %s)", c.Auth.SessionTTL)
	}
	switch c.Mail.SMTPTLS {
	case "starttls", "tls", "none":
	default:
		bad("SMTP_TLS must be starttls, tls or none (it is %q)", c.Mail.SMTPTLS)
	}
	q, r := c.Quotas, c.Rates
	if min(q.Deployments, q.BuildMinutes, q.Projects, q.Domains, q.StorageBytes) < 0 {
		bad("the SLIPWAY_QUOTA_ settings must not be negative")
	}
	if min(r.Token, r.Address, r.Deploy, r.Status, r.SignInAccount, r.SignInAddress) < 0 {
		bad("the SLIPWAY_RATE_ settings must not be negative; 0 is no bound")
	}
	if !(c.Observe.TraceRatio >= 0 && c.Observe.TraceRatio <= 1) {
		bad("SLIPWAY_TRACE_RATIO must be between 0 and 1 (it is %v)", c.Observe.TraceRatio)
	}
	if c.Domains.CheckEvery < 0 || c.Domains.Patience < time.Minute {
		bad("DOMAIN_CHECK_EVERY must not be negative, and DOMAIN_PATIENCE at least 1m (they are %s and %s)", c.Domains.CheckEvery, c.Domains.Patience)
	}
	if c.Webhooks.Timeout < time.Second || c.Webhooks.Timeout > time.Minute {
		bad("SLIPWAY_WEBHOOK_TIMEOUT must be from 1s to 1m (it is %s)", c.Webhooks.Timeout)
	}
}

// Who may make an account: see Auth.SignUp.
const (
	SignUpOpen    = "open"
	SignUpInvited = "invited"
	SignUpClosed  = "closed"
)

// WhoSignsUp is SLIPWAY_SIGN_UP, or what it is when it is not set.
func (c Config) WhoSignsUp() string {
	switch {
	case c.Auth.SignUp != "":
		return c.Auth.SignUp
	case c.Environment == "development":
		return SignUpOpen
	default:
		return SignUpInvited
	}
}

// AppURL is where people reach the gateway, without a slash at the end.
func (c Config) AppURL() string {
	if c.Auth.AppURL != "" {
		return strings.TrimRight(c.Auth.AppURL, "/")
	}
	host, port, err := net.SplitHostPort(c.API.Addr)
	if err != nil {
		return "http://" + c.API.Addr
	}
	if address, err := netip.ParseAddr(host); host == "" || err == nil && (address.IsLoopback() || address.IsUnspecified()) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Origins are the browser origins whose pages may call the gateway and act with
// a session: SLIPWAY_CORS_ORIGINS, else this product's own domain and, in
// development, this machine on every port. Never a tenant's site.
func (c Config) Origins() []string {
	if len(c.API.AllowOrigins) > 0 {
		return c.API.AllowOrigins
	}
	origins := []string{c.AppURL()}
	if c.Dispatch.Domain != "localhost" {
		origins = append(origins, c.Dispatch.ownOrigin())
	}
	if c.Environment == "development" {
		origins = append(origins, "http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*")
	}
	return origins
}

// ownOrigin is the dispatcher's domain itself, below which tenants' sites are.
func (d Dispatch) ownOrigin() string {
	if d.Port == 0 {
		return d.Scheme + "://" + d.Domain
	}
	return fmt.Sprintf("%s://%s:%d", d.Scheme, d.Domain, d.Port)
}

// SiteURL is where a worker name answers.
func (d Dispatch) SiteURL(worker string) string {
	port := ""
	if d.Port != 0 {
		port = fmt.Sprintf(":%d", d.Port)
	}
	return fmt.Sprintf("%s://%s.%s%s/", d.Scheme, worker, d.Domain, port)
}

// CNAME is what people point their custom domains at.
func (c Config) CNAME() string {
	if c.Domains.CNAMETarget != "" {
		return c.Domains.CNAMETarget
	}
	return "dispatcher." + c.Dispatch.Domain
}

// ReservedNames are the worker names nobody may take.
func (d Dispatch) ReservedNames() []string {
	if len(d.Reserved) > 0 {
		return d.Reserved
	}
	return models.ReservedWorkerNames()
}

// Logger makes the one logger of a process.
func (c Config) Logger() *logrus.Logger {
	log := logrus.New()
	level, err := logrus.ParseLevel(c.LogLevel)
	if err != nil {
		level = logrus.InfoLevel
	}
	log.SetLevel(level)
	if c.LogFormat == "json" {
		log.SetFormatter(&logrus.JSONFormatter{})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	}
	return log
}
