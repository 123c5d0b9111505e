package oci

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/sandbox/shim"
)

// stdio is what a launched process has for its first three files; nil is
// nothing.
type stdio struct{ in, out, err *os.File }

// launched is a process the runtime started; the shim beside it lives as long.
type launched struct{ ended chan struct{} }

// wait returns when the process has ended and was reaped.
func (l *launched) wait(ctx context.Context) {
	if l == nil {
		return
	}
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
}

// launch calls the OCI runtime under a shim and returns when the runtime has
// done its part. Until then both die with this process: a runtime left alone
// after a crash would finish a sandbox that a sweeper has just removed. The
// kernel ties a child to the thread that started it, so that thread is kept.
func (p *Provider) launch(ctx context.Context, id string, files stdio, extra []*os.File, args ...string) (*launched, error) {
	program, err := exec.LookPath(p.options.Runtime)
	if err != nil {
		return nil, err
	}
	executable, err := ownExecutable()
	if err != nil {
		return nil, err
	}
	status, theirStatus, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer status.Close()
	cmd := shim.Command(executable, theirStatus, extra, p.engine.command(program, p.home, id, args...)...)
	cmd.Dir, cmd.Env = "/", runtimeEnvironment()
	// An interface that holds a nil file would not be nil.
	if files.in != nil {
		cmd.Stdin = files.in
	}
	if files.out != nil {
		cmd.Stdout = files.out
	}
	if files.err != nil {
		cmd.Stderr = files.err
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	running := &launched{ended: make(chan struct{})}
	begun := make(chan error, 1)
	var failed error
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(running.ended)
		err := cmd.Start()
		theirStatus.Close()
		begun <- err
		if err == nil {
			failed = cmd.Wait()
		}
	}()
	if err := <-begun; err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = status.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, _ := io.ReadAll(io.LimitReader(status, 64))
	if string(said) == shim.Launched {
		return running, nil
	}
	// Either the runtime failed, and the shim is ending, or time is up.
	if ctx.Err() != nil {
		if p.engine.ownKernel {
			// Its exec has a child that would start the command after all.
			// The group is the shim's, of which nobody else is.
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		}
		_ = cmd.Process.Kill()
	}
	<-running.ended
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if failed == nil {
		failed = fmt.Errorf("the shim said %q", said)
	}
	return nil, failed
}

// runtimeEnvironment is all the runtime gets of this process's environment, so
// that nothing secret can pass through it into a sandbox.
func runtimeEnvironment() []string {
	var env []string
	for _, name := range []string{"PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} {
		if value := os.Getenv(name); value != "" && !strings.ContainsRune(value, 0) {
			env = append(env, name+"="+value)
		}
	}
	return append(env, "LANG=C.UTF-8")
}
