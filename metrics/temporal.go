package metrics

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
)

// temporalLabels are the tags of the SDK that become labels, in order. Its
// namespace and its client's name are the same for a whole process.
var temporalLabels = [...]string{
	"activity_type", "cause", "failure_reason", "operation", "poller_type", "status_code", "task_queue", "worker_type", "workflow_type",
}

// temporalBuckets are those of the SDK's timers, in seconds: from an answer of a
// server on this machine to a long poll and a build.
var temporalBuckets = []float64{.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// maxTemporalSeries bounds what is kept whatever the SDK comes up with: some
// hundred series are usual.
const maxTemporalSeries = 5000

// Temporal is what the Temporal SDK measures, named as in
// https://docs.temporal.io/references/sdk-metrics with _total behind counters and
// _seconds behind timers. It is a client.MetricsHandler and a
// prometheus.Collector, and safe for concurrent use.
//
// A task queue that is not among those given shows as "other": sessions and
// sticky executions have queues of their own, named after a process.
type Temporal struct {
	tagged
	queues []string

	mu     sync.RWMutex
	series map[temporalSeries]prometheus.Metric
}

// temporalSeries is a metric with the values of temporalLabels, "" for none.
type temporalSeries struct {
	name   string
	labels [len(temporalLabels)]string
}

// NewTemporal makes the metrics of a client whose task queues are these.
func NewTemporal(queues ...string) *Temporal {
	t := &Temporal{queues: queues, series: map[temporalSeries]prometheus.Metric{}}
	t.tagged.temporal = t
	return t
}

// Describe tells nothing, which lets Collect bring what there is: the SDK does
// not say beforehand which metrics it has, nor always with the same tags.
func (t *Temporal) Describe(chan<- *prometheus.Desc) {}

// Collect is prometheus.Collector.
func (t *Temporal) Collect(out chan<- prometheus.Metric) {
	t.mu.RLock()
	all := make([]prometheus.Metric, 0, len(t.series))
	for _, metric := range t.series {
		all = append(all, metric)
	}
	t.mu.RUnlock()
	for _, metric := range all {
		out <- metric
	}
}

// find gives the series, making it when it is new. The SDK asks with every call
// it makes.
func find[M prometheus.Metric](t *Temporal, series temporalSeries, create func(prometheus.Opts) M) M {
	t.mu.RLock()
	known, ok := t.series[series].(M)
	t.mu.RUnlock()
	if ok {
		return known
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.series[series].(M); ok {
		return known
	}
	metric := create(prometheus.Opts{
		Name: series.name, Help: "A metric of the Temporal SDK: https://docs.temporal.io/references/sdk-metrics.", ConstLabels: series.values(),
	})
	if len(t.series) < maxTemporalSeries {
		t.series[series] = metric
	}
	return metric
}

func (s temporalSeries) values() prometheus.Labels {
	labels := prometheus.Labels{}
	for i, value := range s.labels {
		if value != "" {
			labels[temporalLabels[i]] = value
		}
	}
	return labels
}

// tagged is a client.MetricsHandler with tags.
type tagged struct {
	temporal *Temporal
	labels   [len(temporalLabels)]string
}

// WithTags is client.MetricsHandler.
func (h tagged) WithTags(tags map[string]string) client.MetricsHandler {
	for name, value := range tags {
		i, known := slices.BinarySearch(temporalLabels[:], name)
		switch {
		case !known:
			continue
		case value == "none": // the SDK's word for what does not apply
			value = ""
		case name == "task_queue" && !slices.Contains(h.temporal.queues, value):
			value = "other"
		}
		h.labels[i] = value
	}
	return h
}

// Counter is client.MetricsHandler.
func (h tagged) Counter(name string) client.MetricsCounter {
	// One of the SDK's has the suffix already.
	name = strings.TrimSuffix(name, "_total") + "_total"
	return temporalCounter{find(h.temporal, temporalSeries{name, h.labels}, func(o prometheus.Opts) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(o))
	})}
}

// Gauge is client.MetricsHandler.
func (h tagged) Gauge(name string) client.MetricsGauge {
	return temporalGauge{find(h.temporal, temporalSeries{name, h.labels}, func(o prometheus.Opts) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts(o))
	})}
}

// Timer is client.MetricsHandler.
func (h tagged) Timer(name string) client.MetricsTimer {
	return temporalTimer{find(h.temporal, temporalSeries{name + "_seconds", h.labels}, func(o prometheus.Opts) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: o.Name, Help: o.Help, ConstLabels: o.ConstLabels, Buckets: temporalBuckets})
	})}
}

type temporalCounter struct{ prometheus.Counter }

// Inc is client.MetricsCounter.
func (c temporalCounter) Inc(n int64) { c.Add(float64(max(0, n))) }

type temporalGauge struct{ prometheus.Gauge }

// Update is client.MetricsGauge.
func (g temporalGauge) Update(value float64) { g.Set(value) }

type temporalTimer struct{ prometheus.Histogram }

// Record is client.MetricsTimer.
func (t temporalTimer) Record(took time.Duration) { t.Observe(took.Seconds()) }
