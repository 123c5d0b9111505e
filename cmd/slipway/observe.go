package main

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/metrics"
	"github.com/slipwayhq/slipway/tracing"
)

// showMetrics answers at SLIPWAY_METRICS_ADDR until hide is called. A process
// that cannot have that address works without: several roles may share a machine,
// and none of them is to fail for not being watched.
func (p *platform) showMetrics(ctx context.Context) (hide func()) {
	addr := p.config.Observe.MetricsAddr
	if addr == "" {
		return func() {}
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		log := p.log.WithError(err).WithField("addr", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			log.Warn("metrics are not shown: their address is in use; give each process of this machine a SLIPWAY_METRICS_ADDR of its own, or an empty one for none")
		} else {
			log.Warn("metrics are not shown: SLIPWAY_METRICS_ADDR cannot be listened on")
		}
		return func() {}
	}
	p.log.WithField("addr", listener.Addr()).Info("metrics listen")
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- metrics.Serve(ctx, listener, metrics.Handler(p.metrics, p.log)) }()
	return func() {
		stop()
		if err := <-ended; err != nil {
			p.log.WithError(err).Warn("metrics were not shown to the end")
		}
	}
}

// openTracing makes what sends traces; nil while OTEL_EXPORTER_OTLP_ENDPOINT is
// not set.
func openTracing(ctx context.Context, c config.Config, log *logrus.Logger) (*tracing.Tracing, error) {
	traces, err := tracing.New(ctx, tracing.Options{Endpoint: c.Observe.OTLPEndpoint, Ratio: c.Observe.TraceRatio, Version: version, Log: log})
	if traces != nil {
		log.AddHook(tracing.LogHook{})
	}
	return traces, err
}

// closeTracing sends what is waiting, unless its receiver takes too long.
func (p *platform) closeTracing() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.tracing.Shutdown(ctx); err != nil {
		p.log.WithError(err).Warn("the last traces were not sent")
	}
}
