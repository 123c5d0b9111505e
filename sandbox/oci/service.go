package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/monitor"
)

var _ sandbox.ServiceProvider = (*Provider)(nil)

// StartService starts a program as process 1 of a sandbox of its own; see
// sandbox.ServiceProvider. It runs as the same user as builds do: host uid
// UIDBase+1000, for whom what is bound in must be readable. A bound unix socket
// needs mode 0666; it is reached through its own mount, so that the host's folder
// above it may be closed to everyone else.
//
// A bind's destination is absolute, in no folder of the system's and in none of
// another bind.
func (p *Provider) StartService(ctx context.Context, spec sandbox.ServiceSpec) (sandbox.Service, error) {
	if p.engine.ownKernel {
		return nil, models.Errorf(models.CodeSandbox,
			"%s cannot run services: a listening socket of the host's is nothing to its kernel; use runc", p.options.Runtime)
	}
	if err := checkService(spec); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.StartTimeout)
	defer cancel()
	unlock, err := p.home.lock(ctx, spec.ID)
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the service is in use by another attempt")
	}
	defer unlock()
	if err := p.destroy(ctx, spec.ID); err != nil {
		return nil, err
	}
	started, err := p.startService(ctx, spec)
	if err != nil {
		// The caller's context may be what ended it; tidying must not.
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.options.StartTimeout)
		defer cancel()
		if tidyErr := p.destroy(tidy, spec.ID); tidyErr != nil {
			p.log.WithError(tidyErr).WithField("sandbox", spec.ID).Error("Half-made service left for the sweeper")
		}
		return nil, err
	}
	return started, nil
}

func checkService(spec sandbox.ServiceSpec) error {
	err := checkSpec(sandbox.Spec{ID: spec.ID, UIDBase: spec.UIDBase, UIDCount: spec.UIDCount, Limits: spec.Limits})
	if err != nil {
		return err
	}
	if len(spec.Args) == 0 || !path.IsAbs(spec.Args[0]) {
		return models.Errorf(models.CodeValidation, "a service needs a program, by its absolute path inside")
	}
	// Two of the monitor's are the program's output.
	if len(spec.Files) > monitor.MaxFiles-2 {
		return models.Errorf(models.CodeValidation, "a service can be handed %d files, not %d", monitor.MaxFiles-2, len(spec.Files))
	}
	for i, file := range spec.Files {
		// A closed file has this descriptor, and a nil one too.
		if file.Fd() == ^uintptr(0) {
			return models.Errorf(models.CodeValidation, "file %d for the service is closed", i)
		}
	}
	for _, arg := range spec.Args {
		if strings.ContainsRune(arg, 0) {
			return models.Errorf(models.CodeValidation, "a service's argument holds a NUL byte")
		}
	}
	for name, value := range spec.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return models.Errorf(models.CodeValidation, "%q cannot be a variable of a service's environment", name)
		}
	}
	return checkBinds(spec.Binds)
}

func (p *Provider) startService(ctx context.Context, spec sandbox.ServiceSpec) (*service, error) {
	record := &record{
		ID: spec.ID, UIDBase: spec.UIDBase, UIDCount: spec.UIDCount, Limits: spec.Limits,
		Created: time.Now().UTC(), Service: true,
	}
	if err := p.home.write(record); err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the service's folder cannot be written")
	}
	if err := p.writeServiceBundle(record, spec); err != nil {
		return nil, err
	}
	output, err := openOutput(spec.Stdout, spec.Stderr)
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the service's output cannot be taken")
	}
	program, err := p.launchService(ctx, spec, output)
	output.closeTheirs()
	if err != nil {
		output.close()
		return nil, p.serviceError(record, err)
	}
	made := newService(p, record, program, output)
	p.mu.Lock()
	p.services[spec.ID] = made
	p.mu.Unlock()
	go made.attend()
	return made, nil
}

