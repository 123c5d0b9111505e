package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// Domain is a custom domain as the API shows it.
type Domain struct {
	Host      string      `json:"host"`
	Status    string      `json:"status"`
	Reason    string      `json:"reason"`
	DNS       []DNSRecord `json:"dns"`
	CreatedAt time.Time   `json:"createdAt"`
}

// DNSRecord is a record to put into DNS.
type DNSRecord struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Purpose string `json:"purpose"`
}

func domainsPath(project, host, action string) string {
	path := "/projects/" + url.PathEscape(project) + "/domains"
	if host != "" {
		path += "/" + url.PathEscape(host)
	}
	return path + action
}

func (p *program) domainsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "domains",
		Aliases: []string{"domain"},
		Short:   "Show and change a project's own domains",
		Long: `A domain of your own answers like the worker name once two records are in DNS: a
TXT record that proves that it is yours, and a CNAME (or the same addresses) that
sends visitors here. Slipway looks for them by itself, less and less often.`,
		Example: `  slipway domains add www.example.com
  slipway domains list
  slipway domains check www.example.com      look now
  slipway domains remove www.example.com`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		p.domainsListCommand(),
		p.domainCommand("add HOST", "Add a domain and say what to put into DNS", func(ctx context.Context, c *Client, project, host string) (json.RawMessage, error) {
			var raw json.RawMessage
			return raw, c.do(ctx, call{method: http.MethodPost, path: domainsPath(project, "", ""), body: map[string]string{"host": host}, repeatable: true}, &raw)
		}),
		p.domainCommand("show HOST", "Show a domain and what is missing", func(ctx context.Context, c *Client, project, host string) (json.RawMessage, error) {
			var raw json.RawMessage
			return raw, c.get(ctx, domainsPath(project, host, ""), nil, &raw)
		}),
		p.domainCommand("check HOST", "Look at a domain's DNS now", func(ctx context.Context, c *Client, project, host string) (json.RawMessage, error) {
			var raw json.RawMessage
			return raw, c.do(ctx, call{method: http.MethodPost, path: domainsPath(project, host, "/check"), body: struct{}{}, repeatable: true}, &raw)
		}),
		p.domainCommand("remove HOST", "Remove a domain; it stops answering at once", func(ctx context.Context, c *Client, project, host string) (json.RawMessage, error) {
			return nil, c.do(ctx, call{method: http.MethodDelete, path: domainsPath(project, host, "")}, nil)
		}),
	)
	return cmd
}

// domainCommand is a command about one domain; act's answer is nil when there is
// no domain left to show.
func (p *program) domainCommand(use, short string, act func(ctx context.Context, c *Client, project, host string) (json.RawMessage, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, project, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			raw, err := act(cmd.Context(), client, project, args[0])
			switch {
			case err != nil:
				return err
			case raw == nil:
				fmt.Fprintf(p.err, "Removed %s.\n", printable(args[0]))
				return nil
			case wantsJSON(cmd):
				return p.printJSON(raw)
			}
			var domain Domain
			if err := json.Unmarshal(raw, &domain); err != nil {
				return err
			}
			return p.showDomain(domain)
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func (p *program) showDomain(d Domain) error {
	fmt.Fprintf(p.out, "%s is %s.\n", d.Host, d.Status)
	if d.Reason != "" {
		fmt.Fprintln(p.out, printable(d.Reason))
	}
	if d.Status == "active" {
		return nil
	}
	fmt.Fprintln(p.out, "\nPut these records into DNS:")
	columns := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, r := range d.DNS {
		fmt.Fprintf(columns, "  %s\t%s\t%s\n", r.Type, r.Name, r.Value)
	}
	return columns.Flush()
}

func (p *program) domainsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List a project's domains", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showProjectList(cmd, p, func(project string) string { return domainsPath(project, "", "") }, 1000, "There is no domain yet; 'slipway domains add www.example.com' adds one.", domainTable)
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func domainTable(w io.Writer, domains []Domain) {
	fmt.Fprintln(w, "DOMAIN\tSTATUS\tADDED\tMISSING")
	now := time.Now()
	for _, d := range domains {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Host, d.Status, formatAge(d.CreatedAt, now), firstOf(printable(d.Reason), "-"))
	}
}
