package workflows

import (
	"context"
	"sync"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

// steps stands in for the activities: each step succeeds at once unless the
// test put something else in its place. It remembers what ran and what was
// recorded.
type steps struct {
	validate func(context.Context, models.StepInput) error
	sync     func(context.Context, models.StepInput) (models.SyncResult, error)
	sandbox  func(context.Context, models.StepInput) error
	build    func(context.Context, models.StepInput) (models.BuildResult, error)
	deploy   func(context.Context, models.StepInput) (models.DeployResult, error)
	cleanup  func(context.Context, models.StepInput) error
	record   func(context.Context, models.Status) error

	mu       sync.Mutex
	calls    []models.Step
	inputs   []models.StepInput
	recorded []models.Status
}

// registry is what the steps are registered on: a worker or a test environment.
type registry interface {
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

func (s *steps) register(r registry) {
	add := func(name string, fn any) {
		r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	add(string(models.StepValidate), s.Validate)
	add(string(models.StepSync), s.Sync)
	add(string(models.StepSandbox), s.Sandbox)
	add(string(models.StepBuild), s.Build)
	add(string(models.StepDeploy), s.Deploy)
	add(string(models.StepCleanup), s.Cleanup)
	add(models.ActivityRecord, s.Record)
}

func (s *steps) Validate(ctx context.Context, in models.StepInput) (models.ValidateResult, error) {
	s.note(models.StepValidate, in)
	if s.validate != nil {
		return models.ValidateResult{}, s.validate(ctx, in)
	}
	return models.ValidateResult{WorkerName: "shop"}, nil
}

func (s *steps) Sync(ctx context.Context, in models.StepInput) (models.SyncResult, error) {
	s.note(models.StepSync, in)
	if s.sync != nil {
		return s.sync(ctx, in)
	}
	return models.SyncResult{SourceDigest: "source", Files: 3, NeedsSandbox: true}, nil
}

func (s *steps) Sandbox(ctx context.Context, in models.StepInput) (models.SandboxResult, error) {
	s.note(models.StepSandbox, in)
	if s.sandbox != nil {
		return models.SandboxResult{SandboxID: "box"}, s.sandbox(ctx, in)
	}
	return models.SandboxResult{SandboxID: "box", Host: "host"}, nil
}

func (s *steps) Build(ctx context.Context, in models.StepInput) (models.BuildResult, error) {
	s.note(models.StepBuild, in)
	if s.build != nil {
		return s.build(ctx, in)
	}
	return models.BuildResult{OutputDigest: "output", Summary: "Built 3 files."}, nil
}

func (s *steps) Deploy(ctx context.Context, in models.StepInput) (models.DeployResult, error) {
	s.note(models.StepDeploy, in)
	if s.deploy != nil {
		return s.deploy(ctx, in)
	}
	return models.DeployResult{ReleaseID: "rel_1", URL: "http://shop.localhost/"}, nil
}

func (s *steps) Cleanup(ctx context.Context, in models.StepInput) error {
	s.note(models.StepCleanup, in)
	if s.cleanup != nil {
		return s.cleanup(ctx, in)
	}
	return nil
}

func (s *steps) Record(ctx context.Context, st models.Status) error {
	if s.record != nil {
		if err := s.record(ctx, st); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded = append(s.recorded, st)
	return nil
}

func (s *steps) note(step models.Step, in models.StepInput) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, step)
	s.inputs = append(s.inputs, in)
}

// count is how often a step ran.
func (s *steps) count(step models.Step) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range s.calls {
		if call == step {
			n++
		}
	}
	return n
}

// ran is the steps that ran, in order.
func (s *steps) ran() []models.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]models.Step(nil), s.calls...)
}

// last is what a step got when it ran last.
func (s *steps) last(step models.Step) (in models.StepInput) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, call := range s.calls {
		if call == step {
			in = s.inputs[i]
		}
	}
	return in
}

func (s *steps) lastRecorded() models.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recorded) == 0 {
		return models.Status{}
	}
	return s.recorded[len(s.recorded)-1]
}

// fault is the error a step returns for a coded failure.
func fault(code models.Code, message string) error {
	f := models.StepFailure{Code: code, Class: code.Class(), Message: message}
	if f.Class == models.ClassUser {
		f.Diagnosis = &models.Diagnosis{Step: "build", Command: "npm run build", ExitCode: 1}
	}
	return temporal.NewApplicationErrorWithOptions(message, string(code), temporal.ApplicationErrorOptions{
		NonRetryable: f.Class == models.ClassUser,
		Details:      []any{f},
	})
}

func staticSource(context.Context, models.StepInput) (models.SyncResult, error) {
	return models.SyncResult{SourceDigest: "source", Files: 1}, nil
}

func untilCanceled(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		default:
			activity.RecordHeartbeat(ctx)
		}
		select {
		case <-ctx.Done():
		case <-heartbeatPause():
		}
	}
}
