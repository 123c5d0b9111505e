package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Webhook is a webhook as the API shows it.
type Webhook struct {
	ID             string    `json:"id"`
	ProjectID      string    `json:"projectId"`
	URL            string    `json:"url"`
	Format         string    `json:"format"`
	Events         []string  `json:"events"`
	Enabled        bool      `json:"enabled"`
	DisabledReason string    `json:"disabledReason"`
	CreatedAt      time.Time `json:"createdAt"`
	// Secret is there right after it was made only.
	Secret string `json:"secret"`
}

// WebhookRequest is the body of POST /webhooks.
type WebhookRequest struct {
	URL       string   `json:"url"`
	Events    []string `json:"events,omitempty"`
	Format    string   `json:"format,omitempty"`
	ProjectID string   `json:"projectId,omitempty"`
	Token     string   `json:"token,omitempty"`
}

// Delivery is one event on its way to a webhook as the API shows it.
type Delivery struct {
	ID         string    `json:"id"`
	Event      string    `json:"event"`
	Status     string    `json:"status"`
	Attempts   int       `json:"attempts"`
	LastStatus int       `json:"lastStatus"`
	Error      string    `json:"error"`
	CreatedAt  time.Time `json:"createdAt"`
}

// pingPoll is how often a ping that is under way is asked for, pingPatience how
// long at most.
const (
	pingPoll     = 200 * time.Millisecond
	pingPatience = time.Minute
)

func webhooksPath(id, action string) string {
	path := "/webhooks"
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	return path + action
}

func (p *program) webhooksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "webhooks",
		Aliases: []string{"webhook"},
		Short:   "Have addresses of yours told of events",
		Long: `A webhook is told of events of your organization, or of one project of it: of
deployments, domains and rollouts. What does not arrive is sent again for three
days. docs/webhooks.md says what is sent and how to check its signature.`,
		Example: `  slipway webhooks add https://example.com/hooks/slipway
  slipway webhooks add --format slack --events 'deployment.failed,deployment.dead_lettered' https://hooks.slack.com/services/…
  slipway webhooks test whk_3kq5q2n7d4v6x2y7z3a4b5c6d7
  slipway webhooks deliveries --failed whk_3kq5q2n7d4v6x2y7z3a4b5c6d7
  slipway webhooks redeliver whk_3kq5q2n7d4v6x2y7z3a4b5c6d7 dlv_3kq5q2n7d4v6x2y7z3a4b5c6d7`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.webhooksListCommand(), p.webhooksAddCommand(), p.webhooksRemoveCommand(), p.webhooksRotateCommand(),
		p.webhooksTestCommand(), p.webhooksDeliveriesCommand(), p.webhooksRedeliverCommand())
	return cmd
}

func (p *program) webhooksListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the organization's webhooks", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			return showList(cmd, p, client, webhooksPath("", ""), nil, limit, "There is no webhook yet; 'slipway webhooks add https://…' adds one.", webhookTable)
		},
	}
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	return cmd
}

func webhookTable(w io.Writer, hooks []Webhook) {
	fmt.Fprintln(w, "WEBHOOK\tURL\tFORMAT\tEVENTS\tPROJECT\tSTATE")
	for _, h := range hooks {
		state := "enabled"
		if !h.Enabled {
			state = strings.TrimSpace("disabled " + h.DisabledReason)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, printable(h.URL), h.Format, strings.Join(h.Events, ","), firstOf(h.ProjectID, "all"), printable(state))
	}
}

