package cli

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// deadLettersAnswer is what an action on many parked deployments came to.
type deadLettersAnswer struct {
	Items []struct {
		DeploymentID string `json:"deploymentId"`
		OK           bool   `json:"ok"`
		Error        *struct {
			Code    models.Code `json:"code"`
			Message string      `json:"message"`
		} `json:"error"`
	} `json:"items"`
	Failed int  `json:"failed"`
	More   bool `json:"more"`
}

// deadLettersActionCommand acts on all parked deployments that match its flags.
func (p *program) deadLettersActionCommand(action, short, done string) *cobra.Command {
	var all bool
	var project, code, step, reason string
	var before sinceFlag
	cmd := &cobra.Command{
		Use: action, Short: short, Args: arguments(0, 0),
		Example: "  slipway dead-letters " + action + " --error-code STORAGE_UNAVAILABLE --reason 'the storage is back'\n  slipway dead-letters " + action + " --all",
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := map[string]any{}
			for name, value := range map[string]string{"errorCode": code, "step": step, "before": before.String()} {
				if value != "" {
					body[name] = value
				}
			}
			if len(body) == 0 && project == "" && !all {
				return usagef("say which with --project, --error-code, --step or --before, or --all for every one")
			}
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			if project != "" {
				if body["projectId"], err = p.projectID(cmd, client); err != nil {
					return err
				}
			}
			if reason != "" {
				body["reason"] = reason
			}
			var raw json.RawMessage
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: "/dead-letters/" + action, body: body}, &raw); err != nil {
				return err
			}
			return p.showDeadLetters(cmd, raw, done)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every parked deployment of your organization")
	cmd.Flags().StringVarP(&project, "project", "p", "", "only this project's, by id or worker name")
	cmd.Flags().StringVar(&code, "error-code", "", "only those that failed with this code")
	cmd.Flags().StringVar(&step, "step", "", "only those that failed at this step")
	cmd.Flags().Var(&before, "before", "only those parked before then: a duration such as 1h, or a time")
	cmd.Flags().StringVar(&reason, "reason", "", "shown in the deployments' step lines")
	addConnectionFlags(cmd)
	return cmd
}

// showDeadLetters says what came of each; when one failed, so did the command.
func (p *program) showDeadLetters(cmd *cobra.Command, raw json.RawMessage, done string) error {
	var answer deadLettersAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	switch {
	case wantsJSON(cmd):
		if err := p.printJSON(raw); err != nil {
			return err
		}
	case len(answer.Items) == 0:
		fmt.Fprintln(p.err, "No deployment is parked that matches.")
	default:
		for _, item := range answer.Items {
			if item.OK {
				fmt.Fprintln(p.out, item.DeploymentID, done)
				continue
			}
			fmt.Fprintf(p.out, "%s: %s\n", item.DeploymentID, oneLine(item.Error.Message))
		}
	}
	if answer.More && !wantsJSON(cmd) {
		fmt.Fprintln(p.err, "There are more that match; run this again.")
	}
	if answer.Failed > 0 {
		return &shownError{ExitFailure}
	}
	return nil
}
