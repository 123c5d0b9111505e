package edge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/slipwayhq/slipway/models"
)

var (
	runningDesc     = prometheus.NewDesc("slipway_workers_running", "Workers whose processes run on this machine.", nil, nil)
	runningMaxDesc  = prometheus.NewDesc("slipway_workers_max", "Workers that may run at once on this machine.", nil, nil)
	memoryDesc      = prometheus.NewDesc("slipway_workers_memory_bytes", "Memory that workers held when last looked at.", nil, nil)
	memoryMaxDesc   = prometheus.NewDesc("slipway_workers_memory_max_bytes", "Memory that workers may hold.", nil, nil)
	activeDesc      = prometheus.NewDesc("slipway_workers_active_requests", "Requests that workers are answering.", nil, nil)
	crashesDesc     = prometheus.NewDesc("slipway_worker_crashes_total", "Workers that ended by themselves or for what they did, by reason: memory, or other.", []string{"reason"}, nil)
	exceededCPUDesc = prometheus.NewDesc("slipway_worker_cpu_exceeded_total", "Workers that were ended because they computed without answering.", nil, nil)
	stoppedDesc     = prometheus.NewDesc("slipway_worker_stops_total", "Workers that were stopped in order, by reason: idle, or room for others.", []string{"reason"}, nil)
)

// measures shows a host's Status, and how long workers take to start.
type measures struct {
	host   *Host
	starts *prometheus.HistogramVec
}

func newMeasures(registerer prometheus.Registerer, h *Host) (*measures, error) {
	m := &measures{host: h, starts: promauto.With(registerer).NewHistogramVec(prometheus.HistogramOpts{
		Name:    "slipway_worker_start_duration_seconds",
		Help:    "Time from the request that asks for a worker until it listens, by result: ok, user (its own failure) or platform.",
		Buckets: []float64{.025, .05, .1, .15, .2, .3, .5, .75, 1, 2.5, 5, 10},
	}, []string{"result"})}
	m.starts.WithLabelValues("ok")
	if registerer == nil {
		return m, nil
	}
	return m, registerer.Register(m)
}

func (m *measures) started(took time.Duration, err error) {
	result := "ok"
	switch {
	case err == nil:
	case models.CodeOf(err).Class() == models.ClassUser:
		result = string(models.ClassUser)
	default:
		result = string(models.ClassPlatform)
	}
	m.starts.WithLabelValues(result).Observe(took.Seconds())
}

// Describe is prometheus.Collector.
func (m *measures) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{runningDesc, runningMaxDesc, memoryDesc, memoryMaxDesc, activeDesc, crashesDesc, exceededCPUDesc, stoppedDesc} {
		out <- desc
	}
}

// Collect is prometheus.Collector.
func (m *measures) Collect(out chan<- prometheus.Metric) {
	status := m.host.Status()
	active := int64(0)
	for _, w := range status.Workers {
		active += w.Active
	}
	gauge := func(desc *prometheus.Desc, value int64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value))
	}
	counter := func(desc *prometheus.Desc, value int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(runningDesc, int64(len(status.Workers)))
	gauge(runningMaxDesc, int64(status.MaxWorkers))
	gauge(memoryDesc, status.MemoryBytes)
	gauge(memoryMaxDesc, status.MemoryLimit)
	gauge(activeDesc, active)
	counter(crashesDesc, status.Counts.Memory, "memory")
	counter(crashesDesc, max(0, status.Counts.Crashes-status.Counts.Memory), "other")
	counter(exceededCPUDesc, status.Counts.CPU)
	counter(stoppedDesc, status.Counts.Idle, "idle")
	counter(stoppedDesc, status.Counts.MadeRoom, "room")
}
