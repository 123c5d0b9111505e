package dev

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/thejerf/suture/v4"
)

const (
	// crashLimit crashes close together make the supervisor pause for crashPause
	// before it starts a part again.
	crashLimit = 5
	crashPause = 5 * time.Second
	// stopTimeout is how long the parts of a layer may take to stop.
	stopTimeout = 45 * time.Second
)

// Service is one part that runs until its context ends.
type Service struct {
	Name string
	// Serve returns when ctx ends. Returning earlier is a crash: it is called
	// again, after a pause when that happens too often. An error wrapped by
	// Fatal ends everything instead.
	Serve func(ctx context.Context) error
	// Ready, when set, says whether the part does its work; nil means yes.
	Ready func(ctx context.Context) error
}

// fatal marks an error that starting again cannot mend.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// Fatal wraps an error that starting the part again cannot mend, such as a
// machine that cannot isolate builds; Run then stops everything and returns it.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return fatal{err}
}

// layer is a group of services that start and stop together.
type layer struct {
	name     string
	services []Service
	stopper  func(context.Context)
	ctx      context.Context
	cancel   context.CancelFunc
	done     <-chan error
	extra    sync.WaitGroup
}

// add starts services as a new topmost layer. The stopper, when given, is what
// ends them when they must end in a hurry.
func (h *house) add(name string, stopper func(context.Context), services ...Service) *layer {
	supervisor := suture.New(name, suture.Spec{
		EventHook:        h.report,
		FailureThreshold: crashLimit,
		FailureBackoff:   crashPause,
		Timeout:          stopTimeout,
	})
	for _, service := range services {
		supervisor.Add(&supervised{Service: service, failed: h.failed})
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &layer{name: name, services: services, stopper: stopper, ctx: ctx, cancel: cancel, done: supervisor.ServeBackground(ctx)}
	h.layers = append(h.layers, l)
	return l
}

// run lets f run beside the layer's services; stop waits for it.
func (l *layer) run(f func(context.Context)) {
	l.extra.Go(func() { f(l.ctx) })
}

// stop ends the layer's services, and waits for them until hurry ends.
func (l *layer) stop(hurry context.Context) {
	l.cancel()
	ended := make(chan struct{})
	go func() {
		<-l.done
		l.extra.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-hurry.Done():
		if l.stopper != nil {
			l.stopper(hurry)
		}
	}
}

// supervised is a Service as suture knows it.
type supervised struct {
	Service
	failed chan<- error
}

// String names the service in the supervisor's events.
func (s *supervised) String() string { return s.Name }

// Serve implements suture.Service.
func (s *supervised) Serve(ctx context.Context) error {
	err := s.Service.Serve(ctx)
	var final fatal
	if ctx.Err() == nil && errors.As(err, &final) {
		select {
		case s.failed <- fmt.Errorf("%s: %w", s.Name, final.error):
		default:
		}
		return suture.ErrDoNotRestart
	}
	if err == nil && ctx.Err() == nil {
		err = errors.New("it ended without being asked to")
	}
	return err
}

// report logs what the supervisor sees.
func (h *house) report(event suture.Event) {
	switch e := event.(type) {
	case suture.EventServicePanic:
		h.opts.Log.WithField("service", e.ServiceName).Errorf("panic: %s\n%s", e.PanicMsg, e.Stacktrace)
	case suture.EventServiceTerminate:
		h.opts.Log.WithField("service", e.ServiceName).Errorf("ended, starting it again: %v", e.Err)
	case suture.EventBackoff:
		h.opts.Log.WithField("layer", e.SupervisorName).Errorf("too many crashes, waiting %s", crashPause)
	case suture.EventStopTimeout:
		h.opts.Log.WithField("service", e.ServiceName).Errorf("did not stop within %s", stopTimeout)
	}
}
