package oci

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// Check makes a sandbox, has it look at itself, and compares; see
// sandbox.Provider. It takes a fraction of a second. It also finds out whether
// snapshots can be overlaid here or must be copied, so it comes before Create.
func (p *Provider) Check(ctx context.Context) error {
	if err := p.checkHost(); err != nil {
		return err
	}
	snapshot, remove, err := p.probeSnapshot()
	if err != nil {
		return models.Wrap(models.CodeSandbox, err, fmt.Sprintf("the sandbox folder %s cannot be written", p.home.dir))
	}
	defer remove()
	trouble, err := p.selfTest(ctx, snapshot)
	if (err != nil || trouble != "") && !p.copySnapshots.Load() && ctx.Err() == nil {
		// Once more, without what older kernels lack.
		p.copySnapshots.Store(true)
		first := err
		if trouble, err = p.selfTest(ctx, snapshot); err == nil && trouble == "" {
			p.log.WithError(first).Warn("Install snapshots are copied into sandboxes, which is slower: " +
				"this kernel's overlay file system cannot be used in them; kernels from 6.6 can")
		} else if first != nil {
			p.copySnapshots.Store(false)
			err = first
		}
	}
	if err == nil && trouble != "" {
		err = unfit("install snapshots do not work: %s", trouble)
	}
	return err
}

// probeSnapshot makes a snapshot for the self-test, where a sweeper finds it.
func (p *Provider) probeSnapshot() (folder string, remove func(), err error) {
	folder, err = os.MkdirTemp(p.home.sandboxes(), "selftest-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) }
	file := filepath.Join(folder, guest.SnapshotProbe)
	owner := identify(&record{UIDBase: sandbox.MaxUID, UIDCount: sandbox.MinUIDCount}).files
	if err = os.MkdirAll(filepath.Dir(file), 0o755); err == nil {
		err = os.WriteFile(file, []byte("published"), 0o644)
	}
	for _, name := range []string{folder, filepath.Dir(file), file} {
		if err == nil {
			err = os.Lchown(name, owner.UID, owner.GID)
		}
	}
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	if err != nil {
		remove()
	}
	return folder, remove, err
}

// selfTest makes one sandbox and judges it. What is only wrong with snapshots
// is said in trouble.
func (p *Provider) selfTest(ctx context.Context, snapshot string) (trouble string, err error) {
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	spec := sandbox.Spec{
		ID: "selftest-" + hex.EncodeToString(random), UIDBase: sandbox.MaxUID, UIDCount: sandbox.MinUIDCount,
		Limits:          sandbox.Limits{MemoryBytes: 256 << 20, CPUs: 1, PIDs: 128, DiskBytes: 16 << 20},
		ModulesSnapshot: snapshot,
	}
	made, err := p.Create(ctx, spec)
	if err != nil {
		return "", err
	}
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.options.StartTimeout)
		defer cancel()
		if err := made.Destroy(tidy); err != nil {
			p.log.WithError(err).Error("Self-test sandbox left for the sweeper")
		}
	}()
	var out, said bytes.Buffer
	result, err := made.Exec(ctx, sandbox.Command{
		Args: []string{guest.Path, guest.CommandProbe}, Stdout: &out, Stderr: &said, Timeout: 20 * time.Second,
	})
	if err != nil {
		return "", err
	}
	if result.ExitCode != 0 {
		return "", unfit("the self-test ended with exit code %d: %s", result.ExitCode, strings.TrimSpace(said.String()))
	}
	var probe guest.Probe
	if err := json.Unmarshal(out.Bytes(), &probe); err != nil {
		return "", unfit("the self-test said %q", out.String())
	}
	views := []guest.Probe{probe}
	if p.engine.ownKernel {
		views = p.hostViews(spec.ID, probe)
	}
	if len(views) == 0 {
		return "", unfit("none of its processes can be found")
	}
	for _, view := range views {
		err = errors.Join(err, p.judge(&view, spec))
	}
	return probe.Overlay, errors.Join(err, p.judgeLimits(spec))
}

func unfit(format string, args ...any) error {
	return models.Errorf(models.CodeSandbox, "this host cannot isolate builds: "+format, args...)
}

