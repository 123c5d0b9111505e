package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// start runs the container and returns when its process 1 is ready, with that
// process's number on the host.
func (p *Provider) start(ctx context.Context, r *record) (int, error) {
	output, theirs, err := os.Pipe()
	if err != nil {
		return 0, models.Wrap(models.CodeSandbox, err, "the sandbox cannot be started")
	}
	defer output.Close()
	started, err := p.launch(ctx, r.ID, stdio{nil, theirs, theirs}, nil,
		"run", "--detach", "--bundle", p.home.sandbox(r.ID), "--pid-file", p.home.file(r.ID, "pid"), r.ID)
	theirs.Close()
	if err == nil {
		p.mu.Lock()
		p.adopters[r.ID] = started
		p.mu.Unlock()
	}
	if err != nil {
		return 0, p.startError(r, err, output)
	}
	if err := awaitReady(ctx, output); err != nil {
		return 0, models.Wrap(models.CodeSandbox, err, "the sandbox's first process did not start")
	}
	return p.initPID(r.ID)
}

func awaitReady(ctx context.Context, output *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = output.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(output, 8<<10))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if string(said) != guest.ReadyLine {
		return fmt.Errorf("it said %q", said)
	}
	return nil
}

// startError says what the runtime said, which is what an operator needs.
func (p *Provider) startError(r *record, err error, output *os.File) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return p.runtimeMissing(err)
	}
	_ = output.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	said, _ := io.ReadAll(io.LimitReader(output, 8<<10))
	reason := p.runtimeSaid(r.ID)
	if reason == "" {
		reason = strings.TrimSpace(string(said))
	}
	return models.Wrap(models.CodeSandbox, fmt.Errorf("%w: %s", err, reason),
		"the sandbox could not be started on this host: "+reason)
}

func (p *Provider) runtimeMissing(err error) error {
	return models.Wrap(models.CodeSandbox, err, fmt.Sprintf(
		"the sandbox runtime %q is not installed; %s", p.options.Runtime, p.engine.install))
}

// runtimeSaid is the last error in the runtime's log.
func (p *Provider) runtimeSaid(id string) string {
	content, err := os.ReadFile(p.home.file(id, "runtime.log"))
	if err != nil {
		return ""
	}
	last := ""
	for line := range bytes.Lines(content) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && (entry.Level == "error" || entry.Level == "fatal") {
			last = entry.Msg
		}
	}
	return last
}

// initPID is process 1's number on the host, if it is alive.
func (p *Provider) initPID(id string) (int, error) {
	content, err := os.ReadFile(p.home.file(id, "pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("pid of sandbox %s: %w", id, err)
	}
	if !p.alive(id, pid) {
		return 0, gone(id)
	}
	return pid, nil
}

// alive says whether pid is a member of the sandbox's control group: its
// number alone may belong to anything after a reboot or a crash.
func (p *Provider) alive(id string, pid int) bool {
	for _, member := range p.cgroups.pids(id) {
		if member == pid {
			return true
		}
	}
	return false
}

// destroy removes all there may be of id, whatever state it is in. The caller
// holds the lock.
func (p *Provider) destroy(ctx context.Context, id string) error {
	p.stopProxy(id)
	p.mu.Lock()
	delete(p.busy, id)
	running := p.services[id]
	p.mu.Unlock()
	if running != nil {
		if err := running.Kill(); err != nil {
			return err
		}
		running.wait(ctx)
	}
	// The kernel ends everything in a pid namespace with its process 1, which
	// is among those killed here.
	if err := p.cgroups.kill(ctx, id, 0); err != nil {
		return models.Wrap(models.CodeSandbox, err, "the sandbox's processes cannot be killed")
	}
	p.mu.Lock()
	adopter := p.adopters[id]
	delete(p.adopters, id)
	p.mu.Unlock()
	adopter.wait(ctx)
	if _, err := os.Stat(filepath.Join(p.home.runtimeDir(), id)); err == nil {
		// The runtime's own clean-up; what it cannot do is done below. A service
		// leaves nothing that is not.
		if record, err := p.home.read(id); p.home.exists(id) && (err != nil || !record.Service) {
			_, _ = p.launch(ctx, id, stdio{}, nil, "delete", "--force", id)
		}
		if err := os.RemoveAll(filepath.Join(p.home.runtimeDir(), id)); err != nil {
			return models.Wrap(models.CodeSandbox, err, "the runtime's state cannot be removed")
		}
	}
	if err := p.cgroups.remove(ctx, id); err != nil {
		return models.Wrap(models.CodeSandbox, err, "the sandbox's control groups cannot be removed")
	}
	if err := unmountBelow(p.home.sandbox(id)); err != nil {
		return models.Wrap(models.CodeSandbox, err, "the sandbox's mounts cannot be removed")
	}
	if err := os.RemoveAll(p.home.sandbox(id)); err != nil {
		return models.Wrap(models.CodeSandbox, err, "the sandbox's folder cannot be removed")
	}
	p.mu.Lock()
	if p.services[id] == running {
		delete(p.services, id)
	}
	p.mu.Unlock()
	return nil
}

// unmountBelow unmounts what is mounted in a folder of this process's own
// mount namespace. A sandbox's mounts live in another and end with it; this is
// for a runtime that was killed at the wrong moment.
func unmountBelow(folder string) error {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var targets []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], folder+"/") {
			targets = append(targets, fields[4])
		}
	}
	// The last mounted lies on top.
	for i := len(targets) - 1; i >= 0; i-- {
		if err := unix.Unmount(targets[i], unix.MNT_DETACH); err != nil && err != unix.EINVAL {
			return fmt.Errorf("unmount %s: %w", targets[i], err)
		}
	}
	return nil
}
