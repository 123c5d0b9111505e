package dispatcher

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipwayhq/slipway/upstream"
)

// The headers of https://www.w3.org/TR/trace-context/, as canonical names.
const (
	traceparent = "Traceparent"
	tracestate  = "Tracestate"
)

// traced begins the span of a request to a worker and gives back how it ends.
// Files are not traced: their answer is quicker than the span of it.
//
// A visitor's own trace is not gone on with, only linked to. Whether we trace is
// for us to say and not for a header of a stranger's, and neither is the id.
func (d *Dispatcher) traced(x *exchange) (ended func()) {
	if d.opts.Tracer == nil {
		return func() {}
	}
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer)}
	visitors := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(x.r.Header))
	if link := trace.SpanContextFromContext(visitors); link.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: link}))
	}
	ctx, span := d.opts.Tracer.Start(x.r.Context(), "worker request", options...)
	if !span.IsRecording() {
		return func() {}
	}
	x.r = x.r.WithContext(ctx)
	x.traceID = span.SpanContext().TraceID().String()
	return func() {
		span.SetAttributes(
			attribute.String("http.request.method", x.r.Method), attribute.Int("http.response.status_code", x.status),
			attribute.String("slipway.worker", x.worker), attribute.String("slipway.release_id", x.releaseID),
			attribute.String("slipway.request_id", x.requestID),
		)
		if x.status == 0 || x.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// spanned does part of a traced request in a span of its own.
func (d *Dispatcher) spanned(x *exchange, name string, do func(ctx context.Context)) {
	if x.traceID == "" {
		do(x.r.Context())
		return
	}
	ctx, span := d.opts.Tracer.Start(x.r.Context(), name, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	do(ctx)
}

// traceHeaders tells a worker the trace it is part of, in place of its visitor's.
// Of a request that we do not trace, the visitor's own headers cross as they are.
func traceHeaders(ctx context.Context, x *exchange, how *upstream.Forwarding) {
	if x.traceID == "" {
		return
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	how.Set = append(how.Set, upstream.Header{Name: traceparent, Value: carrier.Get("traceparent")})
	how.Drop = append(how.Drop[:len(how.Drop):len(how.Drop)], tracestate)
}
