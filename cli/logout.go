package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// Me is who a token or session acts as.
type Me struct {
	User struct {
		ID    string `json:"id"`
		Email string `json:"email"`
		Name  string `json:"name"`
	} `json:"user"`
	Organization *Organization `json:"organization"`
	Scope        models.Scope  `json:"scope"`
	TokenID      string        `json:"tokenId"`
	ProjectID    string        `json:"projectId"`
}

// sentence is "ada@example.com, developer in Acme".
func (m Me) sentence() string {
	who := printable(m.User.Email)
	if m.Organization == nil {
		return who
	}
	return fmt.Sprintf("%s, %s in %s", who, m.Organization.Role, printable(m.Organization.Name))
}

// Me says who the client acts as; raw is the answer as the API wrote it.
func (c *Client) Me(ctx context.Context) (me Me, raw json.RawMessage, err error) {
	if err := c.get(ctx, "/me", nil, &raw); err != nil {
		return me, nil, err
	}
	return me, raw, json.Unmarshal(raw, &me)
}

func (p *program) logoutCommand() *cobra.Command {
	var local bool
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Revoke the token of 'slipway login' and forget it",
		Long: `Revoke the token that 'slipway login' got and delete the file it is in. A
credentials.json that 'slipway dev' wrote into a folder stays as it is.`,
		Example: `  slipway logout
  slipway logout --local      forget it without asking the API`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			creds, err := readUserCredentials()
			if err != nil {
				return err
			}
			if creds.path == "" {
				return errors.New("you are not signed in; 'slipway login' does that")
			}
			if !local {
				err := revokeFormer(cmd.Context(), creds, p.version)
				// One that is over or revoked already is what was wanted.
				if err != nil && !hasCode(err, models.CodeUnauthorized, models.CodeTokenNotFound) {
					return fmt.Errorf("the token could not be revoked, so it is kept: %w; 'slipway logout --local' forgets it here", err)
				}
			}
			if err := os.Remove(creds.path); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return p.printJSON(map[string]any{"apiUrl": creds.APIURL, "revoked": !local})
			}
			fmt.Fprintf(p.err, "Signed out of %s.\n", creds.APIURL)
			return nil
		},
	}
	cmd.Flags().BoolVar(&local, "local", false, "forget the token without revoking it")
	return cmd
}

func (p *program) whoamiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "whoami", Short: "Show who you act as, and where", Args: arguments(0, 0),
		Long: "Show the person and the organization that commands in this folder act for, and what the token may do.",
		Example: `  slipway whoami
  slipway whoami --json | jq -r .organization.id`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, creds, err := p.connect(cmd)
			if err != nil {
				return err
			}
			me, raw, err := client.Me(cmd.Context())
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return p.printJSON(raw)
			}
			columns := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
			fmt.Fprintf(columns, "User\t%s (%s)\n", printable(me.User.Email), me.User.ID)
			if o := me.Organization; o != nil {
				fmt.Fprintf(columns, "Organization\t%s (%s)\nRole\t%s\n", printable(o.Name), o.ID, o.Role)
			}
			fmt.Fprintf(columns, "Scope\t%s\n", me.Scope)
			if me.ProjectID != "" {
				fmt.Fprintf(columns, "Project\t%s\n", me.ProjectID)
			}
			fmt.Fprintf(columns, "API\t%s\n", creds.APIURL)
			if creds.path != "" {
				fmt.Fprintf(columns, "From\t%s\n", creds.path)
			}
			return columns.Flush()
		},
	}
	addConnectionFlags(cmd)
	return cmd
}
