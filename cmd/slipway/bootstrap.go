package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/cli"
	"github.com/slipwayhq/slipway/dev"
	"github.com/slipwayhq/slipway/models"
)

// bootstrapCommand makes the first organization of an installation.
func bootstrapCommand() *cobra.Command {
	var organization, email string
	cmd := &cobra.Command{
		Use: "bootstrap", Short: "Make the first organization and a token for it", GroupID: cli.GroupServe, Args: cobra.NoArgs,
		Long: `Makes an organization with one user who owns it, unless they exist, and prints
new credentials as JSON, with a password for an owner who has none. Save them as .slipway/credentials.json (mode 0600) for
the client commands. Run "slipway migrate" first.`,
		Example: `  slipway bootstrap --organization Acme --email ops@acme.example > .slipway/credentials.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPlatform(cmd.Context(), func(ctx context.Context, p *platform) error {
				made, err := p.bootstrap(ctx, organization, email)
				if err != nil {
					return err
				}
				made.APIURL = "http://" + p.config.API.Addr
				made.DispatcherURL = "http://" + p.config.Dispatch.Addr
				made.TemporalAddress = p.config.Temporal.Address
				return writeJSON(cmd.OutOrStdout(), made)
			})
		},
	}
	cmd.Flags().StringVar(&organization, "organization", "Default", "name of the organization")
	cmd.Flags().StringVar(&email, "email", "owner@localhost", "e-mail address of its owner")
	return cmd
}

// bootstrap finds or makes the owner and gives out a token.
func (p *platform) bootstrap(ctx context.Context, organization, email string) (dev.Credentials, error) {
	owner, err := p.store.EnsureOwner(ctx, organization, email)
	if err != nil {
		return dev.Credentials{}, err
	}
	_, token, err := p.store.CreateToken(ctx, models.NewToken{OrganizationID: owner.OrganizationID, UserID: owner.UserID, Name: "bootstrap"})
	if err != nil {
		return dev.Credentials{}, err
	}
	made := dev.Credentials{OrgID: owner.OrganizationID, UserID: owner.UserID, Token: token, Email: email}
	hash, err := p.store.PasswordHash(ctx, owner.UserID)
	if err == nil && hash == "" {
		made.Password, err = p.givePassword(ctx, owner.UserID)
	}
	return made, err
}

// givePassword makes a password for a user and sets it.
func (p *platform) givePassword(ctx context.Context, userID string) (string, error) {
	people, err := p.people()
	if err != nil {
		return "", err
	}
	return people.GivePassword(ctx, userID)
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
