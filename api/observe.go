package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipwayhq/slipway/models"
)

// operationField is where observe finds which operation a request was for.
const operationField = "operation"

// measures are the metrics of requests.
type measures struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	quotas   *prometheus.CounterVec
	rates    prometheus.Counter
}

func newMeasures(registerer prometheus.Registerer) *measures {
	with := promauto.With(registerer)
	m := &measures{
		requests: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_api_requests_total",
			Help: "Requests answered by the gateway, by operation (its id in the OpenAPI document, else the route; none for no route) and status.",
		}, []string{"operation", "status"}),
		seconds: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "slipway_api_request_duration_seconds", Help: "Time to the end of an answer of the gateway. Streams take as long as they are followed.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"operation"}),
		errors: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_api_errors_total", Help: "Errors the gateway answered with, by code.",
		}, []string{"code"}),
		quotas: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_quota_refusals_total", Help: "Requests refused because a quota is used up, by resource.",
		}, []string{"resource"}),
		rates: with.NewCounter(prometheus.CounterOpts{
			Name: "slipway_rate_refusals_total", Help: "Requests refused because there were too many.",
		}),
	}
	for _, resource := range []models.Resource{models.ResourceDeployments, models.ResourceBuildMinutes, models.ResourceProjects, models.ResourceDomains, models.ResourceStorage} {
		m.quotas.WithLabelValues(string(resource))
	}
	return m
}

// failed counts an error that is answered.
func (m *measures) failed(answer *Error) {
	m.errors.WithLabelValues(string(answer.Code)).Inc()
	if answer.Code != models.CodeQuotaExceeded {
		return
	}
	resource := models.Resource("other")
	if details, ok := answer.Details.(map[string]any); ok {
		if named, ok := details["resource"].(models.Resource); ok {
			resource = named
		}
	}
	m.quotas.WithLabelValues(string(resource)).Inc()
}

// noteOperation tells observe which operation it is.
func noteOperation(ctx huma.Context, next func(huma.Context)) {
	humagin.Unwrap(ctx).Set(operationField, ctx.Operation().OperationID)
	next(ctx)
}

// observe measures a request and, when there are traces, begins its span, which
// goes on with the caller's trace.
func (s *Server) observe(c *gin.Context) {
	began := time.Now()
	var span trace.Span
	if s.opts.Tracer != nil {
		ctx := propagation.TraceContext{}.Extract(c.Request.Context(), propagation.HeaderCarrier(c.Request.Header))
		ctx, span = s.opts.Tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
		c.Request = c.Request.WithContext(ctx)
	}
	defer func() {
		operation := operationOf(c)
		status := c.Writer.Status()
		s.measures.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
		s.measures.seconds.WithLabelValues(operation).Observe(time.Since(began).Seconds())
		if status == http.StatusTooManyRequests {
			s.measures.rates.Inc()
		}
		if span != nil {
			endSpan(span, c, operation, status)
		}
	}()
	c.Next()
}

// operationOf is a name of which there are as many as routes.
func operationOf(c *gin.Context) string {
	if id := c.GetString(operationField); id != "" {
		return id
	}
	if route := c.FullPath(); route != "" {
		return route
	}
	return "none"
}

// endSpan names a span after its operation and says how it went, in the words of
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
func endSpan(span trace.Span, c *gin.Context, operation string, status int) {
	if operation != "none" { // else the method may be anything
		span.SetName(methodOf(c.Request) + " " + operation)
	}
	span.SetAttributes(
		attribute.String("http.request.method", methodOf(c.Request)), attribute.String("http.route", c.FullPath()),
		attribute.Int("http.response.status_code", status), attribute.String("slipway.operation", operation),
		attribute.String("slipway.request_id", c.Writer.Header().Get(requestIDHeader)),
	)
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, http.StatusText(status))
	}
	span.End()
}
