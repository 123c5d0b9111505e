package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

func TestObserve_countsRequestsByOperationAndRefusalsByWhatTheyAreFor(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	g := newGateway(t, func(o *api.Options) {
		o.Metrics = registry
		o.Rates.Status = ratelimit.Limit{Count: 1, Period: time.Hour}
	})
	require.Equal(t, 200, g.do("GET", "/projects", nil).status)
	require.Equal(t, 404, g.do("GET", "/projects/"+models.NewID(models.PrefixProject), nil).status)
	require.Equal(t, 404, g.do("GET", "/no/such/"+strings.Repeat("x", 100), nil).status)
	require.NoError(t, g.store.SetQuotas(t.Context(), g.owner.OrganizationID, models.QuotaChange{Deployments: new(int64(0))}))
	require.Equal(t, 403, g.do("POST", "/deploy", g.deployBody(nil)).status)
	for _, status := range []int{404, 429} {
		require.Equal(t, status, g.do("GET", "/deploy-status?id="+models.NewID(models.PrefixDeployment), nil).status)
	}
	for series, want := range map[string]float64{
		`slipway_api_requests_total{operation=list-projects,status=200}`: 1,
		`slipway_api_requests_total{operation=get-project,status=404}`:   1,
		`slipway_api_requests_total{operation=none,status=404}`:          1,
		`slipway_api_requests_total{operation=deploy,status=403}`:        1,
		`slipway_api_errors_total{code=QUOTA_EXCEEDED}`:                  1,
		`slipway_api_errors_total{code=PROJECT_NOT_FOUND}`:               1,
		`slipway_quota_refusals_total{resource=deployments}`:             1,
		`slipway_quota_refusals_total{resource=domains}`:                 0,
		`slipway_rate_refusals_total{}`:                                  1,
	} {
		require.Equal(t, want, seriesOf(t, registry)[series], series)
	}
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// seriesOf gives the values of counters and gauges by name and labels.
func seriesOf(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			values[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return values
}

func TestObserve_goesOnWithTheCallersTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	g := newGateway(t, func(o *api.Options) {
		o.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("")
	})
	const callers = "0af7651916cd43dd8448eb211c80319c"
	answer := g.do("GET", "/projects", nil, header{"traceparent": "00-" + callers + "-b7ad6b7169203331-01"})
	require.Equal(t, http.StatusOK, answer.status)
	require.Eventually(t, func() bool { return len(spans.Ended()) == 1 }, patience, time.Millisecond)
	span := spans.Ended()[0]
	require.Equal(t, "GET list-projects", span.Name())
	require.Equal(t, callers, span.SpanContext().TraceID().String())
	require.Equal(t, "b7ad6b7169203331", span.Parent().SpanID().String())
	g.do("GET", "/projects", nil, header{"traceparent": "00-zz", "tracestate": strings.Repeat("x", 5000)})
	require.Eventually(t, func() bool { return len(spans.Ended()) == 2 }, patience, time.Millisecond)
	require.False(t, spans.Ended()[1].Parent().IsValid(), "what is no trace context is left")
}
