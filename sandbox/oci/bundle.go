package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// proxyAddress is where programs inside find the registry proxy.
const proxyAddress = "127.0.0.1:3128"

// guestSocket is the proxy's socket as process 1 sees it.
const guestSocket = "/.slipway/egress/proxy"

// writeBundle writes the runtime's description of the sandbox.
func (p *Provider) writeBundle(r *record) error {
	mounts, err := p.mounts(r)
	if err != nil {
		return err
	}
	spec := &specs.Spec{
		Version:  "1.0.2",
		Hostname: "slipway",
		Root:     &specs.Root{Path: p.home.rootfs(r.ID), Readonly: true},
		Process:  p.initProcess(r),
		Mounts:   mounts,
		Linux:    p.linux(r),
	}
	content, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(p.home.file(r.ID, "config.json"), content, 0o600)
	}
	if err != nil {
		return models.Wrap(models.CodeSandbox, err, "the sandbox's description cannot be written")
	}
	return nil
}

// initProcess is process 1: root inside, without privilege, and with nothing
// in its environment that a build must not see.
func (p *Provider) initProcess(r *record) *specs.Process {
	args := []string{guest.Path, guest.CommandInit}
	if len(r.AllowHosts) > 0 {
		args = append(args, proxyAddress, guestSocket)
	}
	process := p.process(r, args, "/", []string{"PATH=/usr/bin:/bin", "GOMAXPROCS=2"})
	process.User = specs.User{UID: 0, GID: 0}
	return process
}

// process is what every process in a sandbox has in common: no capability in
// any set, no way to gain one, bounded resources.
func (p *Provider) process(r *record, args []string, dir string, env []string) *specs.Process {
	return &specs.Process{
		User: identify(r).build, Args: args, Cwd: dir, Env: env,
		NoNewPrivileges: true,
		Capabilities:    &specs.LinuxCapabilities{},
		Rlimits: []specs.POSIXRlimit{
			rlimit("RLIMIT_CORE", unix.RLIMIT_CORE, 0),
			rlimit("RLIMIT_NOFILE", unix.RLIMIT_NOFILE, 65536),
			rlimit("RLIMIT_FSIZE", unix.RLIMIT_FSIZE, uint64(r.Limits.DiskBytes)),
			rlimit("RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK, 64<<10),
			rlimit("RLIMIT_MSGQUEUE", unix.RLIMIT_MSGQUEUE, 0),
			rlimit("RLIMIT_RTPRIO", unix.RLIMIT_RTPRIO, 0),
			rlimit("RLIMIT_NICE", unix.RLIMIT_NICE, 0),
		},
	}
}

// rlimit bounds a resource by want or by what this process has itself: raising
// a hard limit takes a privilege that not even root need have.
func rlimit(name string, resource int, want uint64) specs.POSIXRlimit {
	var own unix.Rlimit
	if err := unix.Getrlimit(resource, &own); err == nil && own.Max < want {
		want = own.Max
	}
	return specs.POSIXRlimit{Type: name, Hard: want, Soft: want}
}

// How processor time is shared where there is not enough: a program of the host
// has 1024. The host's own programs serve everybody, so one tenant's comes after
// them; a build can wait longest.
const (
	buildShares   = 128
	serviceShares = 256
)

func (p *Provider) linux(r *record) *specs.Linux {
	who := identify(r)
	period := uint64(100_000)
	quota := int64(r.Limits.CPUs * float64(period))
	shares := uint64(buildShares)
	if r.Service {
		shares = serviceShares
	}
	memory := &specs.LinuxMemory{Limit: &r.Limits.MemoryBytes}
	if swapAccounted() {
		// Memory and swap together: none of it may be swap.
		memory.Swap = &r.Limits.MemoryBytes
	}
	return &specs.Linux{
		UIDMappings: who.uids,
		GIDMappings: who.gids,
		CgroupsPath: p.cgroups.path(r.ID),
		Namespaces: []specs.LinuxNamespace{
			{Type: specs.UserNamespace}, {Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace},
			{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
			{Type: specs.CgroupNamespace},
		},
		Resources: &specs.LinuxResources{
			Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
			Memory:  memory,
			CPU:     &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares},
			Pids:    &specs.LinuxPids{Limit: &r.Limits.PIDs},
		},
		Seccomp:           seccomp(p.engine),
		RootfsPropagation: "rprivate",
		MaskedPaths: []string{
			"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/latency_stats",
			"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/interrupts",
			"/proc/kallsyms", "/proc/kmsg", "/proc/config.gz", "/proc/modules", "/proc/slabinfo", "/proc/vmallocinfo",
			"/proc/mdstat", "/proc/swaps", "/proc/partitions", "/proc/diskstats",
		},
		ReadonlyPaths: []string{
			"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/proc/driver", "/proc/tty",
			"/proc/pressure",
		},
	}
}

// swapAccounted says whether the kernel can bound swap per control group.
func swapAccounted() bool {
	if unified() {
		return true
	}
	_, err := os.Stat(filepath.Join(cgroupRoot, "memory/memory.memsw.limit_in_bytes"))
	return err == nil
}

// mounts are the sandbox's file systems in order. There is no /sys.
func (p *Provider) mounts(r *record) ([]specs.Mount, error) {
	disk, owner := r.Limits.DiskBytes, identify(r).build
	uid, gid := fmt.Sprintf("uid=%d", owner.UID), fmt.Sprintf("gid=%d", owner.GID)
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		tmpfs("/dev", 64<<10, "mode=755", "nosuid", "noexec"),
		tmpfs("/dev/shm", min(64<<20, disk), "mode=1777", "nosuid", "nodev", "noexec"),
		tmpfs("/tmp", disk, "mode=1777", "nosuid", "nodev"),
		tmpfs(sandbox.HomeDir, disk, "mode=755", "nosuid", "nodev", uid, gid),
		tmpfs(sandbox.WorkspaceDir, disk, "mode=755", "nosuid", "nodev", uid, gid),
	}
	guestProgram, err := ownExecutable()
	if err != nil {
		return nil, err
	}
	binds := map[string]string{guest.Path: guestProgram}
	for _, name := range append([]string{"etc/alternatives"}, systemFolders...) {
		if stat, err := os.Lstat("/" + name); err == nil && stat.IsDir() {
			binds["/"+name] = "/" + name
		}
	}
	if p.options.ToolchainDir != "" {
		binds[sandbox.ToolchainDir] = p.options.ToolchainDir
	}
	if len(r.AllowHosts) > 0 {
		binds["/.slipway/egress"] = p.home.egressDir(r.ID)
	}
	if r.ModulesSnapshot != "" {
		binds["/.slipway/snapshot"] = r.ModulesSnapshot
	}
	destinations := make([]string, 0, len(binds))
	for destination := range binds {
		destinations = append(destinations, destination)
	}
	sort.Strings(destinations)
	for _, destination := range destinations {
		mount, err := readOnlyBind(binds[destination], destination)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, mount)
	}
	// What an administrator put below /usr/local is no part of the system.
	if stat, err := os.Lstat("/usr/local"); err == nil && stat.IsDir() {
		mounts = append(mounts, tmpfs("/usr/local", 4<<10, "mode=755", "nosuid", "nodev", "ro"))
	}
	if r.ModulesSnapshot != "" && !p.copySnapshots.Load() {
		mounts = append(mounts, p.overlay(r)...)
	}
	return mounts, nil
}

