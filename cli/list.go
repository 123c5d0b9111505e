package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) listCommand() *cobra.Command {
	var projects, all bool
	var limit int
	var status, outcome, user string
	var since, before sinceFlag
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List a project's deployments, or the projects",
		Long: `List the deployments of the project this folder deploys to (or of --project),
newest first, or of all projects with --all; with --projects the projects of your
organization.`,
		Example: `  slipway list
  slipway list --project my-site --limit 5
  slipway list --all --outcome rejected --since 24h
  slipway list --projects --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			if projects {
				return showList(cmd, p, client, "/projects", nil, limit, "There is no project yet; 'slipway deploy' makes one.", projectTable)
			}
			query := url.Values{}
			for name, value := range map[string]string{"status": status, "outcome": outcome, "userId": user} {
				if value != "" {
					query.Set(name, value)
				}
			}
			since.set(query, "createdAfter")
			before.set(query, "createdBefore")
			none := "There is no deployment yet; 'slipway deploy' makes one."
			if len(query) > 0 {
				none = "There is no such deployment."
			}
			if !all {
				id, err := p.projectID(cmd, client)
				if err != nil {
					return err
				}
				query.Set("projectId", id)
			}
			return showList(cmd, p, client, "/deployments", query, limit, none, deploymentTable)
		},
	}
	cmd.Flags().BoolVar(&projects, "projects", false, "list projects instead of deployments")
	cmd.Flags().BoolVar(&all, "all", false, "of all projects of your organization")
	cmd.Flags().StringVar(&status, "status", "", "only queued, in_progress, completed or failed ones")
	cmd.Flags().StringVar(&outcome, "outcome", "", "only those that ended as succeeded, superseded, rejected, abandoned or canceled, or are parked (dead_letter)")
	cmd.Flags().StringVar(&user, "user", "", "only what this user asked for, by id")
	cmd.Flags().Var(&since, "since", "only what is not older: a duration such as 24h, or a time")
	cmd.Flags().Var(&before, "before", "only what is older: a duration such as 24h, or a time")
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func (p *program) deadLettersCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "dead-letters",
		Aliases: []string{"dlq"},
		Short:   "List deployments that are parked and wait for you",
		Long: `List the deployments of your organization that failed for a reason of the
platform's (storage, a sandbox host, a timeout) and are parked. Nothing of them is
lost: 'slipway retry' lets one go on at the step where it stopped, 'slipway
abandon' gives it up.`,
		Example: `  slipway dead-letters
  slipway dead-letters retry --all
  slipway dead-letters abandon --project my-site --before 48h`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			return showList(cmd, p, client, "/dead-letters", nil, limit, "No deployment is parked.", deploymentTable)
		},
	}
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	cmd.AddCommand(
		p.deadLettersActionCommand(ActionRetry, "Let parked deployments go on at the step where they stopped", "goes on."),
		p.deadLettersActionCommand(ActionAbandon, "Give parked deployments up", "is abandoned."),
	)
	return cmd
}

func addLimitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVarP(limit, "limit", "l", 20, "how many to list at most")
}

// showList prints a list: with --json the API's own items, else a table.
func showList[T any](cmd *cobra.Command, p *program, client *Client, path string, query url.Values, limit int, none string, table func(io.Writer, []T)) error {
	if limit < 1 {
		return usagef("--limit is 1 or more, not %d", limit)
	}
	page, err := collect[json.RawMessage](cmd.Context(), client, path, query, limit)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return p.printJSON(page)
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(p.err, none)
		return nil
	}
	items := make([]T, len(page.Items))
	for i, raw := range page.Items {
		if err := json.Unmarshal(raw, &items[i]); err != nil {
			return fmt.Errorf("%s has an item that cannot be read: %w", path, err)
		}
	}
	columns := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	table(columns, items)
	if err := columns.Flush(); err != nil {
		return err
	}
	if page.NextCursor != "" {
		fmt.Fprintf(p.err, "There are more; --limit %d shows up to twice as many.\n", 2*limit)
	}
	return nil
}

func deploymentTable(w io.Writer, deployments []Deployment) {
	fmt.Fprintln(w, "DEPLOYMENT\tSTATUS\tSTEP\tCREATED\tTOOK\tERROR")
	now := time.Now()
	for _, d := range deployments {
		status := string(d.Status)
		if d.Outcome != "" {
			status = string(d.Outcome)
		}
		took := "-"
		if d.FinishedAt != nil {
			took = formatDuration(d.FinishedAt.Sub(d.CreatedAt))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, status, firstOf(string(d.CurrentStep), "-"),
			formatAge(d.CreatedAt, now), took, fit(oneLine(d.Error), 60))
	}
}

func projectTable(w io.Writer, projects []Project) {
	fmt.Fprintln(w, "WORKER\tPROJECT\tLIVE\tURL\tCREATED")
	now := time.Now()
	for _, project := range projects {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", project.WorkerName, project.ID, firstOf(project.LiveReleaseID, "-"),
			firstOf(project.URL, "-"), formatAge(project.CreatedAt, now))
	}
}

// oneLine makes a message fit a table.
func oneLine(text string) string {
	return strings.Join(strings.Fields(printable(strings.ReplaceAll(text, "\n", " "))), " ")
}

// showProjectList shows a list of the project that the command is about; path is
// where the API has it.
func showProjectList[T any](cmd *cobra.Command, p *program, path func(project string) string, limit int, none string, table func(io.Writer, []T)) error {
	client, project, err := p.connectProject(cmd)
	if err != nil {
		return err
	}
	return showList(cmd, p, client, path(project), nil, limit, none, table)
}
