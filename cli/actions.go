package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) retryCommand() *cobra.Command {
	var detach bool
	cmd := p.actionCommand(ActionRetry, "Let a parked deployment go on", `Let a deployment that is parked go on at the step where it stopped; what the
steps before it did is kept. 'slipway dead-letters' lists the parked ones. The
command then watches like 'slipway deploy' does, unless --detach is given.`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, _, err := p.connect(cmd)
		if err != nil {
			return err
		}
		parked, _, err := client.Status(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		seen := int64(0)
		if err := client.Log(cmd.Context(), args[0], func(line LogLine) error { seen = line.Number; return nil }); err != nil {
			return err
		}
		answer, err := client.Act(cmd.Context(), args[0], ActionRetry)
		if err != nil {
			return err
		}
		if detach {
			return p.showActed(cmd, answer, args[0]+" goes on.")
		}
		v := newView(p.err, wantsJSON(cmd))
		defer v.close()
		f := newFollower(client, v, args[0])
		f.newerThan, f.afterLine = parked.Version, seen
		return p.watch(cmd, f)
	}
	cmd.ValidArgsFunction = p.completeParked()
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "return as soon as it goes on")
	return cmd
}

func (p *program) abandonCommand() *cobra.Command {
	cmd := p.actionCommand(ActionAbandon, "Give a parked deployment up", `Give a parked deployment up for good: it ends as abandoned, what it held is
cleaned up and its quota is given back.`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.act(cmd, args[0], ActionAbandon, "is abandoned.")
	}
	cmd.ValidArgsFunction = p.completeParked()
	return cmd
}

func (p *program) cancelCommand() *cobra.Command {
	cmd := p.actionCommand(ActionCancel, "Stop a deployment", `Stop a deployment that is queued, running or parked. What is live stays live, and
the deployment cleans up after itself.`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.act(cmd, args[0], ActionCancel, "is being canceled.")
	}
	cmd.ValidArgsFunction = p.completeDeployments(stoppable)
	return cmd
}

// actionCommand is the shell of a command that acts on one deployment, which is
// always named: acting on whichever is newest would be a guess.
func (p *program) actionCommand(action, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     action + " <deployment>",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  slipway %s dep_3kq5q2n7d4v6x2y7z3a4b5c6d7", action),
		Args:    arguments(1, 1),
	}
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) act(cmd *cobra.Command, id, action, done string) error {
	client, _, err := p.connect(cmd)
	if err != nil {
		return err
	}
	answer, err := client.Act(cmd.Context(), id, action)
	if err != nil {
		return err
	}
	return p.showActed(cmd, answer, id+" "+done)
}

// showActed reports that an action was taken.
func (p *program) showActed(cmd *cobra.Command, answer json.RawMessage, done string) error {
	if wantsJSON(cmd) {
		return p.printJSON(answer)
	}
	fmt.Fprintln(p.err, done)
	return nil
}
