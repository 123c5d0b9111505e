package certs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	certificatesDesc = prometheus.NewDesc("slipway_certificates", "Certificates in memory: those that handshakes asked for, and the one from files.", nil, nil)
	expiryDesc       = prometheus.NewDesc("slipway_certificate_expiry_timestamp_seconds",
		"When the first of the certificates in memory expires, in Unix seconds; missing while there are none.", nil, nil)
)

// Describe is prometheus.Collector: Certs is one.
func (c *Certs) Describe(out chan<- *prometheus.Desc) {
	out <- certificatesDesc
	out <- expiryDesc
}

// Collect is prometheus.Collector.
func (c *Certs) Collect(out chan<- prometheus.Metric) {
	var first time.Time
	n := 0
	count := func(notAfter time.Time) {
		if n++; first.IsZero() || notAfter.Before(first) {
			first = notAfter
		}
	}
	c.memory.keys(func(e *entry) bool { count(e.notAfter); return false })
	if c.files != nil {
		if pair := c.files.current(); pair != nil && pair.Leaf != nil {
			count(pair.Leaf.NotAfter)
		}
	}
	out <- prometheus.MustNewConstMetric(certificatesDesc, prometheus.GaugeValue, float64(n))
	if n > 0 {
		out <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(first.Unix()))
	}
}
