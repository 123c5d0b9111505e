package dispatcher

import (
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// answerClass is who answered a request.
type answerClass uint8

const (
	// answerRefused: what came is no request that anything should see.
	answerRefused answerClass = iota
	// answerStatic: a file of a release.
	answerStatic
	// answerWorker: a release's worker, or its place when it could not.
	answerWorker
	// answerOwn: the dispatcher's own paths.
	answerOwn
	// answerUnknown: nothing is deployed there.
	answerUnknown
	// answerError: we could not.
	answerError
	answerClasses
)

var answerClassNames = [answerClasses]string{"refused", "static", "worker", "own", "unknown", "error"}

// statusClasses are those of a status code's first digit; 0 is an answer that
// broke off before it began.
const statusClasses = 6

var statusClassNames = [statusClasses]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// answerBounds are the buckets of the time an answer took, in ascending order.
// Files from memory fall into the first.
var answerBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// measures counts answers. Counting is three additions on memory that few
// processors share, because a file from memory takes some microseconds
// altogether; a scrape adds up.
type measures struct {
	shards []measureShard
	d      *Dispatcher
}

// measureShard has room behind it, so that counting in one shard does not slow the
// next: they share no line of a processor's cache.
type measureShard struct {
	answers [answerClasses][statusClasses]atomic.Int64
	times   [answerClasses][len(answerBounds) + 1]atomic.Int64
	nanos   [answerClasses]atomic.Int64
	_       [64]byte
}

// newMeasures registers what d measures; without a registerer, nothing is counted.
func newMeasures(registerer prometheus.Registerer, d *Dispatcher) (*measures, error) {
	if registerer == nil {
		return nil, nil
	}
	shards := 1
	for shards < runtime.GOMAXPROCS(0) {
		shards *= 2
	}
	m := &measures{shards: make([]measureShard, shards), d: d}
	return m, registerer.Register(m)
}

// answered counts one answer that took so long.
func (m *measures) answered(class answerClass, status int, took time.Duration) {
	if m == nil {
		return
	}
	s := &m.shards[rand.Uint32()&uint32(len(m.shards)-1)]
	s.answers[class][min(status/100, statusClasses-1)].Add(1)
	if status == http.StatusSwitchingProtocols {
		return // that it lasted is no delay
	}
	i := 0
	for i < len(answerBounds) && took > answerBounds[i] {
		i++
	}
	s.times[class][i].Add(1)
	s.nanos[class].Add(int64(took))
}

var (
	requestsDesc = prometheus.NewDesc("slipway_dispatcher_requests_total",
		"Requests answered, by who answered (static: a file; worker; own: the dispatcher's paths; unknown: nothing is deployed there; refused: not a proper request; error: the platform failed) and the status's class.",
		[]string{"class", "status"}, nil)
	requestSecondsDesc = prometheus.NewDesc("slipway_dispatcher_request_duration_seconds",
		"Time from the end of a request's header to the end of its answer. Upgraded connections are not in it.",
		[]string{"class"}, nil)
	connectionsDesc = prometheus.NewDesc("slipway_dispatcher_connections", "Open HTTP/1.1 connections of clients, idle ones included.", nil, nil)
	routesDesc      = prometheus.NewDesc("slipway_dispatcher_routes", "Routes in memory.", nil, nil)
	routeReadsDesc  = prometheus.NewDesc("slipway_dispatcher_route_reads_total",
		"Routes read from the database, by result: found, none or failed.", []string{"result"}, nil)
	announcedDesc = prometheus.NewDesc("slipway_dispatcher_routes_announced",
		"1 while changes of routes are announced to this dispatcher; at 0 it reads each route again every second.", nil, nil)
	cacheDesc = prometheus.NewDesc("slipway_dispatcher_cache_requests_total",
		"Look-ups in memory of manifests and small files, by result: hit, or miss, which reads blob storage.", []string{"cache", "result"}, nil)
	cacheBytesDesc = prometheus.NewDesc("slipway_dispatcher_cache_bytes", "Memory that holds manifests and small files.", []string{"cache"}, nil)
)

// Describe is prometheus.Collector.
func (m *measures) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{requestsDesc, requestSecondsDesc, connectionsDesc, routesDesc, routeReadsDesc, announcedDesc, cacheDesc, cacheBytesDesc} {
		out <- desc
	}
}

// Collect is prometheus.Collector.
func (m *measures) Collect(out chan<- prometheus.Metric) {
	for class, name := range answerClassNames {
		m.collectAnswers(out, class, name)
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	counter := func(desc *prometheus.Desc, value int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	d := m.d
	gauge(connectionsDesc, float64(d.connections()))
	gauge(routesDesc, float64(d.routes.size()))
	announced := 0.0
	if d.routes.heard.Load() {
		announced = 1
	}
	gauge(announcedDesc, announced)
	counter(routeReadsDesc, d.routes.found.Load(), "found")
	counter(routeReadsDesc, d.routes.none.Load(), "none")
	counter(routeReadsDesc, d.routes.failed.Load(), "failed")
	for _, c := range []struct {
		name string
		use  cacheUse
	}{{"manifest", d.releases.kept.use()}, {"file", d.bodies.kept.use()}} {
		counter(cacheDesc, c.use.hits, c.name, "hit")
		counter(cacheDesc, c.use.misses, c.name, "miss")
		gauge(cacheBytesDesc, float64(c.use.bytes), c.name)
	}
}

func (m *measures) collectAnswers(out chan<- prometheus.Metric, class int, name string) {
	var answers [statusClasses]int64
	var times [len(answerBounds) + 1]int64
	var nanos int64
	for i := range m.shards {
		s := &m.shards[i]
		for status := range answers {
			answers[status] += s.answers[class][status].Load()
		}
		for bucket := range times {
			times[bucket] += s.times[class][bucket].Load()
		}
		nanos += s.nanos[class].Load()
	}
	for status, n := range answers {
		// The statuses there were, and failures, so that the first one is an increase.
		if n > 0 || status == 5 {
			out <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n), name, statusClassNames[status])
		}
	}
	buckets := make(map[float64]uint64, len(answerBounds))
	var below uint64
	for i, bound := range answerBounds {
		below += uint64(times[i])
		buckets[bound.Seconds()] = below
	}
	out <- prometheus.MustNewConstHistogram(requestSecondsDesc, below+uint64(times[len(answerBounds)]), time.Duration(nanos).Seconds(), buckets, name)
}
