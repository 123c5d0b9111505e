package oci

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/monitor"
)

// lastWordsTimeout is how long the output of a program that has ended may still
// take to reach its writers before Done.
const lastWordsTimeout = time.Second

// service is a running program.
type service struct {
	provider *Provider
	record   *record
	program  *monitor.Program
	output   *output
	meters   *meters
	done     chan struct{}
	// exit is set before done is closed.
	exit sandbox.Exit

	// mu guards the handle, which is -1 once the program has been reaped or was
	// gone before it could be had.
	mu     sync.Mutex
	handle int
}

var _ sandbox.Service = (*service)(nil)

func newService(p *Provider, r *record, program *monitor.Program, output *output) *service {
	s := &service{
		provider: p, record: r, program: program, output: output, done: make(chan struct{}),
		meters: p.cgroups.openMeters(r.ID), handle: -1,
	}
	// The number belongs to the program only while that is in the control group.
	if handle, err := unix.PidfdOpen(program.PID, 0); err == nil {
		if isMember(program.PID, p.cgroups.prefix+r.ID) {
			s.handle = handle
		} else {
			_ = unix.Close(handle)
		}
	}
	return s
}

// ID is the service's id.
func (s *service) ID() string { return s.record.ID }

// Done is closed when the program has ended.
func (s *service) Done() <-chan struct{} { return s.done }

// Exit says how the program ended; only after Done.
func (s *service) Exit() sandbox.Exit { return s.exit }

// Usage reads what the service has used; after its end, what it had used then.
// It costs three reads of files that are open already.
func (s *service) Usage() (sandbox.Usage, error) {
	usage, err := s.meters.read()
	if err != nil {
		return usage, models.Wrap(models.CodeSandbox, err, "what the service uses cannot be read")
	}
	return usage, nil
}

// Kill ends the program. It is process 1 of its pid namespace: the kernel ends
// everything in that with it.
func (s *service) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle < 0 {
		return nil
	}
	if err := unix.PidfdSendSignal(s.handle, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return models.Wrap(models.CodeSandbox, err, "the service cannot be killed")
	}
	return nil
}

// Destroy removes the service, unless another has taken its id since: then
// nothing of this one is left.
func (s *service) Destroy(ctx context.Context) error {
	p, id := s.provider, s.record.ID
	if err := s.Kill(); err != nil {
		return err
	}
	unlock, err := p.home.lock(ctx, id)
	if err != nil {
		return models.Wrap(models.CodeSandbox, err, "the service is in use by another attempt")
	}
	defer unlock()
	p.mu.Lock()
	mine := p.services[id] == s
	p.mu.Unlock()
	if !mine {
		return nil
	}
	return p.destroy(ctx, id)
}

// attend takes the program's output and its end.
func (s *service) attend() {
	var copies sync.WaitGroup
	copies.Go(func() { drainTo(s.output.stdout, s.output.out) })
	if s.output.err != nil {
		copies.Go(func() { drainTo(s.output.stderr, s.output.err) })
	}
	<-s.program.Ended()
	s.mu.Lock()
	if s.handle >= 0 {
		// Where the monitor ended instead, the program may still live.
		_ = unix.PidfdSendSignal(s.handle, unix.SIGKILL, nil, 0)
		_ = unix.Close(s.handle)
		s.handle = -1
	}
	s.mu.Unlock()
	s.meters.close()
	s.exit = sandbox.Exit{
		Code: s.program.Code(), OOMKilled: s.provider.cgroups.events(s.record.ID).oomKills > 0,
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		copies.Wait()
		s.output.close()
	}()
	select {
	case <-said:
	case <-time.After(lastWordsTimeout):
	}
	close(s.done)
}

// wait returns when the program has ended.
func (s *service) wait(ctx context.Context) {
	if s == nil {
		return
	}
	select {
	case <-s.done:
	case <-ctx.Done():
	}
}
