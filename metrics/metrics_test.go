package metrics_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/metrics"
)

func TestRegistry_takesWhatIsStartedAgain(t *testing.T) {
	r := metrics.New("1.2.3")
	first := promauto.With(r).NewCounterVec(prometheus.CounterOpts{Name: "x_total", Help: "X."}, []string{"a"})
	first.WithLabelValues("1").Add(5)
	second := promauto.With(r).NewCounterVec(prometheus.CounterOpts{Name: "x_total", Help: "X."}, []string{"a"})
	second.WithLabelValues("1").Inc()
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader("# HELP x_total X.\n# TYPE x_total counter\nx_total{a=\"1\"} 1\n"), "x_total"))
	require.Error(t, r.Register(prometheus.NewCounter(prometheus.CounterOpts{Name: "x_total", Help: "Y."})), "another metric of that name is a mistake")
}

func TestRegistry_hasWhatEveryProcessHas(t *testing.T) {
	r := metrics.New("1.2.3")
	for _, name := range []string{"slipway_build_info", "go_goroutines", "process_resident_memory_bytes", "process_open_fds"} {
		n, err := testutil.GatherAndCount(r, name)
		require.NoError(t, err)
		require.Equal(t, 1, n, name)
	}
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestTemporal_isNamedAsInItsReference(t *testing.T) {
	m := metrics.NewTemporal("deployment-queue")
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	worker := m.WithTags(map[string]string{"namespace": "default", "client_name": "temporal_go", "worker_type": "ActivityWorker", "task_queue": "deployment-queue", "workflow_type": "none"})
	for range 2 {
		worker.WithTags(map[string]string{"activity_type": "build"}).Timer("temporal_activity_execution_latency").Record(1500 * time.Millisecond)
	}
	worker.Gauge("temporal_worker_task_slots_available").Update(7)
	m.WithTags(map[string]string{"operation": "StartWorkflowExecution"}).Counter("temporal_request").Inc(3)
	m.WithTags(map[string]string{"task_queue": "6b1c@host"}).Counter("temporal_request").Inc(1)
	m.Counter("temporal_local_activity_total").Inc(1)
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP temporal_request_total A metric of the Temporal SDK: https://docs.temporal.io/references/sdk-metrics.
# TYPE temporal_request_total counter
temporal_request_total{operation="StartWorkflowExecution"} 3
temporal_request_total{task_queue="other"} 1
# HELP temporal_local_activity_total A metric of the Temporal SDK: https://docs.temporal.io/references/sdk-metrics.
# TYPE temporal_local_activity_total counter
temporal_local_activity_total 1
# HELP temporal_worker_task_slots_available A metric of the Temporal SDK: https://docs.temporal.io/references/sdk-metrics.
# TYPE temporal_worker_task_slots_available gauge
temporal_worker_task_slots_available{task_queue="deployment-queue",worker_type="ActivityWorker"} 7
`), "temporal_request_total", "temporal_local_activity_total", "temporal_worker_task_slots_available"))
	families, err := r.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "temporal_activity_execution_latency_seconds" {
			require.Equal(t, uint64(2), family.GetMetric()[0].GetHistogram().GetSampleCount())
			require.InDelta(t, 3, family.GetMetric()[0].GetHistogram().GetSampleSum(), 0.001)
			return
		}
	}
	require.Fail(t, "there is no timer")
}

// A name that leads to this machine for once (DNS rebinding) makes a page of
// another site one of this.
func TestHandler_showsProfilesUnderNoName(t *testing.T) {
	log := logrus.New()
	log.SetOutput(t.Output())
	handler := metrics.Handler(metrics.New("1.2.3"), log)
	status := func(host, path string) int {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Host = host
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer.Code
	}
	for _, host := range []string{"evil.example:9464", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "2130706433", ""} {
		require.Equal(t, http.StatusForbidden, status(host, "/debug/pprof/"), host)
		require.Equal(t, http.StatusForbidden, status(host, "/debug/pprof/cmdline"), host)
		require.Equal(t, http.StatusOK, status(host, "/metrics"), "Prometheus may know it by a name")
	}
	for _, host := range []string{"127.0.0.1:9464", "127.0.0.1", "[::1]:9464", "[::1]", "localhost:9464", "localhost", "10.0.0.7:9464"} {
		require.Equal(t, http.StatusOK, status(host, "/debug/pprof/cmdline"), host)
	}
}

func TestServe_answersUntilItIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	log := logrus.New()
	log.SetOutput(t.Output())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- metrics.Serve(ctx, listener, metrics.Handler(metrics.New("1.2.3"), log)) }()
	for path, text := range map[string]string{"/metrics": `slipway_build_info{go=`, "/debug/pprof/": "goroutine", "/": "/metrics"} {
		answer, err := http.Get("http://" + listener.Addr().String() + path)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, 200, answer.StatusCode)
		require.Contains(t, string(body), text)
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String()+"/debug/pprof/profile", nil)
	require.NoError(t, err)
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	refused, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	require.Equal(t, http.StatusForbidden, refused.StatusCode, "no page has profiles made")
	stop()
	require.NoError(t, <-ended)
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "nobody listens any more")
}
