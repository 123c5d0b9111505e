package tracing

import (
	"context"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// SQL makes a span of each statement that a traced request asks; nil without
// traces. The text of a statement is in it, its arguments are not: they may be
// anybody's secrets.
func (t *Tracing) SQL() pgx.QueryTracer {
	if t == nil {
		return nil
	}
	return otelpgx.NewTracer(
		otelpgx.WithTracerProvider(parentsProvider{}), otelpgx.WithMeterProvider(noop.NewMeterProvider()),
		otelpgx.WithTrimSQLInSpanName(), otelpgx.WithDisableConnectionDetailsInAttributes(),
	)
}

// parentsProvider makes spans of the service that their parent is of: the roles
// of one process share the connections to the database.
type parentsProvider struct{ embedded.TracerProvider }

// Tracer is trace.TracerProvider.
func (parentsProvider) Tracer(name string, how ...trace.TracerOption) trace.Tracer {
	return parentsTracer{name: name, how: how}
}

type parentsTracer struct {
	embedded.Tracer
	name string
	how  []trace.TracerOption
}

// Start is trace.Tracer.
func (t parentsTracer) Start(ctx context.Context, name string, how ...trace.SpanStartOption) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(t.name, t.how...).Start(ctx, name, how...)
}
