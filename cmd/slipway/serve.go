package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/cli"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/workflows"
)

// serveCommands are the roles of a server, one command each.
func serveCommands() []*cobra.Command {
	return []*cobra.Command{
		role("migrate", "Bring the database schema up to date and register search attributes", `
Brings the schema of POSTGRES_URL up to date and registers the search attributes
of deployments with Temporal. Run it before the other roles when a new release
is installed. Several may run at once: one works, the others wait.`,
			func(ctx context.Context, p *platform) error {
				if err := p.store.Migrate(ctx); err != nil {
					return err
				}
				return workflows.RegisterAttributes(ctx, p.temporal, p.config.Temporal.Namespace)
			}),
		role("api", "Run the HTTP gateway", `
Answers the API on SLIPWAY_API_ADDR. Needs POSTGRES_URL, TEMPORAL_ADDRESS and
blob storage (S3_ENDPOINT, else a folder of SLIPWAY_DATA_DIR).`,
			func(ctx context.Context, p *platform) error {
				listener, err := listen(p.config.API.Addr, "SLIPWAY_API_ADDR")
				if err != nil {
					return err
				}
				defer p.showMetrics(ctx)()
				return p.serveAPI(ctx, listener)
			}),
		role("worker", "Run deployments", `
Runs the deployment workflow and its steps, and builds in sandboxes on this
host, MAX_CONCURRENT_DEPLOYMENTS at once. Refuses to start where it cannot
isolate builds, and says why.`,
			func(ctx context.Context, p *platform) error {
				defer p.showMetrics(ctx)()
				p.edgeFolder = "edge-worker"
				return p.serveWorker(ctx, func() { p.log.WithField("queue", p.config.Temporal.Queue).Info("worker polls") })
			}),
		role("dispatcher", "Serve what is live", `
Answers <worker>.<DISPATCH_DOMAIN> on SLIPWAY_DISPATCHER_ADDR from memory, blob
storage and POSTGRES_URL. Run as many as you like.`,
			func(ctx context.Context, p *platform) error {
				listener, err := listen(p.config.Dispatch.Addr, "SLIPWAY_DISPATCHER_ADDR")
				if err != nil {
					return err
				}
				defer p.showMetrics(ctx)()
				return p.serveDispatcher(ctx, listener)
			}),
		bootstrapCommand(),
		quotaCommand(),
		collectCommand(),
		devCommand(),
	}
}

// role is a command that reads the environment, connects, and runs until it is
// told to stop.
func role(name, short, long string, run func(context.Context, *platform) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Long: long[1:], GroupID: cli.GroupServe, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return withPlatform(cmd.Context(), run) },
	}
}

// withPlatform reads the environment, connects, and calls run with both.
func withPlatform(ctx context.Context, run func(context.Context, *platform) error) error {
	c, err := config.Load()
	if err != nil {
		return err
	}
	p, err := openPlatform(ctx, c, c.Logger())
	if err != nil {
		return err
	}
	defer p.close()
	return run(ctx, p)
}

// listen opens an address; a busy one is named with the setting that changes it.
func listen(addr, setting string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, models.Errorf(models.CodeConflict, "The address %s is in use. Stop what listens there, or set %s to another.", addr, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return listener, nil
}
