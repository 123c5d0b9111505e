package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

func (p *program) logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [deployment]",
		Short: "Print a deployment's build log",
		Long: `Print the build log of a deployment. Without an id it is the newest deployment of
the project this folder deploys to.

With --follow the lines come as they are written, until the deployment ends or is
parked; a connection that breaks is made again where it broke. With --json each
line is an object of its own: {"line": 1, "text": "..."}.`,
		Example: `  slipway logs
  slipway logs -f dep_3kq5q2n7d4v6x2y7z3a4b5c6d7
  slipway logs --json | jq -r .text`,
		Args:              arguments(0, 1),
		ValidArgsFunction: p.completeDeployments(anyDeployment),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			id, err := p.deploymentID(cmd, client, args)
			if err != nil {
				return err
			}
			return p.logs(cmd, client, id, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the deployment ends")
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func (p *program) logs(cmd *cobra.Command, client *Client, id string, follow bool) error {
	show := p.lineWriter(wantsJSON(cmd))
	if !follow {
		return client.Log(cmd.Context(), id, show)
	}
	// A parked deployment's log may go on in a minute or never: that is for a
	// person to decide, so say so rather than wait.
	parked := errors.New("parked")
	err := client.StreamLog(cmd.Context(), id, 0, LogHandlers{Line: show, Status: func(s models.Status) error {
		if s.Outcome == models.OutcomeDeadLetter {
			return parked
		}
		return nil
	}})
	if errors.Is(err, parked) {
		if !wantsJSON(cmd) {
			fmt.Fprintf(p.err, "The deployment is parked. 'slipway status %s' says why.\n", id)
		}
		return nil
	}
	return err
}

// lineWriter writes log lines to Stdout. On a terminal they are made harmless;
// into a pipe they go as they are.
func (p *program) lineWriter(asJSON bool) func(LogLine) error {
	terminal := isTerminal(p.out)
	return func(line LogLine) error {
		if asJSON {
			data, err := json.Marshal(line)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.out, "%s\n", data)
			return err
		}
		if terminal {
			line.Text = printable(line.Text)
		}
		_, err := fmt.Fprintln(p.out, line.Text)
		return err
	}
}
