// Package oci makes sandboxes on this host with an OCI runtime (runc; runsc by
// its differences, see engine).
//
// A sandbox is a container of its own user, pid, network, mount, ipc, uts and
// cgroup namespace. Root inside is an unprivileged uid of the organization's
// range outside, holds no capability, and cannot gain any; builds run as
// another user still. The root file system is read-only; what may be written
// lives in memory and goes with the container. There is no network but the
// registry proxy's socket.
//
// What exists is on disk and in the kernel, never only in this process's
// memory, so that another process can find and remove it.
package oci

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/monitor"
)

// Options are what a Provider is made of.
type Options struct {
	// Runtime is the OCI runtime's program: a name found in PATH or a path.
	// Default "runc" (SANDBOX_OCI_RUNTIME).
	Runtime string
	// StateDir is this installation's folder. Providers with the same one see
	// the same sandboxes.
	StateDir string
	// RunDir holds the sandboxes themselves. Everyone must be able to pass
	// through it, since root inside is nobody outside. Default for root: a
	// folder of /run/slipway chosen by StateDir, which a reboot clears; else
	// the folder "sandboxes" of StateDir.
	RunDir string
	// CgroupParent is the control group below which sandboxes get theirs, as a
	// path from the hierarchies' roots. Default "/" for root; for others the
	// parent of this process's own group in the unified hierarchy, which a
	// systemd user session may write.
	CgroupParent string
	// ToolchainDir is the installed toolchain, whose bin folder goes first in
	// PATH. Empty for none.
	ToolchainDir string
	// AllowPrivate exempts addresses from the proxy's refusal of private,
	// loopback and other special addresses. See egress.Options.
	AllowPrivate []netip.Prefix
	// CAFiles are certificates the sandbox trusts besides the system's. Those
	// that NODE_EXTRA_CA_CERTS, SSL_CERT_FILE and npm_config_cafile name in
	// this process's environment are added.
	CAFiles []string
	// StartTimeout bounds making a sandbox. Default 30 s.
	StartTimeout time.Duration
	Log          logrus.FieldLogger
}

// Provider is the OCI sandbox.Provider.
type Provider struct {
	options Options
	engine  engine
	home    home
	cgroups cgroups
	log     logrus.FieldLogger

	// copySnapshots is set where the runtime has no overlays, and by Check
	// where the kernel's do not do.
	copySnapshots atomic.Bool

	mu      sync.Mutex
	proxies map[string]*proxy
	// adopters are the shims beside the sandboxes this process made.
	adopters map[string]*launched
	// busy holds a sandbox's one token for running commands.
	busy map[string]chan struct{}
	// services are those this process started, watcher is what holds them.
	services map[string]*service
	watcher  *monitor.Monitor
	// starting has room for those that start at the same time.
	starting chan struct{}

	etcMu sync.Mutex
	// etc is the /etc that services share, once made.
	etc string
}

var _ sandbox.Provider = (*Provider)(nil)

// New makes a provider. It touches nothing yet: Check says whether it works.
func New(options Options) (*Provider, error) {
	if options.StateDir == "" {
		return nil, models.Errorf(models.CodeValidation, "the sandbox provider needs a state folder")
	}
	stateDir, err := filepath.Abs(options.StateDir)
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the sandbox state folder cannot be named")
	}
	options.StateDir = stateDir
	if options.Runtime == "" {
		options.Runtime = "runc"
	}
	if options.StartTimeout <= 0 {
		options.StartTimeout = 30 * time.Second
	}
	if options.Log == nil {
		options.Log = logrus.StandardLogger()
	}
	if options.ToolchainDir != "" {
		if options.ToolchainDir, err = filepath.Abs(options.ToolchainDir); err != nil {
			return nil, models.Wrap(models.CodeSandbox, err, "the toolchain folder cannot be named")
		}
	}
	h := newHome(options)
	p := &Provider{
		options: options, engine: engineOf(options.Runtime), home: h,
		cgroups: cgroups{parent: cgroupParent(options), prefix: h.prefix},
		log:     options.Log, proxies: map[string]*proxy{}, busy: map[string]chan struct{}{},
		adopters: map[string]*launched{}, services: map[string]*service{},
		starting: make(chan struct{}, max(4, 2*runtime.NumCPU())),
	}
	p.copySnapshots.Store(!p.engine.overlays)
	return p, nil
}

// Name is "oci".
func (p *Provider) Name() string { return "oci" }

var idPattern = regexp.MustCompile(`^[a-z0-9_][a-z0-9_-]{0,63}$`)

func checkID(id string) error {
	if !idPattern.MatchString(id) {
		return models.Errorf(models.CodeValidation, "%q is no sandbox id", id)
	}
	return nil
}

