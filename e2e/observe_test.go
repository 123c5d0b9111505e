package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/tracing/tracingtest"
)

// TestObserve follows one deployment of a worker, and a visitor's request to it,
// through metrics and traces.
func TestObserve(t *testing.T) {
	receiver := tracingtest.NewReceiver(t)
	s := boot(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+receiver.URL, "SLIPWAY_TRACE_RATIO=1", "OTEL_BSP_SCHEDULE_DELAY=200")
	s.ships("worker-plain")
	require.Equal(t, http.StatusOK, s.ask("worker-plain", http.MethodGet, "/", "").StatusCode)
	require.Equal(t, http.StatusNotFound, s.ask("nobody", http.MethodGet, "/", "").StatusCode)
	status, _ := s.call(http.MethodGet, "/projects/prj_unknown", nil, nil)
	require.GreaterOrEqual(t, status, 400)

	t.Run("metrics have every family that is promised", func(t *testing.T) {
		counts := [][3]string{
			{"slipway_deployments_total", "outcome", "succeeded"},
			{"slipway_step_duration_seconds", "step", "build"},
			{"slipway_queue_wait_seconds", "queue", "deployments"},
			{"slipway_queue_wait_seconds", "queue", "builds"},
			{"slipway_build_duration_seconds", "result", "ok"},
			{"slipway_dispatcher_requests_total", "class", "worker"},
			{"slipway_dispatcher_requests_total", "class", "unknown"},
			{"slipway_worker_start_duration_seconds", "result", "ok"},
			{"slipway_api_requests_total", "operation", "deploy"},
			{"slipway_database_up", "", ""},
		}
		families := s.scrape()
		lacking := func() (all []string) {
			for _, name := range promised(t) {
				if families[name] == nil {
					all = append(all, name)
				}
			}
			for _, c := range counts {
				if value(families[c[0]], c[1], c[2]) < 1 {
					all = append(all, fmt.Sprint(c))
				}
			}
			return all
		}
		// What ends is counted a moment after its end can be seen.
		for until := time.Now().Add(patience); len(lacking()) > 0 && time.Now().Before(until); families = s.scrape() {
			time.Sleep(50 * time.Millisecond)
		}
		require.Empty(t, lacking())
		for _, family := range families {
			requireBounded(t, s, family)
		}
		require.Equal(t, 1.0, value(families["slipway_database_up"], "", ""))
	})

	t.Run("one trace has the request, its workflow, its steps and their SQL", func(t *testing.T) {
		services := map[string]string{
			"POST deploy": "slipway-api", "StartWorkflow:Deployment": "slipway-api", "RunWorkflow:Deployment": "slipway-worker",
			"RunActivity:validate": "slipway-worker", "RunActivity:sync": "slipway-worker", "RunActivity:sandbox": "slipway-worker",
			"RunActivity:build": "slipway-worker", "RunActivity:deploy": "slipway-worker", "RunActivity:cleanup": "slipway-worker",
		}
		trace := s.awaitTrace(receiver, "POST deploy", slices.Collect(maps.Keys(services))...)
		for name, service := range services {
			require.Equal(t, service, find(t, trace, name).Service, name)
		}
		for _, parent := range []string{"POST deploy", "RunActivity:validate", "RunActivity:deploy"} {
			require.True(t, asksSQL(trace, find(t, trace, parent).ID), "%s has no statement below it", parent)
		}
		for _, span := range trace {
			require.NotContains(t, strings.Join(values(span.Attributes), " "), s.Token)
		}
		require.Equal(t, 1, roots(trace), "every span but the first has its parent in the trace")
	})

	t.Run("a visitor's request is traced into the worker", func(t *testing.T) {
		trace := s.awaitTrace(receiver, "worker request", "open worker", "ask worker")
		root := find(t, trace, "worker request")
		require.Equal(t, "slipway-dispatcher", root.Service)
		for _, name := range []string{"open worker", "ask worker"} {
			require.Equal(t, root.ID, find(t, trace, name).Parent)
		}
	})
}

