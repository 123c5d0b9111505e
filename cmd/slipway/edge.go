package main

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/kv"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/outbound"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/oci"
	"github.com/slipwayhq/slipway/tail"
)

// sweepKVEvery is how often expired keys are removed, sweepKVKeys at a time.
const (
	sweepKVEvery = time.Minute
	sweepKVKeys  = 1000
)

// edgeHost is what runs workers on this machine, with all it needs. A process has
// one, whichever of its roles asks first.
type edgeHost struct {
	*edge.Host
	// serving is the dispatcher whose files ASSETS bindings are answered with.
	serving  atomic.Pointer[dispatcher.Dispatcher]
	services *checkedServices
	proxy    *outbound.Proxy
	stop     context.CancelFunc
	running  *errgroup.Group
}

// edge gives the process's edge host, starting it the first time. A process that
// only checks releases has a folder of its own: it may share the data folder with
// a dispatcher's process.
func (p *platform) edge(ctx context.Context) (*edgeHost, error) {
	p.edgeMu.Lock()
	defer p.edgeMu.Unlock()
	if p.edgeHost != nil {
		return p.edgeHost, nil
	}
	host, err := p.startEdge(ctx)
	p.edgeHost = host
	return host, err
}

func (p *platform) startEdge(ctx context.Context) (*edgeHost, error) {
	c := p.config
	tools, err := installToolchain(ctx)
	if err != nil {
		return nil, err
	}
	state := filepath.Join(c.DataDir, p.edgeFolder)
	services, err := oci.New(oci.Options{Runtime: c.Edge.Runtime, StateDir: filepath.Join(state, "sandboxes"), Log: p.log})
	if err != nil {
		return nil, err
	}
	h := &edgeHost{
		services: newCheckedServices(services),
		proxy:    outbound.New(outbound.Options{AllowPrivate: c.Edge.AllowPrivate, Refuse: c.Edge.Refuse, Log: p.log}),
	}
	p.metrics.MustRegister(h.proxy)
	logs := tail.New(tail.Options{Rows: p.store, Keep: c.Edge.LogLines, Log: p.log})
	// Half of the connections are left to the rest of the process, and more than
	// half of the others to other organizations.
	queries := max(1, c.Postgres.MaxConns/2)
	keys := kv.New(kv.Options{Store: p.store, MaxQueries: queries, MaxQueriesPerOrganization: max(1, queries*2/5), Log: p.log})
	h.Host, err = edge.New(edge.Options{
		Services: h.services, Workerd: tools.Tool("workerd"), StateDir: filepath.Join(state, "host"), Blobs: p.served,
		Assets: h, Environment: p.variables(),
		KV:       keys.Handler,
		Outbound: func(r edge.Release) http.Handler { return h.proxy.Handler(r.OrganizationID, r.ID) },
		Logs:     logs,
		UIDBase: func(ctx context.Context, organizationID string) (uint32, error) {
			slot, err := p.store.UIDSlot(ctx, organizationID)
			if err != nil {
				return 0, err
			}
			return sandbox.UIDBase(c.Sandbox.UIDBase, slot)
		},
		Limits: c.Edge, Metrics: p.metrics, Log: p.log,
	})
	if err != nil {
		_ = services.Close()
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	h.running, running = errgroup.WithContext(running)
	h.running.Go(func() error { return h.Run(running) })
	h.running.Go(func() error { return logs.Run(running) })
	h.running.Go(func() error { return p.sweepKV(running) })
	h.running.Go(func() error { return h.services.check(running, p.log) })
	return h, nil
}

// sweepKV removes expired keys, which nobody sees any more, from the database.
func (p *platform) sweepKV(ctx context.Context) error {
	tick := time.NewTicker(sweepKVEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for n := sweepKVKeys; n == sweepKVKeys && ctx.Err() == nil; {
			var err error
			if n, err = p.store.SweepKV(ctx, sweepKVKeys); err != nil {
				p.log.WithError(err).Warn("expired keys not removed; trying again")
			}
		}
	}
}

// Assets answers an ASSETS binding from the files of its release.
func (h *edgeHost) Assets(ctx context.Context, r edge.Release) (http.Handler, error) {
	serving := h.serving.Load()
	if serving == nil {
		return nil, models.Errorf(models.CodeInternal, "This process has no dispatcher to answer an ASSETS binding.")
	}
	return serving.Assets(ctx, r)
}

// close lets requests under way end, for as long as a worker may be drained, and
// stops everything.
func (h *edgeHost) close(p *platform) {
	drain, cancel := context.WithTimeout(context.Background(), p.config.Edge.DrainTimeout)
	defer cancel()
	if err := h.Close(drain); err != nil {
		p.log.WithError(err).Warn("workers were stopped before they were through")
	}
	h.stop()
	if err := h.running.Wait(); err != nil {
		p.log.WithError(err).Warn("the edge host ended with an error")
	}
	h.proxy.Close()
	if err := h.services.Close(); err != nil {
		p.log.WithError(err).Warn("close the sandboxes of workers")
	}
}