func checkSpec(spec sandbox.Spec) error {
	if err := checkID(spec.ID); err != nil {
		return err
	}
	l := spec.Limits
	switch {
	case spec.UIDBase < 1000 || spec.UIDCount < sandbox.MinUIDCount || uint64(spec.UIDBase)+uint64(spec.UIDCount) > 1<<32-2:
		return models.Errorf(models.CodeValidation, "uids %d+%d are no range for a sandbox: it needs %d ids and none of the system's",
			spec.UIDBase, spec.UIDCount, sandbox.MinUIDCount)
	case l.MemoryBytes < 32<<20 || l.CPUs < 0.01 || l.PIDs < 32 || l.DiskBytes < 1<<20:
		return models.Errorf(models.CodeValidation,
			"a sandbox needs at least 32 MiB of memory, 0.01 CPUs, 32 processes and 1 MiB of disk")
	case l.DiskBytes >= l.MemoryBytes:
		return models.Errorf(models.CodeValidation, "the disk limit (%d) must be below the memory limit (%d), of which files are part",
			l.DiskBytes, l.MemoryBytes)
	}
	return nil
}

// Create makes a sandbox; see sandbox.Provider.
func (p *Provider) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.StartTimeout)
	defer cancel()
	unlock, err := p.home.lock(ctx, spec.ID)
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the sandbox is in use by another attempt")
	}
	defer unlock()
	if err := p.destroy(ctx, spec.ID); err != nil {
		return nil, err
	}
	box, err := p.create(ctx, spec)
	if err != nil {
		// The caller's context may be what ended it; tidying must not.
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.options.StartTimeout)
		defer cancel()
		if tidyErr := p.destroy(tidy, spec.ID); tidyErr != nil {
			p.log.WithError(tidyErr).WithField("sandbox", spec.ID).Error("Half-made sandbox left for the sweeper")
		}
		return nil, err
	}
	return box, nil
}

func (p *Provider) create(ctx context.Context, spec sandbox.Spec) (*box, error) {
	record := newRecord(spec)
	if err := p.home.write(record); err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the sandbox's folder cannot be written")
	}
	if err := p.buildRootfs(record); err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the sandbox's file system cannot be prepared")
	}
	if len(record.AllowHosts) > 0 {
		if err := p.startProxy(record); err != nil {
			return nil, err
		}
	}
	if err := p.writeBundle(record); err != nil {
		return nil, err
	}
	pid, err := p.start(ctx, record)
	if err != nil {
		return nil, err
	}
	made := newBox(p, record, pid)
	if record.ModulesSnapshot != "" && p.copySnapshots.Load() {
		return made, made.copySnapshot(ctx)
	}
	return made, nil
}

// Open finds a live sandbox; see sandbox.Provider.
func (p *Provider) Open(ctx context.Context, id string) (sandbox.Sandbox, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	unlock, err := p.home.lock(ctx, id)
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the sandbox is in use by another attempt")
	}
	defer unlock()
	record, err := p.home.read(id)
	if err != nil || record.Service {
		return nil, gone(id)
	}
	pid, err := p.initPID(id)
	if err != nil {
		return nil, gone(id)
	}
	if len(record.AllowHosts) > 0 {
		if err := p.startProxy(record); err != nil {
			return nil, err
		}
	}
	return newBox(p, record, pid), nil
}

func gone(id string) error {
	return models.Wrap(models.CodeSandbox, sandbox.ErrGone, fmt.Sprintf("sandbox %s is gone; the build starts again in a new one", id))
}

// Destroy removes everything of id; see sandbox.Provider.
func (p *Provider) Destroy(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	unlock, err := p.home.lock(ctx, id)
	if err != nil {
		return models.Wrap(models.CodeSandbox, err, "the sandbox is in use by another attempt")
	}
	defer unlock()
	return p.destroy(ctx, id)
}

// Sweep destroys what keep does not want; see sandbox.Provider.
func (p *Provider) Sweep(ctx context.Context, keep func(id string) bool) ([]string, error) {
	ids, err := p.home.ids()
	if err != nil {
		return nil, models.Wrap(models.CodeSandbox, err, "the sandboxes cannot be listed")
	}
	ids = append(ids, p.cgroups.ids()...)
	slices.Sort(ids)
	var removed []string
	var first error
	for _, id := range slices.Compact(ids) {
		if checkID(id) != nil || keep(id) {
			continue
		}
		if err := p.Destroy(ctx, id); err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		removed = append(removed, id)
	}
	return removed, first
}

// Close stops this process's proxies, ends its services and leaves the other
// sandboxes. Without any, it leaves no folder either.
func (p *Provider) Close() error {
	failed := p.endServices()
	p.mu.Lock()
	proxies := p.proxies
	p.proxies = map[string]*proxy{}
	p.mu.Unlock()
	for _, proxy := range proxies {
		proxy.stop()
	}
	p.home.removeEmpty()
	return failed
}