func (p *program) webhooksAddCommand() *cobra.Command {
	var request WebhookRequest
	cmd := &cobra.Command{
		Use: "add URL", Short: "Add a webhook and show its secret, this once",
		Long: `Add a webhook. Messages of the format standard are signed; the secret goes to
stdout, this once. The format slack is for incoming webhooks of Slack, github for
commit statuses: its URL has {sha} where the commit goes, and deployments say
theirs with --commit.`,
		Example: `  secret=$(slipway webhooks add https://example.com/hooks/slipway)
  slipway webhooks add --format github --github-token "$TOKEN" 'https://api.github.com/repos/acme/shop/statuses/{sha}'`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			request.URL = args[0]
			var raw json.RawMessage
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: webhooksPath("", ""), body: request}, &raw); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return p.printJSON(raw)
			}
			var hook Webhook
			if err := json.Unmarshal(raw, &hook); err != nil {
				return err
			}
			fmt.Fprintf(p.err, "Added %s.\n", hook.ID)
			if hook.Secret != "" {
				fmt.Fprintln(p.err, "Its secret, which is not shown again:")
				fmt.Fprintln(p.out, hook.Secret)
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&request.Events, "events", nil, "kinds, groups such as deployment.*, or * (default: all)")
	cmd.Flags().StringVar(&request.Format, "format", "", "standard, slack or github (default: standard)")
	cmd.Flags().StringVar(&request.ProjectID, "project-id", "", "only events of the project with this id")
	cmd.Flags().StringVar(&request.Token, "github-token", "", "what authorizes commit statuses")
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) webhooksRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove WEBHOOK", Aliases: []string{"rm"}, Short: "Remove a webhook; what is on its way is not sent any more", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			if err := client.do(cmd.Context(), call{method: http.MethodDelete, path: webhooksPath(args[0], "")}, nil); err != nil {
				return err
			}
			fmt.Fprintf(p.err, "Removed %s.\n", printable(args[0]))
			return nil
		},
	}
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) webhooksRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate-secret WEBHOOK", Short: "Replace a webhook's secret; the one before is valid for a day", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: webhooksPath(args[0], "/rotate-secret"), body: struct{}{}}, &raw); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return p.printJSON(raw)
			}
			var answer struct{ Secret string }
			if err := json.Unmarshal(raw, &answer); err != nil {
				return err
			}
			fmt.Fprintln(p.out, answer.Secret)
			return nil
		},
	}
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) webhooksTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test WEBHOOK", Short: "Send a ping and say what came of it", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: webhooksPath(args[0], "/test"), body: struct{}{}}, &raw); err != nil {
				return err
			}
			return p.watchDelivery(cmd, client, args[0], raw)
		},
	}
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) webhooksDeliveriesCommand() *cobra.Command {
	var limit int
	var failed bool
	cmd := &cobra.Command{
		Use: "deliveries WEBHOOK", Short: "List what was sent to a webhook in the last 30 days", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			if failed {
				query.Set("status", "failed")
			}
			return showList(cmd, p, client, webhooksPath(args[0], "/deliveries"), query, limit, "There is no such delivery.", deliveryTable)
		},
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "only those that did not arrive")
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	return cmd
}

func deliveryTable(w io.Writer, deliveries []Delivery) {
	fmt.Fprintln(w, "DELIVERY\tEVENT\tSTATUS\tATTEMPTS\tANSWER\tCREATED\tERROR")
	now := time.Now()
	for _, d := range deliveries {
		answer := "-"
		if d.LastStatus != 0 {
			answer = fmt.Sprint(d.LastStatus)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.ID, d.Event, d.Status, d.Attempts, answer, formatAge(d.CreatedAt, now), fit(oneLine(d.Error), 60))
	}
}

func (p *program) webhooksRedeliverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "redeliver WEBHOOK DELIVERY", Short: "Send a delivery again, under the same id", Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			path := webhooksPath(args[0], "/deliveries/"+url.PathEscape(args[1])+"/redeliver")
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: path, body: struct{}{}, repeatable: true}, &raw); err != nil {
				return err
			}
			return p.watchDelivery(cmd, client, args[0], raw)
		},
	}
	addConnectionFlags(cmd)
	return cmd
}

// watchDelivery waits for the next attempt and says what came of it; one that did
// not arrive is a failure.
func (p *program) watchDelivery(cmd *cobra.Command, client *Client, hook string, raw json.RawMessage) error {
	var first Delivery
	if err := json.Unmarshal(raw, &first); err != nil {
		return err
	}
	d := first
	for deadline := time.Now().Add(pingPatience); d.Status == "pending" && d.Attempts == first.Attempts; {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not tried within %s; 'slipway webhooks deliveries %s' shows when it is", d.ID, pingPatience, hook)
		}
		if err := sleep(cmd.Context(), pingPoll); err != nil {
			return err
		}
		raw = nil
		if err := client.get(cmd.Context(), webhooksPath(hook, "/deliveries/"+url.PathEscape(d.ID)), nil, &raw); err != nil {
			return err
		}
		d = Delivery{}
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
	}
	if wantsJSON(cmd) {
		if err := p.printJSON(raw); err != nil {
			return err
		}
	} else if d.Status == "succeeded" {
		fmt.Fprintf(p.out, "%s arrived: the receiver answered %d.\n", d.ID, d.LastStatus)
	} else {
		fmt.Fprintf(p.err, "%s did not arrive: %s\n", d.ID, printable(d.Error))
	}
	if d.Status != "succeeded" {
		return &shownError{ExitFailure}
	}
	return nil
}
