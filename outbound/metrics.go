package outbound

import "github.com/prometheus/client_golang/prometheus"

var (
	requestsDesc = prometheus.NewDesc("slipway_egress_requests_total", "Requests and tunnels of workers that were let out.", nil, nil)
	refusedDesc  = prometheus.NewDesc("slipway_egress_refused_total", "Requests and tunnels of workers that were refused, for their destination or a limit.", nil, nil)
	bytesDesc    = prometheus.NewDesc("slipway_egress_bytes_total", "Bytes on the network side of what workers send and receive.", []string{"direction"}, nil)
	activeDesc   = prometheus.NewDesc("slipway_egress_active", "Requests and tunnels of workers under way.", nil, nil)
	socketsDesc  = prometheus.NewDesc("slipway_egress_sockets", "Network connections opened for workers, those kept for later included.", nil, nil)
)

// Describe is prometheus.Collector: a Proxy is one. It shows the sum of what all
// organizations use; Usage tells them apart.
func (p *Proxy) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{requestsDesc, refusedDesc, bytesDesc, activeDesc, socketsDesc} {
		out <- desc
	}
}

// Collect is prometheus.Collector.
func (p *Proxy) Collect(out chan<- prometheus.Metric) {
	var all Usage
	for _, u := range p.Usage() {
		all.Requests += u.Requests
		all.Refused += u.Refused
		all.SentBytes += u.SentBytes
		all.ReceivedBytes += u.ReceivedBytes
		all.Active += u.Active
		all.Sockets += u.Sockets
	}
	show := func(desc *prometheus.Desc, kind prometheus.ValueType, value int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, float64(value), labels...)
	}
	show(requestsDesc, prometheus.CounterValue, all.Requests)
	show(refusedDesc, prometheus.CounterValue, all.Refused)
	show(bytesDesc, prometheus.CounterValue, all.SentBytes, "sent")
	show(bytesDesc, prometheus.CounterValue, all.ReceivedBytes, "received")
	show(activeDesc, prometheus.GaugeValue, all.Active)
	show(socketsDesc, prometheus.GaugeValue, all.Sockets)
}
