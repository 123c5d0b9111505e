package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

func (p *program) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [deployment]",
		Short: "Show how a deployment is getting on",
		Long: `Show the six steps of a deployment and how it ended. Without an id it is the
newest deployment of the project this folder deploys to.

The exit code is 1 when the deployment failed or is parked, so that a script can
tell without reading.`,
		Example: `  slipway status
  slipway status dep_3kq5q2n7d4v6x2y7z3a4b5c6d7
  slipway status --json | jq -r .status`,
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
			status, raw, err := client.Status(cmd.Context(), id)
			if err != nil {
				return err
			}
			verdict := error(nil)
			if settled(status) {
				verdict = exitFor(status)
			}
			if wantsJSON(cmd) {
				return errors.Join(p.printJSON(raw), verdict)
			}
			p.printStatus(status)
			return verdict
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func (p *program) printStatus(s models.Status) {
	style := newStyle(p.out)
	outcome := string(s.Status)
	if s.Outcome != "" {
		outcome += " (" + string(s.Outcome) + ")"
	}
	if s.Stale {
		outcome += ", last recorded: no worker answers"
	}
	fmt.Fprintf(p.out, "Deployment  %s\nStatus      %s, %d%%\n", s.DeploymentID, outcome, s.Progress)
	if s.ReleaseID != "" {
		fmt.Fprintf(p.out, "Release     %s\n", s.ReleaseID)
	}
	if s.URL != "" {
		fmt.Fprintf(p.out, "URL         %s\n", s.URL)
	}
	if s.Retries > 0 {
		fmt.Fprintf(p.out, "Retries     %d\n", s.Retries)
	}
	fmt.Fprintln(p.out)
	clock := newStepClock(time.Now)
	s = withoutAdvice(s)
	for _, step := range models.AllSteps() {
		line := *s.Steps.Of(step)
		took := clock.took(step, line)
		if line.Status == models.StepInProgress && line.StartedAt != nil {
			took = time.Since(*line.StartedAt)
		}
		fmt.Fprintf(p.out, "  %-9s %s\n", step, statusText(line, took))
	}
	if lines := outcomeLines(s, style); len(lines) > 0 && settled(s) {
		fmt.Fprintln(p.out)
		for _, line := range lines {
			fmt.Fprintln(p.out, line)
		}
	}
}

// statusText is stepText with a running step's time in it.
func statusText(s models.StepStatus, took time.Duration) string {
	switch s.Status {
	case models.StepInProgress:
		return "in progress for " + formatDuration(took)
	default:
		return stepText(s, took)
	}
}
