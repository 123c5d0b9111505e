package tracing

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
)

// Client carries a request's trace into the workflows it starts. Without traces
// it is empty. What no request is behind, such as the reconciler's, begins none.
func (t *Tracing) Client() ([]interceptor.ClientInterceptor, error) {
	if t == nil {
		return nil, nil
	}
	options := temporalOptions(t.Gateway())
	options.SpanStarter = func(ctx context.Context, tracer trace.Tracer, name string, how ...trace.SpanStartOption) trace.Span {
		if !trace.SpanContextFromContext(ctx).IsValid() {
			return noop.Span{}
		}
		_, span := tracer.Start(ctx, name, how...)
		return span
	}
	traced, err := opentelemetry.NewTracingInterceptor(options)
	if err != nil {
		return nil, err
	}
	// A client's interceptor that could be a worker's too would be made one.
	return []interceptor.ClientInterceptor{struct{ interceptor.ClientInterceptor }{traced}}, nil
}

// Workflows goes on with that trace in workflows and steps; it adds headers to
// what a workflow does and nothing else, so that replays stay as they are.
// Without traces it is empty.
func (t *Tracing) Workflows() ([]interceptor.WorkerInterceptor, error) {
	if t == nil {
		return nil, nil
	}
	traced, err := opentelemetry.NewTracingInterceptor(temporalOptions(t.Worker()))
	if err != nil {
		return nil, err
	}
	return []interceptor.WorkerInterceptor{traced}, nil
}

// temporalOptions leaves queries out, which status pages ask all the time, and
// baggage, which is a stranger's. A header that cannot be read is no reason to
// fail a workflow.
func temporalOptions(tracer trace.Tracer) opentelemetry.TracerOptions {
	return opentelemetry.TracerOptions{
		Tracer: tracer, TextMapPropagator: propagation.TraceContext{},
		DisableQueryTracing: true, DisableBaggage: true, AllowInvalidParentSpans: true,
	}
}