// checkHost looks for what is missing before anything is started.
func (p *Provider) checkHost() error {
	if _, err := exec.LookPath(p.options.Runtime); err != nil {
		return models.Wrap(models.CodeSandbox, err, fmt.Sprintf(
			"the sandbox runtime %q is not installed; %s", p.options.Runtime, p.engine.install))
	}
	if p.engine.ownKernel && rootless() {
		return unfit("%s needs slipway to run as root; without, use runc", p.options.Runtime)
	}
	if len(hierarchies()) == 0 {
		return unfit("there are no control groups at %s, so memory, processes and processors cannot be limited", cgroupRoot)
	}
	if strings.ContainsAny(p.home.dir, ":,\\\n") {
		return unfit("the sandbox folder %q has a character that mounts cannot carry; choose another run folder", p.home.dir)
	}
	if err := p.home.prepare(); err != nil {
		return models.Wrap(models.CodeSandbox, err, fmt.Sprintf("the sandbox folder %s cannot be written", p.home.dir))
	}
	if rootless() {
		return p.checkDelegation()
	}
	for folder := p.home.dir; ; folder = filepath.Dir(folder) {
		stat, err := os.Stat(folder)
		if err != nil {
			return models.Wrap(models.CodeSandbox, err, "the sandbox folder cannot be reached")
		}
		if stat.Mode().Perm()&0o001 == 0 {
			return unfit("sandboxes cannot pass through the folder %s; choose another run folder or: chmod o+x %s", folder, folder)
		}
		if folder == "/" {
			return nil
		}
	}
}

// checkDelegation says what a user without privilege lacks. The kernel lets it
// have namespaces; limits it can only set below control groups it was given.
func (p *Provider) checkDelegation() error {
	for _, root := range hierarchies() {
		parent := filepath.Join(root, p.cgroups.parent)
		if err := unix.Access(parent, unix.W_OK); err != nil {
			return unfit("the control group %s is not writable for this user (%s); run slipway as root, or give the user control groups of its own",
				parent, err)
		}
	}
	return nil
}

// judge compares what the sandbox saw with what it must see.
func (p *Provider) judge(probe *guest.Probe, spec sandbox.Spec) error {
	var wrong []string
	expect := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	who := identify(newRecord(spec))
	for _, ids := range []struct {
		name, got string
		want      specs.LinuxIDMapping
	}{{"uids", probe.UIDMap, who.uids[0]}, {"gids", probe.GIDMap, who.gids[0]}} {
		want := fmt.Sprintf("%d %d %d", ids.want.ContainerID, ids.want.HostID, ids.want.Size)
		got := strings.Join(strings.Fields(ids.got), " ")
		expect(got == want && ids.want.HostID != 0, "%s are mapped %q instead of %q", ids.name, got, want)
	}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		value, known := probe.Status[set]
		expect(known && strings.Trim(value, "0") == "", "a process has capabilities (%s %s)", set, value)
	}
	expect(probe.Status["NoNewPrivs"] == "1", "a process may gain privileges")
	expect(probe.Status["Seccomp"] == "2", "there is no system call filter")
	for group := range strings.FieldsSeq(probe.Status["Groups"]) {
		// Without root, groups cannot be dropped; those not mapped show as
		// the overflow group and give what the provider's own user has.
		expect(group == fmt.Sprint(who.build.GID) || rootless(), "a process has the extra group %s", group)
	}
	for _, name := range p.engine.namespaces() {
		own, err := os.Readlink("/proc/self/ns/" + name)
		theirs := probe.Namespaces[name]
		expect(err == nil && theirs != "" && theirs != own, "it shares the host's %s namespace", name)
	}
	expect(len(probe.Interfaces) == 1 && probe.Interfaces[0] == "lo", "it has network interfaces %v", probe.Interfaces)
	for _, act := range guest.Permitted {
		outcome, tried := probe.Attempts[act]
		expect(tried && outcome == "", "%q fails in it: %s", act, outcome)
	}
	for _, act := range guest.Forbidden {
		outcome, tried := probe.Attempts[act]
		expect(tried && outcome != "", "%q succeeds in it", act)
	}
	if len(wrong) > 0 {
		return unfit("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// judgeLimits reads back what the kernel made of the limits.
func (p *Provider) judgeLimits(spec sandbox.Spec) error {
	memory := p.limitSet(spec.ID, spec.Limits.MemoryBytes, "memory.limit_in_bytes", "memory.max")
	pids := p.limitSet(spec.ID, spec.Limits.PIDs, "pids.max")
	switch {
	case !memory:
		return unfit("the memory limit has no effect; the memory control group controller must be enabled")
	case !pids:
		return unfit("the process limit has no effect; the pids control group controller must be enabled")
	}
	for _, folder := range p.cgroups.folders(spec.ID) {
		for _, name := range []string{"cpu.cfs_quota_us", "cpu.max"} {
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				return nil
			}
		}
	}
	return unfit("the processor limit has no effect; the cpu control group controller must be enabled")
}

func (p *Provider) limitSet(id string, want int64, names ...string) bool {
	for _, folder := range p.cgroups.folders(id) {
		for _, name := range names {
			var got int64
			_, err := fmt.Sscan(firstLine(filepath.Join(folder, name)), &got)
			// The kernel rounds memory to pages.
			if err == nil && got > 0 && got <= want && want-got < int64(unix.Getpagesize()) {
				return true
			}
		}
	}
	return false
}
