package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/activities"
	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/oci"
	"github.com/slipwayhq/slipway/toolchain"
	"github.com/slipwayhq/slipway/webhook"
	"github.com/slipwayhq/slipway/worker"
	"github.com/slipwayhq/slipway/workflows"
)

// newAPI makes the gateway.
func (p *platform) newAPI() (*api.Server, error) {
	c := p.config
	people, err := p.people()
	if err != nil {
		return nil, err
	}
	return api.New(api.Options{
		Store: p.store, Blobs: p.blobs, Variables: p.variables(), Temporal: p.temporal, Log: p.log, Version: version, Environment: c.Environment,
		Metrics: p.metrics, Tracer: p.tracing.Gateway(),
		Start: func(ctx context.Context, d models.Deployment) (string, error) {
			return workflows.Start(ctx, p.temporal, d, c.Temporal.Queue)
		},
		CheckDomain: func(ctx context.Context, d models.Domain) (string, error) {
			return workflows.CheckDomain(ctx, p.temporal, d, c.Domains.VerifyTimeout, c.Temporal.Queue)
		},
		StartRollout: func(ctx context.Context, r models.Rollout) (string, error) {
			return workflows.StartRollout(ctx, p.temporal, r, c.Temporal.Queue)
		},
		CancelRollout: func(ctx context.Context, id string) error { return workflows.CancelRollout(ctx, p.temporal, id) },
		Sessions:      people, Auth: people.Handler(), Mail: people, AppURL: c.AppURL(), Turnstile: c.Auth.TurnstileSecret != "",
		WebhookVault: webhook.NewVault(p.key), WebhookRules: p.webhookRules(),
		Deliver: func(ctx context.Context, d models.Delivery) (string, error) {
			return workflows.Redeliver(ctx, p.temporal, d, c.Temporal.Queue)
		},
		CNAMETarget: c.CNAME(),
		BuildQueue:  c.Temporal.BuildQueue(), ActiveTimeout: c.Deploy.MaxTimeout(), ParkTimeout: c.Deploy.ParkTimeout,
		SiteURL: c.Dispatch.SiteURL, Domain: c.Dispatch.Domain, Reserved: c.Dispatch.ReservedNames(), Origins: c.Origins(),
		Addresses: clientaddr.New(c.Auth.TrustedProxies), Rates: rates(c),
		Limits: api.Limits{BodyBytes: c.API.MaxBody, Files: c.API.MaxFiles, FileBytes: c.API.MaxFile, PathBytes: c.API.MaxPath, ClientConnections: clientConnections(c.API.ClientConnections)},
	})
}

// webhookRules say where webhooks may lead: not where workers may not.
func (p *platform) webhookRules() webhook.Rules {
	return webhook.Rules{
		AllowPrivate: p.config.Webhooks.AllowPrivate, Refuse: p.config.Edge.Refuse, AllowHTTP: p.config.Environment == "development",
	}
}

// serveAPI answers on the listener until ctx ends.
func (p *platform) serveAPI(ctx context.Context, listener net.Listener) error {
	server, err := p.newAPI()
	if err != nil {
		return err
	}
	p.log.WithField("addr", listener.Addr()).Info("api listens")
	return server.Serve(ctx, listener)
}

// serveWorker runs deployments until ctx ends. A host that cannot isolate
// builds refuses to start with CodeSandbox and says why. started is called when
// it polls.
func (p *platform) serveWorker(ctx context.Context, started func()) error {
	c := p.config
	tools, err := installToolchain(ctx)
	if err != nil {
		return err
	}
	state := filepath.Join(c.DataDir, "sandboxes")
	owned, err := ownFolder(state)
	if err != nil {
		return err
	}
	defer owned.Close()
	provider, err := oci.New(oci.Options{
		Runtime: c.Sandbox.Runtime, StateDir: state, ToolchainDir: tools.Dir, Log: p.log, AllowPrivate: c.Sandbox.AllowPrivate,
	})
	if err != nil {
		return err
	}
	defer provider.Close()
	// Builds that were cut short leave their sandboxes; a worker that ends by
	// itself leaves nothing running.
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if _, err := provider.Sweep(tidy, func(string) bool { return false }); err != nil {
			p.log.WithError(err).Error("sandboxes left behind; the next start removes them")
		}
	}()
	if err := provider.Check(ctx); err != nil {
		return err
	}
	workers, err := p.edge(ctx)
	if err != nil {
		return err
	}
	if workers.serving.Load() == nil {
		files, err := p.newDispatcher(workers, dispatcher.HTTPS{}, p.store, nil)
		if err != nil {
			return err
		}
		workers.serving.CompareAndSwap(nil, files)
	}
	steps, err := activities.New(activities.Options{
		Store: p.store, Blobs: p.blobs, Sandboxes: provider, Variables: p.variables(), Workers: workers, Metrics: p.metrics, Log: p.log,
		Limits:      sandbox.Limits{MemoryBytes: c.Sandbox.MemoryBytes, CPUs: c.Sandbox.CPUs, PIDs: c.Sandbox.PIDs, DiskBytes: c.Sandbox.DiskBytes},
		AllowHosts:  c.Sandbox.Registries,
		UIDBase:     c.Sandbox.UIDBase,
		SnapshotDir: filepath.Join(c.DataDir, "snapshots"), SnapshotBytes: c.Sandbox.SnapshotBytes,
		ToolchainVersion: toolchain.Version(),
		WebhookVault:     webhook.NewVault(p.key),
		WebhookSender:    webhook.NewSender(webhook.Options{Rules: p.webhookRules(), Timeout: c.Webhooks.Timeout, Version: version}),
		SiteURL:          c.Dispatch.SiteURL,
		Resolver:         resolver(c.Domains.Resolver), CNAMETarget: c.CNAME(), DomainCheckEvery: c.Domains.CheckEvery, DomainPatience: c.Domains.Patience,
	})
	if err != nil {
		return err
	}
	traced, err := p.tracing.Workflows()
	if err != nil {
		return err
	}
	return worker.Run(ctx, worker.Options{
		Temporal: p.temporal, Store: p.store, Activities: steps, Queue: c.Temporal.Queue, BuildQueue: c.Temporal.BuildQueue(),
		Builds: c.Deploy.MaxConcurrent, DomainTimeout: c.Domains.VerifyTimeout, ReconcileEvery: c.Deploy.ReconcileEvery, Collector: p.collector(), Log: p.log, Started: started, Interceptors: traced,
	})
}

// resolver asks the DNS server at an address, or the system's when it is empty. An
// answer of which a part is missing is an error: a domain must not be taken for one
// that points elsewhere because its name servers fail.
func resolver(address string) *net.Resolver {
	r := &net.Resolver{PreferGo: true, StrictErrors: true}
	if address != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		}
	}
	return r
}

// ownFolder keeps a second worker away from a folder of sandboxes: each sweeps
// what it did not make itself. The kernel gives the lock back however we end.
func ownFolder(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the folder for sandboxes: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "worker.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder for sandboxes: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, models.Errorf(models.CodeConflict, "Another worker uses %s. Stop it, or give this one a SLIPWAY_DATA_DIR of its own.", dir)
	}
	return lock, nil
}

// installToolchain brings what builds run with; it says what it does when that
// takes a while, which is the first time only.
func installToolchain(ctx context.Context) (toolchain.Toolchain, error) {
	dir, err := toolchain.DefaultDir()
	if err != nil {
		return toolchain.Toolchain{}, err
	}
	return toolchain.Install(ctx, dir, os.Stderr)
}
