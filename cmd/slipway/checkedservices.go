package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// checkAgain is the wait after a check that failed: what was in the way, a full
// disk or a machine that was too busy, may have gone.
const checkAgain = 30 * time.Second

// checkedServices starts nothing before the machine was seen to isolate it, and
// keeps nobody who asks for files waiting meanwhile.
type checkedServices struct {
	sandbox.ServiceProvider
	// sound is closed when the machine isolates, failed why it did not.
	sound  chan struct{}
	failed atomic.Pointer[error]
}

func newCheckedServices(provider sandbox.ServiceProvider) *checkedServices {
	return &checkedServices{ServiceProvider: provider, sound: make(chan struct{})}
}

// check tries the machine until it is seen to isolate, or the context ends.
func (s *checkedServices) check(ctx context.Context, log logrus.FieldLogger) error {
	for {
		err := s.Check(ctx)
		if err == nil {
			close(s.sound)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		if s.failed.Swap(&err) == nil {
			log.WithError(err).Error("this machine cannot isolate workers; releases with server code are not served here until it can")
		}
		select {
		case <-time.After(checkAgain):
		case <-ctx.Done():
			return nil
		}
	}
}

// StartService starts a service once the machine is known to isolate it.
func (s *checkedServices) StartService(ctx context.Context, spec sandbox.ServiceSpec) (sandbox.Service, error) {
	select {
	case <-s.sound:
		return s.ServiceProvider.StartService(ctx, spec)
	default:
	}
	if err := s.failed.Load(); err != nil {
		return nil, *err
	}
	select {
	case <-s.sound:
		return s.ServiceProvider.StartService(ctx, spec)
	case <-ctx.Done():
		return nil, models.Wrap(models.CodeSandbox, context.Cause(ctx), "this machine is still being tried for isolation")
	}
}