func tmpfs(destination string, size int64, options ...string) specs.Mount {
	return specs.Mount{
		Destination: destination, Type: "tmpfs", Source: "tmpfs",
		Options: append(options, fmt.Sprintf("size=%d", size)),
	}
}

// overlay puts the snapshot below a tmpfs. It is reached through its own bind
// mount, since root inside cannot pass through the host's folders.
func (p *Provider) overlay(r *record) []specs.Mount {
	inside := func(name string) string { return filepath.Join(p.home.rootfs(r.ID), ".slipway", name) }
	return []specs.Mount{
		tmpfs("/.slipway/overlay", r.Limits.DiskBytes, "mode=755", "nosuid", "nodev", "tmpcopyup"),
		{
			Destination: sandbox.WorkspaceDir + "/node_modules", Type: "overlay", Source: "overlay",
			Options: []string{
				"nosuid", "nodev", "userxattr",
				"lowerdir=" + inside("snapshot"), "upperdir=" + inside("overlay/upper"), "workdir=" + inside("overlay/work"),
			},
		},
	}
}

// readOnlyBind mounts a host path. Flags the host's own mount has stay: in a
// user namespace they are locked and clearing one is refused.
func readOnlyBind(source, destination string) (specs.Mount, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(source, &stat); err != nil {
		message := fmt.Sprintf("%s cannot be mounted into the sandbox", source)
		if errors.Is(err, fs.ErrNotExist) {
			message = fmt.Sprintf("%s does not exist and cannot be mounted into the sandbox", source)
		}
		return specs.Mount{}, models.Wrap(models.CodeSandbox, err, message)
	}
	options := []string{"bind", "ro", "nosuid", "nodev"}
	for flag, option := range map[int64]string{
		unix.ST_NOEXEC: "noexec", unix.ST_NOATIME: "noatime", unix.ST_NODIRATIME: "nodiratime", unix.ST_RELATIME: "relatime",
	} {
		if stat.Flags&flag != 0 {
			options = append(options, option)
		}
	}
	sort.Strings(options)
	return specs.Mount{Destination: destination, Type: "bind", Source: source, Options: options}, nil
}

// ownExecutable is the running program, which the sandbox runs as its guest.
func ownExecutable() (string, error) {
	name, err := os.Executable()
	if err != nil || strings.HasSuffix(name, " (deleted)") {
		return "", models.Wrap(models.CodeSandbox, err,
			"the program was replaced on disk while running; restart slipway to build with the new one")
	}
	return name, nil
}
