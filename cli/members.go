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

	"github.com/slipwayhq/slipway/models"
)

// Organization is an organization as the API shows it.
type Organization struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Role      models.Role `json:"role"`
	CreatedAt time.Time   `json:"createdAt"`
}

// Member is a person in an organization as the API shows them.
type Member struct {
	UserID   string      `json:"userId"`
	Email    string      `json:"email"`
	Name     string      `json:"name"`
	Role     models.Role `json:"role"`
	JoinedAt time.Time   `json:"joinedAt"`
}

// Invitation is an open invitation as the API shows it.
type Invitation struct {
	ID        string      `json:"id"`
	Email     string      `json:"email"`
	Role      models.Role `json:"role"`
	CreatedAt time.Time   `json:"createdAt"`
	ExpiresAt time.Time   `json:"expiresAt"`
}

// connectOrganization is connect with the organization that the token acts in.
func (p *program) connectOrganization(cmd *cobra.Command) (*Client, string, error) {
	client, creds, err := p.connect(cmd)
	if err == nil {
		err = creds.identify(cmd.Context(), client)
	}
	return client, creds.OrganizationID, err
}

func organizationPath(id, rest string) string { return "/orgs/" + url.PathEscape(id) + rest }

func (p *program) orgsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "orgs",
		Aliases: []string{"org"},
		Short:   "Show the organization you act in",
		Long: `A token acts in one organization. To act in another, sign in again and choose it
in the browser, where organizations are made, too: 'slipway login'.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	show := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the organizations that the token acts in", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := p.connect(cmd)
			if err != nil {
				return err
			}
			return showList(cmd, p, client, "/orgs", nil, limit, "You belong to no organization.", organizationTable)
		},
	}
	addLimitFlag(show, &limit)
	addConnectionFlags(show)
	rename := &cobra.Command{
		Use: "rename NAME", Short: "Rename the organization", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, org, err := p.connectOrganization(cmd)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			err = client.do(cmd.Context(), call{method: http.MethodPatch, path: organizationPath(org, ""), body: map[string]string{"name": args[0]}, repeatable: true}, &raw)
			if err != nil {
				return err
			}
			return p.done(cmd, raw, "The organization is now called %s.", printable(args[0]))
		},
	}
	addConnectionFlags(rename)
	cmd.AddCommand(show, rename)
	return cmd
}

func organizationTable(w io.Writer, rows []Organization) {
	fmt.Fprintln(w, "ORGANIZATION\tNAME\tYOUR ROLE")
	for _, o := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", o.ID, oneLine(o.Name), o.Role)
	}
}

// done prints what changed: with --json the API's answer, else a sentence.
func (p *program) done(cmd *cobra.Command, raw json.RawMessage, format string, args ...any) error {
	if !wantsJSON(cmd) {
		fmt.Fprintf(p.err, format+"\n", args...)
		return nil
	}
	if raw == nil {
		raw = json.RawMessage(`{"success": true}`)
	}
	return p.printJSON(raw)
}

func (p *program) membersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "members",
		Aliases: []string{"member"},
		Short:   "Show, invite and change the members of your organization",
		Long: `A member's role says what they may do; each includes those before it:

  viewer      look at everything but secrets
  developer   deploy, roll back, change projects, variables and domains
  admin       also members, invitations, webhooks, everybody's tokens, and deletions
  owner       also make owners and end the organization`,
		Example: `  slipway members list
  slipway members invite grace@example.com --role developer
  slipway members role grace@example.com admin
  slipway members remove grace@example.com`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		organizationList(p, "list", "List the members", "/members", "There is no member.", memberTable),
		organizationList(p, "invitations", "List the open invitations", "/invitations", "Nobody is invited; 'slipway members invite ADDRESS' does that.", invitationTable),
		p.inviteCommand(),
		p.memberCommand("role MEMBER ROLE", "Give a member another role", 2, func(ctx context.Context, c *Client, org string, args []string) (json.RawMessage, string, error) {
			var raw json.RawMessage
			id, err := memberID(ctx, c, org, args[0])
			if err == nil {
				err = c.do(ctx, call{method: http.MethodPatch, path: organizationPath(org, "/members/"+url.PathEscape(id)), body: map[string]string{"role": args[1]}, repeatable: true}, &raw)
			}
			return raw, fmt.Sprintf("%s is now %s.", args[0], args[1]), err
		}),
		p.memberCommand("remove MEMBER", "Remove a member and revoke their tokens", 1, func(ctx context.Context, c *Client, org string, args []string) (json.RawMessage, string, error) {
			id, err := memberID(ctx, c, org, args[0])
			if err == nil {
				err = c.do(ctx, call{method: http.MethodDelete, path: organizationPath(org, "/members/"+url.PathEscape(id))}, nil)
			}
			return nil, fmt.Sprintf("Removed %s; their tokens of this organization are revoked.", args[0]), err
		}),
		p.memberCommand("withdraw INVITATION", "Withdraw an invitation, by its id", 1, func(ctx context.Context, c *Client, org string, args []string) (json.RawMessage, string, error) {
			err := c.do(ctx, call{method: http.MethodDelete, path: organizationPath(org, "/invitations/"+url.PathEscape(args[0]))}, nil)
			return nil, "Withdrawn; the mailed link is of no use any more.", err
		}),
	)
	return cmd
}

// organizationList is a command that lists what the API has of the organization
// below that path.
func organizationList[T any](p *program, use, short, path, none string, table func(io.Writer, []T)) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, org, err := p.connectOrganization(cmd)
			if err != nil {
				return err
			}
			return showList(cmd, p, client, organizationPath(org, path), nil, limit, none, table)
		},
	}
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	return cmd
}

func memberTable(w io.Writer, members []Member) {
	fmt.Fprintln(w, "ADDRESS\tNAME\tROLE\tJOINED\tUSER")
	now := time.Now()
	for _, m := range members {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", oneLine(m.Email), firstOf(oneLine(m.Name), "-"), m.Role, formatAge(m.JoinedAt, now), m.UserID)
	}
}

func invitationTable(w io.Writer, invitations []Invitation) {
	fmt.Fprintln(w, "ADDRESS\tROLE\tSENT\tENDS\tINVITATION")
	now := time.Now()
	for _, i := range invitations {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", oneLine(i.Email), i.Role, formatAge(i.CreatedAt, now), i.ExpiresAt.Local().Format("2006-01-02"), i.ID)
	}
}

func (p *program) inviteCommand() *cobra.Command {
	var role string
	cmd := p.memberCommand("invite ADDRESS", "Invite somebody by mail", 1, func(ctx context.Context, c *Client, org string, args []string) (json.RawMessage, string, error) {
		var raw json.RawMessage
		body := map[string]string{"email": args[0], "role": role}
		err := c.do(ctx, call{method: http.MethodPost, path: organizationPath(org, "/invitations"), body: body}, &raw)
		return raw, fmt.Sprintf("Mailed %s a link that counts for seven days.", args[0]), err
	})
	cmd.Long = `Mail somebody a link with which they join the organization. Only the mail has it, and
