package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// otherTokenVariable names the environment variable with a token of the
// organization that a project is transferred to. Flags show in process lists.
const otherTokenVariable = "SLIPWAY_ORG_TOKEN"

func projectPath(id, rest string) string { return "/projects/" + url.PathEscape(id) + rest }

func (p *program) projectsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "projects",
		Aliases: []string{"project"},
		Short:   "List, rename, transfer and delete projects",
		Example: `  slipway projects list --search shop
  slipway projects settings --name "My shop"
  slipway projects rename my-store
  slipway projects delete`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.projectsListCommand(), p.projectSettingsCommand(), p.projectRenameCommand(), p.projectTransferCommand(), p.projectDeleteCommand())
	return cmd
}

func (p *program) projectsListCommand() *cobra.Command {
	var search string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the projects of your organization", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			query, none := url.Values{}, "There is no project yet; 'slipway deploy' makes one."
			if search != "" {
				query.Set("q", search)
				none = "No project's name begins like that."
			}
			return showList(cmd, p, client, "/projects", query, limit, none, projectTable)
		},
	}
	cmd.Flags().StringVar(&search, "search", "", "only those whose name or worker name begins like this")
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) projectSettingsCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "settings", Short: "Show a project's settings, or change them", Args: arguments(0, 0),
		Long: `Show what a project is called, where it answers and what is live; with --name
give it another name for people. 'slipway projects rename' moves it to another
address. How it is built stands in its own files.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, id, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if cmd.Flags().Changed("name") {
				raw, err = client.changeProject(cmd.Context(), id, map[string]string{"name": name})
			} else {
				err = client.get(cmd.Context(), projectPath(id, ""), nil, &raw)
			}
			if err != nil {
				return err
			}
			return p.showProject(cmd, raw)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the project's new name, for people")
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func (c *Client) changeProject(ctx context.Context, id string, change map[string]string) (raw json.RawMessage, err error) {
	return raw, c.do(ctx, call{method: http.MethodPatch, path: projectPath(id, ""), body: change, repeatable: true}, &raw)
}

func (p *program) showProject(cmd *cobra.Command, raw json.RawMessage) error {
	if wantsJSON(cmd) {
		return p.printJSON(raw)
	}
	var project Project
	if err := json.Unmarshal(raw, &project); err != nil {
		return err
	}
	for _, line := range [][2]string{
		{"Name", oneLine(project.Name)}, {"Worker name", project.WorkerName}, {"Address", project.URL}, {"Live", firstOf(project.LiveReleaseID, "nothing yet")},
		{"Project", project.ID}, {"Organization", project.OrgID},
	} {
		fmt.Fprintf(p.out, "%-14s%s\n", line[0], line[1])
	}
	return nil
}

func (p *program) projectRenameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rename WORKER-NAME", Short: "Move a project to another worker name", Args: arguments(1, 1),
		Long: `Move a project to another worker name. It answers there at once, and no longer
under the old one; its own domains go on. The old name stays reserved for your
organization for 30 days.`,
		Example: "  slipway projects rename my-store",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, id, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			raw, err := client.changeProject(cmd.Context(), id, map[string]string{"workerName": args[0]})
			if err != nil {
				return err
			}
			var project Project
			if err := json.Unmarshal(raw, &project); err != nil {
				return err
			}
			if err := relink(flagValue(cmd, "dir"), project); err != nil {
				return err
			}
			return p.done(cmd, raw, "The project answers at %s now.", project.URL)
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

// relink has a folder that deploys to the project know its new name and owner.
func relink(folder string, project Project) error {
	link, ok, err := readLink(folder)
	if err != nil || !ok || link.ProjectID != project.ID {
		return err
	}
	return writeLink(folder, Link{ProjectID: project.ID, OrganizationID: project.OrgID, WorkerName: project.WorkerName})
}

func (p *program) projectTransferCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "transfer ORGANIZATION", Short: "Give a project to another organization", Args: arguments(1, 1),
		Long: `Give a project to another organization, with its addresses, domains, variables,
deployments and latest releases. You have to be an admin of both. Your token
stands for one organization alone, so a token of the other one with the scope
admin is expected in ` + otherTokenVariable + `. It goes on answering all the while.`,
		Example: "  " + otherTokenVariable + "=slp_… slipway projects transfer org_… --project my-shop",
		RunE: func(cmd *cobra.Command, args []string) error {
			token := os.Getenv(otherTokenVariable)
			if token == "" {
				return usagef("set %s to a token of the organization that gets the project", otherTokenVariable)
			}
			client, id, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			// What was copied before an answer that it is not all done is not copied again.
			request := call{method: http.MethodPost, path: projectPath(id, "/transfer"), body: map[string]string{"orgId": args[0], "orgToken": token}, repeatable: true}
			if err := client.do(cmd.Context(), request, &raw); err != nil {
				return err
			}
			var project Project
			if err := json.Unmarshal(raw, &project); err != nil {
				return err
			}
			if err := relink(flagValue(cmd, "dir"), project); err != nil {
				return err
			}
			return p.done(cmd, raw, "%s belongs to %s now.", project.WorkerName, project.OrgID)
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func (p *program) projectDeleteCommand() *cobra.Command {
	var confirm string
	cmd := &cobra.Command{
		Use: "delete", Aliases: []string{"rm"}, Short: "Delete a project with everything it owns", Args: arguments(0, 0),
		Long: `Delete a project with everything it owns: releases, variables, domains, logs and
the rest. It stops answering at once, and there is no way back. You are asked to
type its worker name; where nobody can, give it with --confirm.`,
		Example: "  slipway projects delete --project my-shop --confirm my-shop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, id, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			project, err := client.Project(cmd.Context(), id)
			if err != nil {
				return err
			}
			if confirm == "" {
				if confirm, err = p.askFor(project); err != nil {
					return err
				}
			}
			if models.FoldWorkerName(confirm) != project.WorkerName {
				return usagef("that is not the project's worker name, %s; nothing was deleted", project.WorkerName)
			}
			err = client.do(cmd.Context(), call{method: http.MethodDelete, path: projectPath(id, ""), query: url.Values{"confirm": {confirm}}}, nil)
			if err != nil {
				return err
			}
			if link, ok, err := readLink(flagValue(cmd, "dir")); err == nil && ok && link.ProjectID == id {
				if err := os.Remove(linkPath(flagValue(cmd, "dir"))); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			return p.done(cmd, nil, "Deleted %s.", project.WorkerName)
		},
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "the project's worker name, instead of being asked for it")
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

// askFor has a person type a project's name before it is gone for good.
func (p *program) askFor(project Project) (string, error) {
	fmt.Fprintf(p.err, "This deletes %s (%s) with everything it owns, for good.\nType %s to go on: ", project.WorkerName, oneLine(project.Name), project.WorkerName)
	line, err := bufio.NewReader(p.in).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(p.err)
		return "", usagef("nobody answered; give the worker name with --confirm")
	}
	return strings.TrimSpace(line), nil
}
