package cli

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) releasesCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "releases",
		Short: "List a project's releases",
		Long: `List what the project's deployments made, newest first. The live one is marked;
'slipway rollback' puts another one live.`,
		Example: `  slipway releases
  slipway releases --project my-site --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showProjectList(cmd, p, releasesPath, limit, "There is no release yet; 'slipway deploy' makes one.", releaseTable)
		},
	}
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func releasesPath(project string) string { return "/projects/" + url.PathEscape(project) + "/releases" }

func releaseTable(w io.Writer, releases []Release) {
	fmt.Fprintln(w, "RELEASE\tLIVE\tFRAMEWORK\tFILES\tSIZE\tCREATED")
	now := time.Now()
	for _, r := range releases {
		live := ""
		if r.Live {
			live = "live"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", r.ID, live, firstOf(r.Framework, "-"), r.Files, formatBytes(r.Bytes), formatAge(r.CreatedAt, now))
	}
}

func (p *program) rollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback [release]",
		Short: "Put an earlier release live again",
		Long: `Put a release live again, at once and without building anything. Without an id it
is the one that was live before. Deployments that were started before the
rollback do not undo it.`,
		Example: `  slipway rollback
  slipway rollback rel_3kq5q2n7d4v6x2y7z3a4b5c6d7`,
		Args:              arguments(0, 1),
		ValidArgsFunction: p.completeReleases(),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, id, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			release := ""
			if len(args) > 0 {
				release = args[0]
			}
			answer, raw, err := client.Rollback(cmd.Context(), id, release)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return p.printJSON(raw)
			}
			if answer.PreviousReleaseID != "" {
				fmt.Fprintf(p.err, "Release %s is live instead of %s.\n", answer.ReleaseID, answer.PreviousReleaseID)
			} else {
				fmt.Fprintf(p.err, "Release %s is live.\n", answer.ReleaseID)
			}
			fmt.Fprintln(p.out, answer.URL)
			return nil
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}