// scrape reads /metrics, whose address is in the log.
func (s *system) scrape() map[string]*dto.MetricFamily {
	s.t.Helper()
	said, err := os.ReadFile(filepath.Join(s.dir, "logs", "slipway.log"))
	require.NoError(s.t, err)
	addr := regexp.MustCompile(`metrics listen".* addr="([^"]+)"`).FindSubmatch(said)
	require.NotNil(s.t, addr, "the log does not say where metrics are")
	answer, err := http.Get("http://" + string(addr[1]) + "/metrics")
	require.NoError(s.t, err)
	defer answer.Body.Close()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	text, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	require.NoError(s.t, err)
	require.Empty(s.t, problems)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(s.t, err)
	return families
}

// promised are the metrics that the dashboard shows, but for those that appear
// with what they count: failures, certificates, Temporal's refusals.
func promised(t *testing.T) (names []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository(), "docs", "operations", "grafana-dashboard.json"))
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(data, &dashboard))
	later := []string{
		"slipway_step_failures_total", "slipway_certificates", "slipway_certificate_expiry_timestamp_seconds", "temporal_request_failure_total",
	}
	pattern := regexp.MustCompile(`\b(?:slipway|temporal|go|process)_[a-z0-9_]+`)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			for _, name := range pattern.FindAllString(target.Expr, -1) {
				name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
				if !slices.Contains(later, name) {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// requireBounded fails for labels that name a tenant's things, and for a metric
// with more series than there can be of its labels.
func requireBounded(t *testing.T, s *system, family *dto.MetricFamily) {
	t.Helper()
	require.Less(t, len(family.GetMetric()), 200, family.GetName())
	for _, metric := range family.GetMetric() {
		for _, label := range metric.GetLabel() {
			for _, unbounded := range []string{s.OrgID, s.UserID, "prj_", "dep_", "rel_", "worker-plain", "localhost"} {
				require.NotContains(t, label.GetValue(), unbounded, "%s{%s}", family.GetName(), label.GetName())
			}
		}
	}
}

// value is the sum of a family's series with that label; of histograms, of their
// counts.
func value(family *dto.MetricFamily, label, is string) (sum float64) {
	for _, metric := range family.GetMetric() {
		wanted := label == ""
		for _, pair := range metric.GetLabel() {
			wanted = wanted || pair.GetName() == label && pair.GetValue() == is
		}
		if wanted {
			sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// traceOf gives the spans of the trace that has one of that name.
func traceOf(spans []tracingtest.Span, name string) (trace []tracingtest.Span) {
	id := ""
	for _, span := range spans {
		if span.Name == name {
			id = span.TraceID
		}
	}
	for _, span := range spans {
		if span.TraceID == id {
			trace = append(trace, span)
		}
	}
	return trace
}

// awaitTrace is traceOf once it has all of these, and is whole: each process sends
// what it has in its own time, and a span only when it has ended, after those below it.
func (s *system) awaitTrace(receiver *tracingtest.Receiver, name string, names ...string) (trace []tracingtest.Span) {
	s.t.Helper()
	s.wait(patience, "the trace of "+name, func() bool {
		trace = traceOf(receiver.Spans(), name)
		lacks := func(name string) bool { return !has(trace, name) }
		return !slices.ContainsFunc(names, lacks) && roots(trace) == 1
	})
	return trace
}

// roots counts the spans whose parent is not in the trace.
func roots(trace []tracingtest.Span) (n int) {
	ids := map[string]bool{}
	for _, span := range trace {
		ids[span.ID] = true
	}
	for _, span := range trace {
		if !ids[span.Parent] {
			n++
		}
	}
	return n
}

func has(trace []tracingtest.Span, name string) bool {
	return slices.ContainsFunc(trace, func(span tracingtest.Span) bool { return span.Name == name })
}

func find(t *testing.T, trace []tracingtest.Span, name string) tracingtest.Span {
	t.Helper()
	for _, span := range trace {
		if span.Name == name {
			return span
		}
	}
	require.Fail(t, "no such span", "%s", name)
	return tracingtest.Span{}
}

// asksSQL says whether a statement is directly below a span.
func asksSQL(trace []tracingtest.Span, parent string) bool {
	return slices.ContainsFunc(trace, func(span tracingtest.Span) bool {
		return span.Parent == parent && span.Attributes["db.query.text"] != ""
	})
}

func values(attributes map[string]string) (all []string) {
	for _, value := range attributes {
		all = append(all, value)
	}
	return all
}
