// Package child starts programs that must not outlive this process.
//
// A child gets a signal from the kernel the moment its parent dies, even by
// kill -9. The kernel binds that promise to the thread that forked, not to the
// process, so every child here is started and awaited by one goroutine that
// keeps its thread to itself.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tailLines is how many of a child's last output lines an exit error carries.
const tailLines = 12

// Options is what to run and how it ends.
type Options struct {
	// Name is what messages call the child.
	Name string
	// Path and Args are the program and its arguments, without the program's own name.
	Path string
	Args []string
	// Env is the child's whole environment; nil inherits this process's.
	Env []string
	// Dir is the working directory; empty inherits this process's.
	Dir string
	// Files become descriptors 3, 4, … in the child. The caller may close its own after Start.
	Files []*os.File
	// Credential, when set, is the user the child runs as.
	Credential *syscall.Credential
	// DeathSignal is what the kernel sends the child when this process dies. Zero means SIGKILL.
	DeathSignal syscall.Signal
	// Output receives what the child writes to stdout and stderr; nil discards it.
	Output io.Writer
	// Stdout, when set, receives stdout instead of Output.
	Stdout io.Writer
}

// Process is a started child. Its methods are safe for concurrent use.
type Process struct {
	name string
	pid  int
	done chan struct{}
	err  error
	tail *tail
}

// Start runs the program in a process group of its own, so that a terminal's
// Ctrl-C reaches this process alone and children end in the order it chooses.
func Start(opts Options) (*Process, error) {
	if opts.DeathSignal == 0 {
		opts.DeathSignal = syscall.SIGKILL
	}
	p := &Process{name: opts.Name, done: make(chan struct{}), tail: &tail{next: opts.Output}}
	cmd := exec.Command(opts.Path, opts.Args...)
	cmd.Env, cmd.Dir, cmd.ExtraFiles = opts.Env, opts.Dir, opts.Files
	cmd.Stdout, cmd.Stderr = p.tail, p.tail
	if opts.Stdout != nil {
		cmd.Stdout = opts.Stdout
	}
	// A grandchild that keeps the output pipe open must not keep Wait from returning.
	cmd.WaitDelay = 2 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Credential: opts.Credential,
		Pdeathsig:  opts.DeathSignal,
	}

	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		err := cmd.Wait()
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			p.err = p.exitError(err)
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", opts.Name, err)
	}
	return p, nil
}

// Pid is the child's process id.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the child has exited.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child exited: nil for status 0, otherwise an error that ends
// with its last lines of output. Call it only after Done is closed.
func (p *Process) Err() error { return p.err }

// Tail is the child's last lines of output.
func (p *Process) Tail() string { return p.tail.String() }

// Signal sends a signal to the child alone; after it has exited it does nothing.
func (p *Process) Signal(sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(p.pid, sig)
	}
}

// Stop sends the first signal and waits; each further signal is sent when ctx
// ends or grace has passed once more. At last the whole process group is
// killed, so Stop always returns with the child gone.
func (p *Process) Stop(ctx context.Context, grace time.Duration, signals ...syscall.Signal) {
	for _, sig := range signals {
		p.Signal(sig)
		timer := time.NewTimer(grace)
		select {
		case <-p.done:
			timer.Stop()
			return
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		<-p.done
	}
}

func (p *Process) exitError(err error) error {
	lines := p.Tail()
	if lines == "" {
		return fmt.Errorf("%s ended: %w", p.name, err)
	}
	return fmt.Errorf("%s ended: %w; its last output:\n%s", p.name, err, lines)
}

// tail passes output on and remembers its last lines.
type tail struct {
	next io.Writer

	mu    sync.Mutex
	lines []string
	rest  string
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	parts := strings.Split(t.rest+string(b), "\n")
	t.rest = parts[len(parts)-1]
	if len(t.rest) > 4096 {
		t.rest = t.rest[len(t.rest)-4096:]
	}
	t.lines = append(t.lines, parts[:len(parts)-1]...)
	if extra := len(t.lines) - tailLines; extra > 0 {
		t.lines = append([]string(nil), t.lines[extra:]...)
	}
	t.mu.Unlock()
	if t.next != nil {
		// A full disk under the log must not end the child with SIGPIPE.
		_, _ = t.next.Write(b)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.Join(append(append([]string(nil), t.lines...), t.rest), "\n"))
}
