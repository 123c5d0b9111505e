package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/models"
)

const (
	rowOneClient   = "status queries, one client"
	rowManyClients = "status queries, eight clients"

	peerQuery = "Temporal's SDK, same workflow"

	manyClients = 8
	// queryPatience bounds one turn.
	queryPatience = time.Minute
)

// queryRows asks for the status of a deployment that is being built: through the
// API, and straight from Temporal. Both end at the same workflow on the same
// worker. The API asks the workflow once for all who ask at the same moment, so
// with many clients it may well be the faster one.
func queryRows(ctx context.Context, b *bench) (rows []row, err error) {
	c, err := b.system.dialTemporal(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	id, end, err := b.system.startEndless(ctx)
	if err != nil {
		return nil, err
	}
	defer end()

	gateway := func(ctx context.Context) (models.Status, error) {
		var status models.Status
		err := b.system.call(ctx, b.system.account, http.MethodGet, "/deploy-status?id="+id, nil, &status)
		return status, err
	}
	bare := func(ctx context.Context) (models.Status, error) { return queryStatus(ctx, c, id) }
	for _, load := range []struct {
		name    string
		clients int
	}{{rowOneClient, 1}, {rowManyClients, manyClients}} {
		r := row{name: load.name, peer: peerQuery, unit: perSecond}
		for range b.queryPairs {
			var p pair
			if p.ours, err = queriesPerSecond(ctx, load.clients, b.queries, gateway); err != nil {
				return nil, fmt.Errorf("GET /deploy-status: %w", err)
			}
			if p.theirs, err = queriesPerSecond(ctx, load.clients, b.queries, bare); err != nil {
				return nil, fmt.Errorf("query by the SDK: %w", err)
			}
			r.pairs = append(r.pairs, p)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func queryStatus(ctx context.Context, c client.Client, id string) (models.Status, error) {
	var status models.Status
	value, err := c.QueryWorkflow(ctx, id, "", models.QueryStatus)
	if err == nil {
		err = value.Get(&status)
	}
	return status, err
}

// startEndless starts a deployment whose build goes on until end is called.
func (s *system) startEndless(ctx context.Context) (id string, end func(), err error) {
	p, err := s.newProject(ctx, s.account, "bench-endless")
	if err != nil {
		return "", nil, err
	}
	id, err = p.start(ctx, []initFile{{Path: "package.json", Content: `{"name":"endless","private":true,"scripts":{"build":"sleep 3000"}}`}})
	if err != nil {
		return "", nil, err
	}
	end = func() {
		// Also when ctx has ended: slipway dev is still to be stopped in order.
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := s.call(stop, s.account, http.MethodPost, "/deployments/"+id+"/cancel", map[string]string{}, nil); err != nil {
			say("  cancel %s: %v", id, err)
		}
	}
	err = poll(ctx, queryPatience, "a build to run", func() (bool, error) {
		var status models.Status
		err := s.call(ctx, s.account, http.MethodGet, "/deploy-status?id="+id, nil, &status)
		if err == nil && status.Outcome != models.OutcomeNone {
			err = fmt.Errorf("the build that should go on ended %s: %s", status.Outcome, status.Error)
		}
		return status.CurrentStep == models.StepBuild, err
	})
	if err != nil {
		end()
	}
	return id, end, err
}

// queriesPerSecond shares the queries among clients that ask one after the other.
func queriesPerSecond(ctx context.Context, clients, queries int, ask func(context.Context) (models.Status, error)) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	each := max(1, queries/clients)
	asking, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for range clients {
		asking.Go(func() error {
			for range each {
				status, err := ask(ctx)
				if err != nil {
					return err
				}
				if status.Stale || status.CurrentStep != models.StepBuild {
					return fmt.Errorf("not the live status: step %s, stale %t", status.CurrentStep, status.Stale)
				}
			}
			return nil
		})
	}
	err := asking.Wait()
	return float64(each*clients) / time.Since(began).Seconds(), err
}
