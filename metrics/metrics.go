// Package metrics shows what a process measures: one registry of Prometheus
// metrics, and the private address they are read at.
//
// What is measured is declared by the package that does the work, which takes a
// prometheus.Registerer in its Options; nil measures for nobody. Labels have few
// values, known beforehand: an organization, a project, a host or a path is never
// one, because each would be a series that is kept for ever.
package metrics

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Registry holds the metrics of a process. It is a prometheus.Registerer and
// Gatherer, safe for concurrent use.
type Registry struct {
	*prometheus.Registry
}

// New makes a registry that has what every process has: its build, its memory,
// its garbage collections and its descriptors.
func New(version string) *Registry {
	r := &Registry{prometheus.NewRegistry()}
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "slipway_build_info",
			Help:        "Always 1; the labels say what runs.",
			ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return r
}

// Register adds a collector. One with the same metrics gives way to it: in
// `slipway dev` a role that ended is started again in the same process.
func (r *Registry) Register(c prometheus.Collector) error {
	err := r.Registry.Register(c)
	var former prometheus.AlreadyRegisteredError
	if !errors.As(err, &former) {
		return err
	}
	r.Registry.Unregister(former.ExistingCollector)
	return r.Registry.Register(c)
}

// MustRegister is Register for collectors that are right by construction.
func (r *Registry) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(fmt.Errorf("register metrics: %w", err))
		}
	}
}
