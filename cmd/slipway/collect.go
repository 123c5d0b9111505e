package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/cli"
	"github.com/slipwayhq/slipway/collect"
)

// collector deletes objects that nothing refers to; nil when that is turned off.
func (p *platform) collector() *collect.Collector {
	if p.config.Collect.Every == 0 {
		return nil
	}
	return p.newCollector(p.config.Collect.DryRun)
}

func (p *platform) newCollector(dryRun bool) *collect.Collector {
	return collect.New(collect.Options{
		Store: p.store, Blobs: p.served, Every: p.config.Collect.Every, Grace: p.config.Collect.Grace, DryRun: dryRun,
		Metrics: p.metrics, Log: p.log,
	})
}

// collectCommand looks at organizations' objects now.
func collectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "collect <organization id>...", Short: "Delete objects in blob storage that nothing refers to", GroupID: cli.GroupServe, Args: cobra.MinimumNArgs(1),
		Long: `Looks at the objects of organizations now, as workers do every
SLIPWAY_COLLECT_EVERY: what nothing refers to is condemned, and what has been
condemned for SLIPWAY_COLLECT_GRACE is deleted. Needs POSTGRES_URL and blob
storage.`,
		Example: `  slipway collect --dry-run org_3kq5q2n7d4v6x2y7z3a4b5c6d7`,
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "only count what nothing refers to")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withPlatform(cmd.Context(), func(ctx context.Context, p *platform) error {
			c := p.newCollector(*dryRun)
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "ORGANIZATION\tOBJECTS\tBYTES\tUNREFERRED\tBYTES\tCONDEMNED\tSPARED\tDELETED\tBYTES\t")
			for _, organization := range args {
				result, err := c.Collect(ctx, organization)
				if err != nil {
					return err
				}
				printCollected(table, organization, result)
			}
			return table.Flush()
		})
	}
	return cmd
}

func printCollected(w io.Writer, organization string, r collect.Result) {
	note := ""
	if r.Waiting {
		note = "waits for deployments from before the upgrade"
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", organization, r.Objects, r.Bytes, r.Unreferred, r.UnreferredBytes,
		r.Condemned, r.Spared, r.Deleted, r.DeletedBytes, note)
}
