package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Rollout is a rollout as the API shows it.
type Rollout struct {
	ID        string    `json:"id"`
	ReleaseID string    `json:"releaseId"`
	Steps     []int     `json:"steps"`
	Every     string    `json:"every"`
	Percent   int       `json:"percent"`
	Status    string    `json:"status"`
	Reason    string    `json:"reason"`
	CreatedAt time.Time `json:"createdAt"`
}

// RolloutRequest is the body of POST /projects/{id}/rollouts.
type RolloutRequest struct {
	ReleaseID    string  `json:"releaseId"`
	Steps        []int   `json:"steps,omitempty"`
	Every        string  `json:"every,omitempty"`
	MaxErrorRate float64 `json:"maxErrorRate"`
}

// rolloutPoll is how often a rollout that is watched is asked for.
const rolloutPoll = 2 * time.Second

func rolloutsPath(project, id, action string) string {
	path := "/projects/" + url.PathEscape(project) + "/rollouts"
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	return path + action
}

func (p *program) rolloutCommand() *cobra.Command {
	request := RolloutRequest{}
	var detach bool
	cmd := &cobra.Command{
		Use:   "rollout RELEASE",
		Short: "Bring a release live step by step",
		Long: `Give a release a rising share of the visitors, each of whom stays with the release
they got, and watch it. It goes back by itself when it answers with more errors
(status 500 and more) than allowed and than the live release. A deployment or
rollback that goes live meanwhile ends it. Ctrl-C stops watching; the rollout
goes on.`,
		Example: `  slipway rollout rel_3kq5q2n7d4v6x2y7z3a4b5c6d7
  slipway rollout --steps 5,25,100 --every 10m --max-error-rate 0.01 rel_3kq5q2n7d4v6x2y7z3a4b5c6d7
  slipway rollout list
  slipway rollout cancel rol_3kq5q2n7d4v6x2y7z3a4b5c6d7`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, project, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			request.ReleaseID = args[0]
			var raw json.RawMessage
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: rolloutsPath(project, "", ""), body: request}, &raw); err != nil {
				return err
			}
			if detach {
				return p.showRollout(cmd, raw)
			}
			return p.watchRollout(cmd, client, project, raw)
		},
	}
	cmd.Flags().IntSliceVar(&request.Steps, "steps", []int{1, 10, 50, 100}, "percentages of the visitors, the last one 100")
	cmd.Flags().StringVar(&request.Every, "every", "5m", "how long each step lasts, 10s to 24h")
	cmd.Flags().Float64Var(&request.MaxErrorRate, "max-error-rate", 0.05, "part of the answers that may be errors, 0 to 1")
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "return as soon as it is started")
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	cmd.AddCommand(p.rolloutListCommand(), p.rolloutCancelCommand())
	return cmd
}

func (p *program) rolloutListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List a project's rollouts", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showProjectList(cmd, p, func(project string) string { return rolloutsPath(project, "", "") }, limit, "There was no rollout yet.", rolloutTable)
		},
	}
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func rolloutTable(w io.Writer, rollouts []Rollout) {
	fmt.Fprintln(w, "ROLLOUT\tRELEASE\tSTATUS\tSHARE\tBEGAN")
	now := time.Now()
	for _, r := range rollouts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d %%\t%s\n", r.ID, r.ReleaseID, r.Status, r.Percent, formatAge(r.CreatedAt, now))
	}
}

func (p *program) rolloutCancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel ROLLOUT", Short: "Give the visitors back to the live release", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, project, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: rolloutsPath(project, args[0], "/cancel"), body: struct{}{}}, &raw); err != nil {
				return err
			}
			return p.watchRollout(cmd, client, project, raw)
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func (p *program) showRollout(cmd *cobra.Command, raw json.RawMessage) error {
	if wantsJSON(cmd) {
		return p.printJSON(raw)
	}
	var r Rollout
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	fmt.Fprintln(p.out, rolloutText(r))
	return nil
}

func rolloutText(r Rollout) string {
	text := fmt.Sprintf("%s is %s at %d %%.", r.ID, r.Status, r.Percent)
	return strings.TrimSpace(text + " " + printable(r.Reason))
}

// watchRollout shows each change until the rollout has ended; one that did not
// complete is a failure.
func (p *program) watchRollout(cmd *cobra.Command, client *Client, project string, raw json.RawMessage) error {
	shown := ""
	for {
		var r Rollout
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		if text := rolloutText(r); text != shown && !wantsJSON(cmd) {
			shown = text
			fmt.Fprintln(p.err, text)
		}
		if r.Status != "running" {
			if wantsJSON(cmd) {
				if err := p.printJSON(raw); err != nil {
					return err
				}
			}
			if r.Status != "completed" && cmd.Name() != "cancel" {
				return &shownError{ExitFailure}
			}
			return nil
		}
		if err := sleep(cmd.Context(), rolloutPoll); err != nil {
			return err
		}
		raw = nil
		if err := client.get(context.WithoutCancel(cmd.Context()), rolloutsPath(project, r.ID, ""), nil, &raw); err != nil {
			return err
		}
	}
}
