package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/cli"
	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// quotaCommand shows and changes the quotas of an organization.
func quotaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "quota <organization id>", Short: "Show or change the quotas of an organization", GroupID: cli.GroupServe, Args: cobra.ExactArgs(1),
		Long: `Shows what an organization uses of its quotas, after changing those that are
given. A change counts at once; what is there already stays, also above a limit.
Reads POSTGRES_URL, as the other roles do.`,
		Example: `  slipway quota org_3kq5q2n7d4v6x2y7z3a4b5c6d7
  slipway quota org_3kq5q2n7d4v6x2y7z3a4b5c6d7 --deployments 5000 --build-minutes 10000`,
	}
	limits := map[string]*int64{}
	for name, usage := range map[string]string{
		"deployments": "deployments a month", "build-minutes": "minutes of builds a month", "projects": "projects at a time",
		"domains": "custom domains at a time", "storage-bytes": "bytes of releases at a time",
	} {
		limits[name] = cmd.Flags().Int64(name, 0, usage)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		given := func(name string) *int64 {
			if !cmd.Flags().Changed(name) {
				return nil
			}
			return limits[name]
		}
		change := models.QuotaChange{
			Deployments: given("deployments"), BuildMinutes: given("build-minutes"), Projects: given("projects"),
			Domains: given("domains"), StorageBytes: given("storage-bytes"),
		}
		return withPlatform(cmd.Context(), func(ctx context.Context, p *platform) error {
			if err := p.store.SetQuotas(ctx, args[0], change); err != nil {
				return err
			}
			usage, err := p.store.Usage(ctx, args[0])
			if err != nil {
				return err
			}
			return printUsage(cmd.OutOrStdout(), usage)
		})
	}
	return cmd
}

func printUsage(w io.Writer, usage models.Usage) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RESOURCE\tUSED\tLIMIT\tRESETS")
	for _, r := range usage.Resources {
		resets := "-"
		if r.ResetsAt != nil {
			resets = r.ResetsAt.Format("2006-01-02")
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", r.Resource, r.Used, r.Limit, resets)
	}
	return table.Flush()
}

// quotas are those of new organizations.
func quotas(c config.Config) *models.Quotas {
	q := c.Quotas
	return &models.Quotas{
		Deployments: q.Deployments, BuildMinutes: q.BuildMinutes, Projects: q.Projects, Domains: q.Domains, StorageBytes: q.StorageBytes,
	}
}

// rates are those of the gateway.
func rates(c config.Config) api.Rates {
	r := c.Rates
	return api.Rates{
		Address: ratelimit.PerMinute(r.Address), Status: ratelimit.PerMinute(r.Status),
		Token: ratelimit.PerMinute(r.Token), Deploy: ratelimit.PerMinute(r.Deploy),
		Device: ratelimit.PerMinute(r.SignInAddress),
	}
}
