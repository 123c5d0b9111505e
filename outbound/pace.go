package outbound

import (
	"context"
	"errors"

	"golang.org/x/time/rate"
)

// opensAtOnce is how many connections a worker may open before OpensPerSecond
// holds it back.
const opensAtOnce = 64

var errTooFast = errors.New("connections are opened faster than is allowed")

// pace has a worker open connections no faster than is fair: each costs the
// machine more than it costs the worker. Connections that are kept and used again
// are not counted. Safe for concurrent use.
type pace struct{ limiter *rate.Limiter }

func newPace(options Options) pace {
	return pace{rate.NewLimiter(rate.Limit(options.OpensPerSecond), opensAtOnce)}
}

// wait returns when the next connection may be opened, or errTooFast when that
// is later than ctx allows.
func (p pace) wait(ctx context.Context) error {
	if p.limiter == nil {
		return nil
	}
	if err := p.limiter.Wait(ctx); err != nil {
		return errors.Join(ctx.Err(), errTooFast)
	}
	return nil
}

type paceKey struct{}

// with gives ctx to those who dial for a request.
func (p pace) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, paceKey{}, p)
}

func paceOf(ctx context.Context) pace {
	p, _ := ctx.Value(paceKey{}).(pace)
	return p
}
