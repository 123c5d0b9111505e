package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/slipwayhq/slipway/sandbox/guest"
)

// killInsideTimeout bounds killing inside; then the sandbox goes as a whole.
const killInsideTimeout = 10 * time.Second

// killLeft ends all that a command left running, and only that.
func (b *box) killLeft(ctx context.Context) error {
	p, id := b.provider, b.record.ID
	if !p.engine.ownKernel {
		return p.cgroups.kill(ctx, id, b.pid)
	}
	inside, cancel := context.WithTimeout(ctx, killInsideTimeout)
	defer cancel()
	err := b.killInside(inside)
	if err == nil {
		return nil
	}
	// The host cannot tell process 1 from the others, so they end together.
	p.log.WithError(err).WithField("sandbox", id).Warn("Sandbox killed: what its command left could not be")
	return p.cgroups.kill(ctx, id, 0)
}

// killInside has a guest kill all but process 1 until the runtime's kernel,
// which is no part of the build, says that it is alone. A kernel that does not
// answer is an error: want of memory or threads may have ended it.
func (b *box) killInside(ctx context.Context) error {
	for b.provider.alive(b.record.ID, b.pid) {
		left, err := b.processesInside(ctx)
		if err != nil {
			return err
		}
		if left == 1 {
			return nil
		}
		// Whether it did its work is seen above.
		_ = b.runKiller(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("%d processes are left: %w", left, context.Cause(ctx))
		}
	}
	return nil
}

// processesInside counts the sandbox's processes.
func (b *box) processesInside(ctx context.Context) (int, error) {
	said, err := b.callRuntime(ctx, "ps", "--format", "json", b.record.ID)
	if err != nil {
		return 0, err
	}
	var processes []int
	if err := json.Unmarshal(said, &processes); err != nil {
		return 0, fmt.Errorf("list the processes inside: %w", err)
	}
	return len(processes), nil
}

// runKiller runs the guest that kills. It is root inside, so that the build
// cannot kill it first, with the one privilege of signalling another user.
func (b *box) runKiller(ctx context.Context) error {
	killer := b.provider.process(b.record, []string{guest.Path, guest.CommandKill}, "/", []string{"GOMAXPROCS=1"})
	killer.User = specs.User{UID: 0, GID: 0}
	signal := []string{"CAP_KILL"}
	killer.Capabilities = &specs.LinuxCapabilities{Bounding: signal, Permitted: signal, Effective: signal}
	description, err := json.Marshal(killer)
	if err != nil {
		return err
	}
	file := b.provider.home.file(b.record.ID, "killer.json")
	if err := os.WriteFile(file, description, 0o600); err != nil {
		return err
	}
	_, err = b.callRuntime(ctx, "exec", "--process", file, b.record.ID)
	return err
}

// callRuntime calls the runtime for something that starts nothing lasting.
func (b *box) callRuntime(ctx context.Context, args ...string) ([]byte, error) {
	p := b.provider
	program, err := exec.LookPath(p.options.Runtime)
	if err != nil {
		return nil, err
	}
	argv := p.engine.command(program, p.home, b.record.ID, args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = "/", runtimeEnvironment()
	// What it started may hold its output longer than it lives.
	cmd.WaitDelay = time.Second
	said, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%s: %w: %s", args[0], err, bytes.TrimSpace(failed.Stderr))
	}
	return said, err
}

// hostViews are what the host sees of each process that is a sandbox to it,
// with what the probe says of itself. The user map and the namespaces inside
// are inventions of the runtime's kernel; those of the kernel's own processes
// are what holds it.
func (p *Provider) hostViews(id string, inside guest.Probe) []guest.Probe {
	var views []guest.Probe
	for _, pid := range p.cgroups.pids(id) {
		proc := filepath.Join("/proc", fmt.Sprint(pid))
		view := inside
		view.UIDMap, view.GIDMap = readTrimmed(proc+"/uid_map"), readTrimmed(proc+"/gid_map")
		view.Namespaces = map[string]string{}
		for _, name := range p.engine.namespaces() {
			view.Namespaces[name], _ = os.Readlink(proc + "/ns/" + name)
		}
		// One that ended meanwhile shows nothing; one that lives showed all.
		if running(proc) {
			views = append(views, view)
		}
	}
	return views
}

// running says whether a process, by its folder in /proc, has not ended.
func running(proc string) bool {
	stat := readTrimmed(proc + "/stat")
	_, state, found := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	return found && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func readTrimmed(file string) string {
	content, _ := os.ReadFile(file)
	return strings.TrimSpace(string(content))
}
