package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) retryCommand() *cobra.Command {
	var detach bool
	cmd := p.actionCommand("retry", "Let a parked deployment go on", `Let a deployment that is parked go on at the step where it stopped; what the
steps before it did is kept. 'slipway dead-letters' lists the parked ones. The
command then watches like 'slipway deploy' does, unless --detach is given.`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, _, err := p.connect(cmd)
		if err != nil {
			return err
		}
		if err := client.Retry(cmd.Context(), args[0]); err != nil {
			return err
		}
		if detach {
			return p.showActed(cmd, client, args[0], "goes on")
		}
		v := newView(p.err, wantsJSON(cmd))
		defer v.close()
		return p.watch(cmd, newFollower(client, v, args[0]))
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "return as soon as it goes on")
	return cmd
}

func (p *program) abandonCommand() *cobra.Command {
	cmd := p.actionCommand("abandon", "Give a parked deployment up", `Give a parked deployment up for good: it ends as abandoned, what it held is
cleaned up and its quota is given back.`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.act(cmd, args[0], (*Client).Abandon, "is abandoned")
	}
	return cmd
}

func (p *program) cancelCommand() *cobra.Command {
	cmd := p.actionCommand("cancel", "Stop a deployment", `Stop a deployment that is queued, running or parked. What is live stays live, and
the deployment cleans up after itself.`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.act(cmd, args[0], (*Client).Cancel, "is being canceled")
	}
	return cmd
}

// actionCommand is the shell of a command that acts on one deployment, which is
// always named: acting on whichever is newest would be a guess.
func (p *program) actionCommand(verb, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     verb + " <deployment>",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  slipway %s dep_3kq5q2n7d4v6x2y7z3a4b5c6d7", verb),
		Args:    arguments(1, 1),
	}
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) act(cmd *cobra.Command, id string, action func(*Client, context.Context, string) error, done string) error {
	client, _, err := p.connect(cmd)
	if err != nil {
		return err
	}
	if err := action(client, cmd.Context(), id); err != nil {
		return err
	}
	return p.showActed(cmd, client, id, done)
}

// showActed reports that an action was taken; with --json, the state after it.
func (p *program) showActed(cmd *cobra.Command, client *Client, id, done string) error {
	if !wantsJSON(cmd) {
		fmt.Fprintf(p.err, "%s %s.\n", id, done)
		return nil
	}
	_, raw, err := client.Status(cmd.Context(), id)
	if err != nil {
		return err
	}
	return p.printJSON(raw)
}
