package oci

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroups finds the control groups of sandboxes: one folder in the unified
// hierarchy (version 2), or one per controller (version 1), named by prefix
// and id below the same parent in each.
type cgroups struct{ parent, prefix string }

// path names a sandbox's control group from the root of any hierarchy.
func (c cgroups) path(id string) string { return filepath.Join("/", c.parent, c.prefix+id) }

// cgroupParent is where this process may make control groups; see Options.
func cgroupParent(options Options) string {
	if options.CgroupParent != "" || !rootless() || !unified() {
		return options.CgroupParent
	}
	// "0::/user.slice/…/app.slice/slipway.scope": a group with processes
	// of its own may not pass controllers on, its parent may.
	membership, _ := os.ReadFile("/proc/self/cgroup")
	_, own, _ := strings.Cut(strings.TrimSpace(string(membership)), "0::")
	return filepath.Dir(own)
}

// hierarchies are the mounted roots: the unified one first.
func hierarchies() []string {
	var roots []string
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil
	}
	if unified() {
		return []string{cgroupRoot}
	}
	for _, entry := range entries {
		// Links like cpu -> cpu,cpuacct lead to folders listed themselves.
		if entry.IsDir() {
			roots = append(roots, filepath.Join(cgroupRoot, entry.Name()))
		}
	}
	return roots
}

func unified() bool {
	var stat unix.Statfs_t
	return unix.Statfs(cgroupRoot, &stat) == nil && stat.Type == unix.CGROUP2_SUPER_MAGIC
}

// folders are the control group folders that exist for id.
func (c cgroups) folders(id string) []string {
	var found []string
	for _, root := range hierarchies() {
		folder := filepath.Join(root, c.path(id))
		if _, err := os.Stat(folder); err == nil {
			found = append(found, folder)
		}
	}
	return found
}

// ids lists the sandboxes of which a control group is left.
func (c cgroups) ids() []string {
	var ids []string
	for _, root := range hierarchies() {
		matches, _ := filepath.Glob(filepath.Join(root, c.path("*")))
		for _, match := range matches {
			ids = append(ids, strings.TrimPrefix(filepath.Base(match), c.prefix))
		}
	}
	return ids
}

// pids lists the processes in any of a sandbox's control groups.
func (c cgroups) pids(id string) []int {
	seen := map[int]bool{}
	var pids []int
	for _, folder := range c.folders(id) {
		content, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err == nil && pid > 0 && !seen[pid] {
				seen[pid] = true
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// killPoll is how long to wait between looks at dying processes.
const killPoll = 2 * time.Millisecond

// kill ends every process of a sandbox but spare (0 spares none) and returns
// when they are gone. Freezing first makes that certain: nothing forks while
// it is being counted.
func (c cgroups) kill(ctx context.Context, id string, spare int) error {
	for {
		victims := c.victims(id, spare)
		if len(victims) == 0 {
			return nil
		}
		c.freeze(ctx, id)
		for _, pid := range c.victims(id, spare) {
			killMember(pid, c.prefix+id)
		}
		c.thaw(id)
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill the processes of sandbox %s: %w", id, context.Cause(ctx))
		case <-time.After(killPoll):
		}
	}
}

func (c cgroups) victims(id string, spare int) []int {
	var victims []int
	for _, pid := range c.pids(id) {
		if pid != spare {
			victims = append(victims, pid)
		}
	}
	return victims
}

// killMember kills a process if it still belongs to the control group: a
// number may have been given to another process since it was read.
func killMember(pid int, group string) {
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(handle)
	if isMember(pid, group) {
		_ = unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0)
	}
}

// isMember says whether a process is in a control group of that name.
func isMember(pid int, group string) bool {
	membership, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && strings.Contains(string(membership), "/"+group+"\n")
}

// freezeTimeout is how long a group may take to freeze; killing goes on without.
const freezeTimeout = 500 * time.Millisecond

func (c cgroups) freeze(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	for _, folder := range c.folders(id) {
		switch {
		case os.WriteFile(filepath.Join(folder, "freezer.state"), []byte("FROZEN"), 0) == nil:
			waitFor(ctx, func() bool { return firstLine(filepath.Join(folder, "freezer.state")) == "FROZEN" })
		case unified() && os.WriteFile(filepath.Join(folder, "cgroup.freeze"), []byte("1"), 0) == nil:
			waitFor(ctx, func() bool { return counter(filepath.Join(folder, "cgroup.events"), "frozen") == 1 })
		}
	}
}

func (c cgroups) thaw(id string) {
	for _, folder := range c.folders(id) {
		_ = os.WriteFile(filepath.Join(folder, "freezer.state"), []byte("THAWED"), 0)
		if unified() {
			_ = os.WriteFile(filepath.Join(folder, "cgroup.freeze"), []byte("0"), 0)
		}
	}
}

func waitFor(ctx context.Context, condition func() bool) {
	for !condition() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// remove deletes the control groups, which must be empty of processes.
func (c cgroups) remove(ctx context.Context, id string) error {
	for {
		var failed error
		for _, folder := range c.folders(id) {
			if err := removeGroup(folder); err != nil {
				failed = err
			}
		}
		if failed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove the control groups of sandbox %s: %w", id, failed)
		case <-time.After(killPoll):
		}
	}
}

// removeGroup removes a control group and those below it, deepest first.
func removeGroup(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeGroup(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(folder); err != nil && err != unix.ENOENT {
		return err
	}
	return nil
}

// events counts what the limits did so far.
type events struct{ oomKills, pidsRefused int64 }

func (c cgroups) events(id string) events {
	var e events
	for _, folder := range c.folders(id) {
		for _, name := range []string{"memory.oom_control", "memory.events"} {
			e.oomKills = max(e.oomKills, counter(filepath.Join(folder, name), "oom_kill"))
		}
		e.pidsRefused = max(e.pidsRefused, counter(filepath.Join(folder, "pids.events"), "max"))
	}
	return e
}

// counter reads one value of a file of "name value" lines; 0 when absent.
func counter(file, name string) int64 {
	content, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer content.Close()
	lines := bufio.NewScanner(content)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), " "); ok && key == name {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

func firstLine(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return line
}
