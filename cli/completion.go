package cli

import (
	"context"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

const (
	// completionTimeout bounds what a press of the Tab key may cost.
	completionTimeout = 2 * time.Second
	// completionItems is how many candidates a shell is offered.
	completionItems = 30
)

// completion is what cobra asks for the candidates of an argument.
type completion func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// completeFrom offers what find gives, as the only argument of a command.
// Whatever goes wrong offers nothing: a shell has no place for an error.
func (p *program) completeFrom(find func(context.Context, *cobra.Command, *Client) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		creds, err := loadCredentials(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, err := NewClient(ClientOptions{APIURL: creds.APIURL, Token: creds.Token, Version: p.version})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		cmd.SetContext(ctx)
		candidates, err := find(ctx, cmd, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return candidates, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeDeployments offers the newest deployments of the folder's project, or
// of the organization when the folder has none, as far as wanted says.
func (p *program) completeDeployments(wanted func(Deployment) bool) completion {
	return p.completeFrom(func(ctx context.Context, cmd *cobra.Command, client *Client) ([]string, error) {
		query := url.Values{}
		if id, err := p.projectID(cmd, client); err == nil {
			query.Set("projectId", id)
		}
		page, err := collect[Deployment](ctx, client, "/deployments", query, completionItems)
		return describe(page.Items, wanted), err
	})
}

// completeParked offers the dead letters.
func (p *program) completeParked() completion {
	return p.completeFrom(func(ctx context.Context, _ *cobra.Command, client *Client) ([]string, error) {
		page, err := collect[Deployment](ctx, client, "/dead-letters", nil, completionItems)
		return describe(page.Items, anyDeployment), err
	})
}

// completeReleases offers the releases of the folder's project that are not live.
func (p *program) completeReleases() completion {
	return p.completeFrom(func(ctx context.Context, cmd *cobra.Command, client *Client) ([]string, error) {
		id, err := p.projectID(cmd, client)
		if err != nil {
			return nil, err
		}
		page, err := collect[Release](ctx, client, releasesPath(id), nil, completionItems)
		var out []string
		for _, r := range page.Items {
			if !r.Live {
				out = append(out, r.ID+"\t"+formatAge(r.CreatedAt, time.Now()))
			}
		}
		return out, err
	})
}

// describe makes candidates of deployments: the id, a tab, what to know it by.
func describe(deployments []Deployment, wanted func(Deployment) bool) []string {
	var out []string
	for _, d := range deployments {
		if wanted(d) {
			out = append(out, d.ID+"\t"+firstOf(string(d.Outcome), string(d.Status))+", "+formatAge(d.CreatedAt, time.Now()))
		}
	}
	return out
}

func anyDeployment(Deployment) bool { return true }

// stoppable says whether a deployment can still be canceled.
func stoppable(d Deployment) bool {
	return d.FinishedAt == nil && !d.Outcome.Final()
}
