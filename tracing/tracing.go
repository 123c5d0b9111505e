// Package tracing sends OpenTelemetry traces: what one request did, from the
// gateway through its workflow and steps to the statements it asked of the
// database, and from the dispatcher into a worker.
//
// Traces leave over OTLP/HTTP and cross processes as W3C trace context
// (https://www.w3.org/TR/trace-context/). Nothing is kept in variables of a
// package, and where no address is set there is nothing at all: a nil *Tracing
// gives nil tracers, which whoever takes one leaves out.
package tracing

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipwayhq/slipway/models"
)

// scope names the instrumentation of all our spans.
const scope = "github.com/slipwayhq/slipway"

// The services that spans belong to.
const (
	ServiceAPI        = "slipway-api"
	ServiceWorker     = "slipway-worker"
	ServiceDispatcher = "slipway-dispatcher"
)

// Options are what traces need.
type Options struct {
	// Endpoint is the base URL of an OTLP receiver, to which /v1/traces is added;
	// empty traces nothing. What else the exporter needs, such as headers or a
	// certificate, it takes from the variables of its specification, OTEL_EXPORTER_OTLP_*.
	Endpoint string
	// Ratio is the part of requests that are traced from here on, from 0 to 1.
	Ratio   float64
	Version string
	Log     logrus.FieldLogger
}

// Tracing makes spans and sends them. A nil one makes none. Its methods are safe
// for concurrent use.
type Tracing struct {
	opts      Options
	processor sdktrace.SpanProcessor
}

// New makes what sends spans; it connects when it first has some. It is nil when
// there is no endpoint, and CodeValidation when that is not a URL.
func New(ctx context.Context, opts Options) (*Tracing, error) {
	if opts.Endpoint == "" {
		return nil, nil
	}
	base, err := url.Parse(opts.Endpoint)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, models.Errorf(models.CodeValidation, "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL such as http://127.0.0.1:4318 (it is %q)", opts.Endpoint)
	}
	out, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(base.JoinPath("v1/traces").String()))
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	return &Tracing{opts: opts, processor: sdktrace.NewBatchSpanProcessor(&exporter{SpanExporter: out, log: opts.Log})}, nil
}

// Shutdown sends what is waiting and ends.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.processor.Shutdown(ctx)
}

// Gateway gives the tracer of requests to the API. Whoever calls may ask for a
// trace, a few times a second over all; otherwise Ratio decides.
func (t *Tracing) Gateway() trace.Tracer {
	if t == nil {
		return nil
	}
	ratio := sdktrace.TraceIDRatioBased(t.opts.Ratio)
	return t.tracer(ServiceAPI, sdktrace.ParentBased(ratio,
		sdktrace.WithRemoteParentSampled(newCapped(ratio)), sdktrace.WithRemoteParentNotSampled(sdktrace.NeverSample())))
}

// Worker gives the tracer of workflows and steps, which go on with the trace of
// the request that started them.
func (t *Tracing) Worker() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer(ServiceWorker, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(t.opts.Ratio)))
}

// Dispatcher gives the tracer of visitors' requests. They decide nothing: Ratio
// alone does, over ids that are ours.
func (t *Tracing) Dispatcher() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer(ServiceDispatcher, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(t.opts.Ratio)))
}

func (t *Tracing) tracer(service string, sampler sdktrace.Sampler) trace.Tracer {
	return sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(t.processor),
		sdktrace.WithSampler(sampler),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", service), attribute.String("service.version", t.opts.Version),
		)),
	).Tracer(scope, trace.WithInstrumentationVersion(t.opts.Version))
}

// exporter logs what cannot be sent, now and then, where the SDK would write to
// the standard error.
type exporter struct {
	sdktrace.SpanExporter
	log logrus.FieldLogger
	// told is when a failure was last logged. One export runs at a time.
	told time.Time
}

const tellEvery = time.Minute

// ExportSpans sends spans. Those that cannot be sent are lost.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil && time.Since(e.told) > tellEvery {
		e.told = time.Now()
		e.log.WithError(err).WithField("spans", len(spans)).Warn("traces cannot be sent to OTEL_EXPORTER_OTLP_ENDPOINT and are lost")
	}
	return nil
}
