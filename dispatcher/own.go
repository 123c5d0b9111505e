package dispatcher

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/apidocs"
	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/edge"
)

const (
	serviceName  = "Slipway Dispatcher"
	checkTimeout = 3 * time.Second
)

// edgeStatus is what a host of workers can say of itself. edge.Host does.
type edgeStatus interface {
	Status() edge.Status
}

// ownRoutes are the paths of the dispatcher's own hosts. Tenant paths never
// come here: a router cleans and decodes what a tenant should see as it was sent.
func (d *Dispatcher) ownRoutes() (http.Handler, error) {
	document := d.openAPI()
	if d.opts.Auth != nil {
		var err error
		if document, err = auth.Describe().AddTo(document); err != nil {
			return nil, err
		}
	}
	docs, err := apidocs.New(document)
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.RedirectTrailingSlash = false
	router.UseRawPath = true // a path has one spelling
	router.HandleMethodNotAllowed = true
	readable := func(path string, handler gin.HandlerFunc) {
		router.GET(path, handler)
		router.HEAD(path, handler)
		router.OPTIONS(path, func(c *gin.Context) {
			c.Header("Allow", "GET, HEAD, OPTIONS")
			c.Status(http.StatusNoContent)
		})
	}
	readable("/health", d.health)
	readable("/health/detailed", d.detailedHealth)
	for _, path := range []string{"/dispatch", "/dispatch/", "/api/dispatch", "/api/dispatch/"} {
		readable(path, d.namespace)
	}
	readable("/openapi.json", gin.WrapF(docs.Document))
	readable("/docs", gin.WrapF(docs.Page))
	if docs.HasScript() {
		readable("/docs/scalar.js", gin.WrapF(docs.Script))
	}
	if d.opts.Auth != nil {
		router.Any("/api/auth/*path", gin.WrapH(d.opts.Auth))
	} else {
		router.Any("/api/auth/*path", func(c *gin.Context) {
			d.failOwn(c, http.StatusNotFound, "Not found", "The paths below /api/auth are kept for signing in, which this dispatcher does not have.")
		})
	}
	router.NoRoute(func(c *gin.Context) {
		d.failOwn(c, http.StatusNotFound, "Not found", "The dispatcher has /health, /health/detailed, /dispatch, /docs and /openapi.json here; sites answer at <worker>"+d.hosts.suffix+".")
	})
	router.NoMethod(func(c *gin.Context) {
		d.failOwn(c, http.StatusMethodNotAllowed, "Method not allowed", "")
	})
	return router, nil
}

// healthBody is the answer of /health and /health/detailed.
type healthBody struct {
	Status      string                    `json:"status"`
	Timestamp   string                    `json:"timestamp"`
	Service     string                    `json:"service"`
	Version     string                    `json:"version"`
	Environment string                    `json:"environment"`
	Checks      map[string]map[string]any `json:"checks,omitempty"`
}

// health says that this process answers. It asks nothing else, because a
// dispatcher goes on serving while its database is away.
func (d *Dispatcher) health(c *gin.Context) {
	c.JSON(http.StatusOK, d.healthBody("healthy", nil))
}

// detailedHealth says how the dependencies are. Anybody may ask, so those who do
// at once share one look at them.
func (d *Dispatcher) detailedHealth(c *gin.Context) {
	found, _, _ := d.looks.Do("", func() (any, error) { return d.look(), nil })
	body := found.(healthBody)
	code := http.StatusOK
	if body.Status != "healthy" {
		code = http.StatusServiceUnavailable
	}
	c.JSON(code, body)
}

// look asks the dependencies. The check of the database keeps the name
// hyperdrive, by which monitors know it.
func (d *Dispatcher) look() healthBody {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	status := "healthy"
	ask := func(dependency Pinger) string {
		if err := dependency.Ping(ctx); err != nil {
			d.opts.Log.WithError(err).Warn("a dependency does not answer its health check")
			status = "unhealthy"
			return "unavailable"
		}
		return "available"
	}
	checks := map[string]map[string]any{
		"dispatcher": {"status": "available", "namespace": d.opts.Namespace},
	}
	if d.opts.Database != nil {
		pool := "active"
		state := ask(d.opts.Database)
		if state != "available" {
			pool = "inactive"
		}
		checks["hyperdrive"] = map[string]any{"status": state, "connection_pool": pool}
	}
	if d.opts.Storage != nil {
		checks["storage"] = map[string]any{"status": ask(d.opts.Storage)}
	}
	if host, ok := d.opts.Workers.(edgeStatus); ok {
		// Sums only: whose workers run is nobody's business here.
		s := host.Status()
		checks["edge"] = map[string]any{
			"status": "available", "workers": len(s.Workers), "max_workers": s.MaxWorkers, "memory_bytes": s.MemoryBytes, "memory_limit_bytes": s.MemoryLimit,
			"starts": s.Counts.Starts, "crashes": s.Counts.Crashes, "exceeded_cpu": s.Counts.CPU, "exceeded_memory": s.Counts.Memory,
		}
	}
	return d.healthBody(status, checks)
}

func (d *Dispatcher) healthBody(status string, checks map[string]map[string]any) healthBody {
	return healthBody{status, timestamp(), serviceName, d.opts.Version, d.opts.Environment, checks}
}

// namespace answers GET /dispatch without a worker.
func (d *Dispatcher) namespace(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{
		"service":   serviceName,
		"namespace": d.opts.Namespace,
		"status":    "available",
		"timestamp": timestamp(),
		"requestId": c.Writer.Header().Get("X-Request-Id"),
	})
}

func (d *Dispatcher) failOwn(c *gin.Context, status int, text, detail string) {
	x := exchange{w: c.Writer, r: c.Request, requestID: c.Writer.Header().Get("X-Request-Id")}
	d.fail(&x, failure{status: status, text: text, detail: detail})
}
