package dispatcher_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

func TestMetrics_countEveryAnswerByWhoGaveIt(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	w, leased := newHybrid(t, serveUnix(t, reflect), func(o *dispatcher.Options) { o.Metrics = registry })
	w.deploy("files", files{"/index.html": "hello"})
	w.deployWorker("worker", assets.Config{}, files{}, models.WorkerBundle{})
	for range 3 { // by net/http, and then from memory by the guard
		require.Equal(t, 200, w.get("files.localhost", "/").status)
	}
	require.Equal(t, 404, w.get("files.localhost", "/missing").status)
	require.Equal(t, 200, w.get("worker.localhost", "/").status)
	require.Equal(t, 200, w.get("localhost", "/health").status)
	require.Equal(t, 404, w.get("nobody.localhost", "/").status)
	require.Equal(t, 400, w.raw("GET / HTTP/1.1\r\n\r\n", "GET").status)
	leased.setFail(models.Errorf(models.CodeDatabase, "away"))
	require.Equal(t, 503, w.get("worker.localhost", "/").status)
	var counted map[string]float64
	// Each answer is counted when it has been sent, by a goroutine of its own.
	eventually(t, func() bool {
		counted = series(t, registry, "slipway_dispatcher_requests_total")
		sum := 0.0
		for _, n := range counted {
			sum += n
		}
		return sum == 9 && series(t, registry, "slipway_dispatcher_request_duration_seconds")["class=static"] == 4
	})
	for labels, n := range map[string]float64{
		"class=static status=2xx": 3, "class=static status=4xx": 1, "class=worker status=2xx": 1, "class=worker status=5xx": 1,
		"class=own status=2xx": 1, "class=unknown status=4xx": 1, "class=refused status=4xx": 1, "class=error status=5xx": 0,
	} {
		require.Equal(t, n, counted[labels], labels)
	}
	require.Equal(t, 2.0, series(t, registry, "slipway_dispatcher_routes")[""])
	require.Equal(t, 1.0, series(t, registry, "slipway_dispatcher_routes_announced")[""])
	require.Equal(t, 1.0, series(t, registry, "slipway_dispatcher_route_reads_total")["result=none"])
	cache := series(t, registry, "slipway_dispatcher_cache_requests_total")
	require.Equal(t, 1.0, cache["cache=file result=miss"])
	require.GreaterOrEqual(t, cache["cache=file result=hit"], 2.0)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// series gives the values of a metric by its labels; of a histogram, its count.
func series(t *testing.T, from prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			values[strings.Join(labels, " ")] = value
		}
	}
	return values
}

const visitorsTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTrace_goesOnInTheWorkerAndNotFromTheVisitor(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("")
	w, _ := newHybrid(t, serveUnix(t, reflect), func(o *dispatcher.Options) { o.Tracer = tracer })
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	seen := w.get("my-app.localhost", "/a", "traceparent", visitorsTrace, "tracestate", "rojo=1").seen(t)
	eventually(t, func() bool { return len(spans.Ended()) == 3 })
	byName := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range spans.Ended() {
		byName[span.Name()] = span
	}
	request, ask := byName["worker request"], byName["ask worker"]
	require.Equal(t, trace.SpanKindServer, request.SpanKind())
	require.False(t, request.Parent().IsValid(), "a stranger's trace is not gone on with")
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", request.Links()[0].SpanContext.TraceID().String())
	require.Equal(t, request.SpanContext().SpanID(), ask.Parent().SpanID())
	require.Equal(t, http.Header{"Traceparent": {"00-" + request.SpanContext().TraceID().String() + "-" + ask.SpanContext().SpanID().String() + "-01"}},
		http.Header{"Traceparent": seen.Header["Traceparent"]})
	require.NotContains(t, seen.Header, "Tracestate", "it belongs to the visitor's")
}

func TestTrace_notTakenLeavesTheVisitorsOwn(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	never := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample()))).Tracer("")
	for name, tracer := range map[string]trace.Tracer{"off": nil, "not sampled": never} {
		w, _ := newHybrid(t, serveUnix(t, reflect), func(o *dispatcher.Options) { o.Tracer = tracer })
		w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
		seen := w.get("my-app.localhost", "/a", "traceparent", visitorsTrace, "tracestate", "rojo=1").seen(t)
		require.Equal(t, []string{visitorsTrace}, seen.Header["Traceparent"], name)
		require.Equal(t, []string{"rojo=1"}, seen.Header["Tracestate"], name)
		seen = w.get("my-app.localhost", "/a").seen(t)
		require.NotContains(t, seen.Header, "Traceparent", name)
	}
	require.Empty(t, spans.Ended(), "a visitor's mark does not have us trace")
}
