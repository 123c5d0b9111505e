package collect

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// measures are the metrics of collecting.
type measures struct {
	objects, bytes prometheus.Counter
	looks          *prometheus.CounterVec
}

func newMeasures(registerer prometheus.Registerer) *measures {
	with := promauto.With(registerer)
	m := &measures{
		objects: with.NewCounter(prometheus.CounterOpts{
			Name: "slipway_blobs_collected_total", Help: "Objects deleted from blob storage because nothing referred to them any more.",
		}),
		bytes: with.NewCounter(prometheus.CounterOpts{
			Name: "slipway_blobs_collected_bytes_total", Help: "Bytes of the objects deleted from blob storage because nothing referred to them any more.",
		}),
		looks: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_blob_collections_total", Help: "Looks for unreferred objects, each at one organization, by result: ok or failed.",
		}, []string{"result"}),
	}
	m.looks.WithLabelValues("ok")
	m.looks.WithLabelValues("failed")
	return m
}

func (m *measures) looked(err error) {
	if err != nil {
		m.looks.WithLabelValues("failed").Inc()
		return
	}
	m.looks.WithLabelValues("ok").Inc()
}

func (m *measures) deleted(bytes int64) {
	m.objects.Inc()
	m.bytes.Add(float64(bytes))
}