// launchService has the runtime start the program. The runtime exits then: that
// is one call of it in a service's life.
func (p *Provider) launchService(ctx context.Context, spec sandbox.ServiceSpec, output *output) (*monitor.Program, error) {
	runtime, err := exec.LookPath(p.options.Runtime)
	if err != nil {
		return nil, err
	}
	watcher, err := p.monitor()
	if err != nil {
		return nil, err
	}
	// A start is all processor time. More of them at once would not be over any
	// sooner, but all of them late instead of the last ones.
	select {
	case p.starting <- struct{}{}:
		defer func() { <-p.starting }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	pidFile := p.home.file(spec.ID, "pid")
	return watcher.Launch(ctx, monitor.Launch{
		Args: p.engine.command(runtime, p.home, spec.ID, "run", "--detach", "--preserve-fds", fmt.Sprint(len(spec.Files)),
			"--bundle", p.home.sandbox(spec.ID), "--pid-file", pidFile, spec.ID),
		Env: runtimeEnvironment(), PIDFile: pidFile,
		Files: append([]*os.File{output.theirOut, output.theirErr}, spec.Files...),
	})
}

// monitor is this process's monitor, started when there is none.
func (p *Provider) monitor() (*monitor.Monitor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watcher != nil {
		select {
		case <-p.watcher.Gone():
		default:
			return p.watcher, nil
		}
	}
	executable, err := ownExecutable()
	if err != nil {
		return nil, err
	}
	p.watcher, err = monitor.Start(executable, runtimeEnvironment())
	return p.watcher, err
}

func (p *Provider) serviceError(r *record, err error) error {
	var said *models.Error
	switch {
	case errors.As(err, &said):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return models.Wrap(models.CodeSandbox, err, "the service did not start in time")
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return p.runtimeMissing(err)
	}
	reason := p.runtimeSaid(r.ID)
	if reason == "" {
		reason = err.Error()
	}
	return models.Wrap(models.CodeSandbox, fmt.Errorf("%w: %s", err, reason), "the service could not be started on this host: "+reason)
}

// endServices ends this process's services and removes what they left.
func (p *Provider) endServices() error {
	p.mu.Lock()
	watcher := p.watcher
	p.watcher = nil
	var services []*service
	for _, s := range p.services {
		services = append(services, s)
	}
	p.mu.Unlock()
	if watcher == nil {
		return nil
	}
	failed := watcher.Close()
	ctx, cancel := context.WithTimeout(context.Background(), p.options.StartTimeout)
	defer cancel()
	for _, s := range services {
		if err := s.Destroy(ctx); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// output carries what a service says to its spec's writers. "Their" ends go to
// the service.
type output struct {
	out, err, theirOut, theirErr *os.File
	stdout, stderr               io.Writer
}

func openOutput(stdout, stderr io.Writer) (*output, error) {
	o := &output{stdout: stdout, stderr: stderr}
	var err error
	if o.out, o.theirOut, err = os.Pipe(); err != nil {
		return nil, err
	}
	if sameWriter(stdout, stderr) {
		o.theirErr = o.theirOut
		return o, nil
	}
	if o.err, o.theirErr, err = os.Pipe(); err != nil {
		o.closeTheirs()
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *output) closeTheirs() {
	for _, file := range []*os.File{o.theirOut, o.theirErr} {
		_ = file.Close()
	}
}

func (o *output) close() {
	for _, file := range []*os.File{o.out, o.err} {
		_ = file.Close()
	}
}

// checkBinds refuses destinations that no folder of ours can have a mount point
// for, or that would cover what isolates the service.
func checkBinds(binds []sandbox.Bind) error {
	for i, bind := range binds {
		to := bind.Destination
		first, _, _ := strings.Cut(strings.TrimPrefix(to, "/"), "/")
		switch {
		case !filepath.IsAbs(bind.Source), strings.ContainsAny(bind.Source, "\x00"):
			return models.Errorf(models.CodeValidation, "%q cannot be bound into a service: its path must be absolute", bind.Source)
		case !path.IsAbs(to), path.Clean(to) != to, to == "/", strings.ContainsRune(to, 0):
			return models.Errorf(models.CodeValidation, "%q is no place for a bind: it must be an absolute, clean path", to)
		case isSystemFolder(first):
			return models.Errorf(models.CodeValidation, "%q is no place for a bind: it is in a folder of the system's", to)
		}
		for _, other := range binds[:i] {
			if to == other.Destination || strings.HasPrefix(to, other.Destination+"/") || strings.HasPrefix(other.Destination, to+"/") {
				return models.Errorf(models.CodeValidation, "the binds %q and %q cover each other", to, other.Destination)
			}
		}
	}
	return nil
}
