package tracing

import (
	"golang.org/x/time/rate"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// askedPerSecond bounds the traces that callers have us make.
const askedPerSecond = 10

// capped samples what callers ask for up to a rate, beyond which another sampler
// decides: the mark in a caller's header costs them nothing, and us a trace of a
// hundred spans.
type capped struct {
	limit *rate.Limiter
	then  sdktrace.Sampler
}

func newCapped(then sdktrace.Sampler) capped {
	return capped{limit: rate.NewLimiter(askedPerSecond, askedPerSecond), then: then}
}

// ShouldSample is sdktrace.Sampler.
func (c capped) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if c.limit.Allow() {
		return sdktrace.AlwaysSample().ShouldSample(p)
	}
	return c.then.ShouldSample(p)
}

// Description is sdktrace.Sampler.
func (c capped) Description() string { return "Capped{" + c.then.Description() + "}" }