it counts for seven days; inviting them again sends a new one and ends the old one.`
	cmd.Flags().StringVar(&role, "role", string(models.RoleDeveloper), "what they get: viewer, developer, admin or owner")
	return cmd
}

// memberCommand is a command that changes who belongs to the organization; act
// gives the API's answer, if there is one, and a sentence.
func (p *program) memberCommand(use, short string, count int, act func(ctx context.Context, c *Client, org string, args []string) (json.RawMessage, string, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments(count, count),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, org, err := p.connectOrganization(cmd)
			if err != nil {
				return err
			}
			raw, sentence, err := act(cmd.Context(), client, org, args)
			if err != nil {
				return err
			}
			return p.done(cmd, raw, "%s", printable(sentence))
		},
	}
	addConnectionFlags(cmd)
	return cmd
}

// memberID finds a member by address; an id is taken as it is.
func memberID(ctx context.Context, c *Client, org, member string) (string, error) {
	if models.ValidID(models.PrefixUser, member) {
		return member, nil
	}
	cursor := ""
	for {
		page, err := list[Member](ctx, c, organizationPath(org, "/members"), nil, pageSize, cursor)
		if err != nil {
			return "", err
		}
		for _, m := range page.Items {
			if strings.EqualFold(m.Email, member) {
				return m.UserID, nil
			}
		}
		if page.NextCursor == "" {
			return "", &APIError{Status: http.StatusNotFound, Code: models.CodeMemberNotFound, Message: "The organization has no member " + member + "."}
		}
		cursor = page.NextCursor
	}
}
