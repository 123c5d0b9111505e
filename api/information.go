package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/sdk/client"

	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/models"
)

const serviceName = "Slipway Deploy"

// healthTimeout bounds all checks together.
const healthTimeout = 2 * time.Second

// CheckResult is what one dependency's check came to.
type CheckResult string

// The two results.
const (
	Healthy   CheckResult = "healthy"
	Unhealthy CheckResult = "unhealthy"
)

// Checks are the dependencies the gateway cannot work without.
type Checks struct {
	Database CheckResult `json:"database" enum:"healthy,unhealthy" doc:"PostgreSQL answers"`
	Queue    CheckResult `json:"queue" enum:"healthy,unhealthy" doc:"Temporal answers"`
	Storage  CheckResult `json:"storage" enum:"healthy,unhealthy" doc:"The blob store can be written and read"`
}

// Health is the answer of GET /health.
type Health struct {
	Status    CheckResult `json:"status" enum:"healthy,unhealthy" doc:"healthy when every check is"`
	Timestamp time.Time   `json:"timestamp" doc:"When it was checked"`
	Service   string      `json:"service" doc:"Name of the service" example:"Slipway Deploy"`
	Version   string      `json:"version" doc:"Version of the service" example:"1.0.0"`
	Uptime    int64       `json:"uptime" doc:"Milliseconds since the service started"`
	Checks    Checks      `json:"checks"`
}

type healthOutput struct {
	Status int
	Body   Health
}

// Service is the answer of GET /.
type Service struct {
	Message      string    `json:"message" doc:"What this is" example:"Slipway deployment API"`
	Service      string    `json:"service" doc:"Name of the service" example:"Slipway Deploy"`
	Version      string    `json:"version" doc:"Version of the service" example:"1.0.0"`
	Status       string    `json:"status" doc:"running" example:"running"`
	Timestamp    time.Time `json:"timestamp" doc:"Current time"`
	Architecture string    `json:"architecture" doc:"How it is built" example:"durable workflow"`
	Description  string    `json:"description" doc:"What it does" example:"Puts a project's files live in six durable steps."`
	Environment  string    `json:"environment,omitempty" doc:"Name of the environment" example:"production"`
	Endpoints    []string  `json:"endpoints" nullable:"false" doc:"Every route, as METHOD path"`
}

type serviceOutput struct{ Body Service }

type noInput struct{}

func (s *Server) registerInformation() {
	register(s, route{
		id: "service", method: http.MethodGet, path: "/", tag: "Service",
		summary: "What this service is",
	}, s.service)
	health := &huma.Response{Description: "A dependency does not work", Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Health"}},
	}}
	register(s, route{
		id: "health", method: http.MethodGet, path: "/health", tag: "Service",
		summary:     "Whether the service works",
		description: "Really asks PostgreSQL, Temporal and the blob store, for at most two seconds. A 503 has the same body as a 200.",
		responses:   map[string]*huma.Response{"503": health},
	}, s.health)
}

func (s *Server) service(context.Context, *noInput) (*serviceOutput, error) {
	return &serviceOutput{Service{
		Message: "Slipway deployment API", Service: serviceName, Version: s.opts.Version, Status: "running", Timestamp: now(),
		Architecture: "durable workflow", Environment: s.opts.Environment, Endpoints: s.endpoints(),
		Description: "Puts a project's files live in six durable steps: validate, sync, sandbox, build, deploy, cleanup.",
	}}, nil
}

func (s *Server) endpoints() []string {
	var list []string
	if s.opts.Auth != nil {
		list = auth.Describe().Routes()
	}
	for _, r := range s.engine.Routes() {
		if !strings.HasPrefix(r.Path, auth.Prefix) {
			list = append(list, r.Method+" "+bracePath(r.Path))
		}
	}
	slices.Sort(list)
	return list
}

// bracePath writes Gin's :id as {id}, as the OpenAPI document does.
func bracePath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}

// health answers requests that come at the same time with one round of checks,
// so that it cannot be used to load what it asks.
func (s *Server) health(context.Context, *noInput) (*healthOutput, error) {
	result, _, _ := s.flights.Do("health", func() (any, error) { return s.check(), nil })
	checks := result.(Checks)
	out := &healthOutput{Status: http.StatusOK, Body: Health{
		Status: Healthy, Timestamp: now(), Service: serviceName, Version: s.opts.Version,
		Uptime: time.Since(s.started).Milliseconds(), Checks: checks,
	}}
	if checks != (Checks{Healthy, Healthy, Healthy}) {
		out.Status = http.StatusServiceUnavailable
		out.Body.Status = Unhealthy
	}
	return out, nil
}

func (s *Server) check() Checks {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	database := s.probe(ctx, "database", s.opts.Store.Ping)
	storage := s.probe(ctx, "storage", s.opts.Blobs.Ping)
	queue := s.probe(ctx, "queue", func(ctx context.Context) error {
		_, err := s.opts.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err
	})
	return Checks{Database: <-database, Queue: <-queue, Storage: <-storage}
}

// probe gives its result when ctx ends at the latest, also when ping does not
// heed ctx.
func (s *Server) probe(ctx context.Context, name string, ping func(context.Context) error) <-chan CheckResult {
	pinged := make(chan error, 1)
	go func() { pinged <- ping(ctx) }()
	result := make(chan CheckResult, 1)
	go func() {
		var err error
		select {
		case err = <-pinged:
		case <-ctx.Done():
			err = models.Wrap(models.CodeInternal, ctx.Err(), "no answer in time")
		}
		if err != nil {
			s.log.WithError(err).WithField("check", name).Warn("health check failed")
			result <- Unhealthy
			return
		}
		result <- Healthy
	}()
	return result
}
