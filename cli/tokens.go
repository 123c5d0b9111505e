package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// Token is an API token as the API shows it.
type Token struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	Prefix     string       `json:"prefix"`
	Scope      models.Scope `json:"scope"`
	ProjectID  string       `json:"projectId"`
	CreatedBy  string       `json:"createdBy"`
	CreatedAt  time.Time    `json:"createdAt"`
	LastUsedAt *time.Time   `json:"lastUsedAt"`
	ExpiresAt  *time.Time   `json:"expiresAt"`
}

// RevokeToken ends a token; CodeTokenNotFound.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/tokens/" + url.PathEscape(id)}, nil)
}

func (p *program) tokensCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tokens",
		Aliases: []string{"token"},
		Short:   "Make, list and revoke API tokens",
		Long: `A token lets a program call the API in your name, within your role in the
organization and within its scope: read, deploy or admin. Give each program one of
its own, with no more than it needs, and an end.`,
		Example: `  slipway tokens create "CI of the shop" --scope deploy --project shop --expires 90d
  slipway tokens list
  slipway tokens revoke tok_…`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.tokensListCommand(), p.tokensCreateCommand(), p.tokensRevokeCommand())
	return cmd
}

func (p *program) tokensListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List tokens", Args: arguments(0, 0),
		Long: "List your tokens of the organization; an admin sees everybody's. Secrets are never shown again.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			return showList(cmd, p, client, "/tokens", nil, limit, "There is no token; 'slipway tokens create NAME' makes one.", tokenTable)
		},
	}
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	return cmd
}

func tokenTable(w io.Writer, tokens []Token) {
	fmt.Fprintln(w, "TOKEN\tNAME\tSECRET\tSCOPE\tPROJECT\tLAST USED\tEXPIRES")
	now := time.Now()
	for _, t := range tokens {
		used, ends := "never", "never"
		if t.LastUsedAt != nil {
			used = formatAge(*t.LastUsedAt, now)
		}
		switch {
		case t.ExpiresAt == nil:
		case t.ExpiresAt.Before(now):
			ends = "expired"
		default:
			ends = t.ExpiresAt.Local().Format("2006-01-02")
		}
		fmt.Fprintf(w, "%s\t%s\t%s…\t%s\t%s\t%s\t%s\n", t.ID, fit(oneLine(t.Name), 40), printable(t.Prefix), t.Scope, firstOf(t.ProjectID, "all"), used, ends)
	}
}

func (p *program) tokensCreateCommand() *cobra.Command {
	var scope, expires string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a token and print its secret, once", Args: arguments(1, 1),
		Long: `Make a token and print its secret to standard output. It is shown this once: what
is kept of it cannot be turned back.`,
		Example: `  slipway tokens create "CI of the shop" --scope deploy --project shop --expires 90d
  SLIPWAY_TOKEN=$(slipway tokens create nightly --scope read --expires 1d) ./report.sh`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !models.Scope(scope).Valid() {
				return usagef("--scope is read, deploy or admin, not %q", scope)
			}
			body := map[string]any{"name": args[0], "scope": scope}
			if expires != "never" {
				days, err := strconv.Atoi(strings.TrimSuffix(expires, "d"))
				if err != nil || days < 1 || !strings.HasSuffix(expires, "d") {
					return usagef("--expires is a number of days such as 90d, or never; not %q", expires)
				}
				body["expiresInDays"] = days
			}
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			if wanted := flagValue(cmd, "project"); wanted != "" {
				if body["projectId"], err = p.projectID(cmd, client); err != nil {
					return err
				}
			}
			var raw json.RawMessage
			if err := client.do(cmd.Context(), call{method: http.MethodPost, path: "/tokens", body: body}, &raw); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return p.printJSON(raw)
			}
			var made struct {
				Token
				Secret string `json:"token"`
			}
			if err := json.Unmarshal(raw, &made); err != nil {
				return err
			}
			fmt.Fprintf(p.err, "Made %s with the scope %s. This is the only time its secret is shown.\n", made.ID, made.Scope)
			fmt.Fprintln(p.out, made.Secret)
			return nil
		},
	}
	cmd.Flags().StringVar(&scope, "scope", string(models.ScopeDeploy), "what it may do: read, deploy or admin")
	cmd.Flags().StringVar(&expires, "expires", "90d", "when it ends, in days such as 90d, or never")
	cmd.Flags().String("project", "", "limit it to one project (id or worker name)")
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) tokensRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke TOKEN …", Aliases: []string{"rm"}, Short: "Revoke tokens", Args: arguments(1, 100),
		Long:    "Revoke tokens by their ids. They are of no use from the next request on.",
		Example: `  slipway tokens revoke tok_3kq5q2n7d4v6x2y7z3a4b5c6d7`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := client.RevokeToken(cmd.Context(), id); err != nil {
					return err
				}
				if !wantsJSON(cmd) {
					fmt.Fprintf(p.err, "Revoked %s.\n", printable(id))
				}
			}
			if wantsJSON(cmd) {
				return p.printJSON(map[string]any{"revoked": args})
			}
			return nil
		},
	}
	addConnectionFlags(cmd)
	return cmd
}
