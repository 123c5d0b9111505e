package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// deployFlags are the flags of the deploy command.
type deployFlags struct {
	name, domain string
	commit       string
	priority     int
	detach       bool
	preview      bool
}

func (p *program) deployCommand() *cobra.Command {
	var flags deployFlags
	cmd := &cobra.Command{
		Use:   "deploy [folder]",
		Short: "Build a folder and put it live",
		Long: `Send a folder's files to Slipway, watch the six steps, and print the address.

The first deployment of a folder makes a project, named after the folder or by
--name, and remembers it in <folder>/.slipway/project.json. Later ones go to the
same project. Only files that Slipway does not have yet are sent. What
.gitignore names stays behind, and so do .git, node_modules and .slipway.

Ctrl-C stops watching; the deployment goes on. The exit code is 0 when the
folder is live, 1 when the deployment failed or was parked, 2 for a mistake in
the command line, 130 after Ctrl-C.`,
		Example: `  slipway deploy                          deploy this folder
  slipway deploy ./site --name my-site    choose the project's worker name
  slipway deploy --domain www.example.com answer at that domain too
  slipway deploy --preview                look at it first; 'slipway rollout' brings it live
  slipway deploy --detach                 start it and return at once
  url=$(slipway deploy ./site)            only the address goes to stdout`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := "."
			if len(args) > 0 {
				folder = args[0]
			}
			return p.deploy(cmd, folder, flags)
		},
	}
	cmd.Flags().StringVarP(&flags.name, "name", "n", "", "worker name of the project (default: the folder's name)")
	cmd.Flags().StringVar(&flags.domain, "domain", "", "custom domain that answers with this project")
	cmd.Flags().BoolVar(&flags.preview, "preview", false, "make the release at an address of its own, without bringing it live")
	cmd.Flags().StringVar(&flags.commit, "commit", "", "the commit the files are of, 40 or 64 hexadecimal digits; webhooks tell it")
	cmd.Flags().IntVar(&flags.priority, "priority", 0, "1 (first) to 5 (last); 3 when not given")
	cmd.Flags().BoolVarP(&flags.detach, "detach", "d", false, "return as soon as the deployment is queued")
	addConnectionFlags(cmd)
	return cmd
}

func (p *program) deploy(cmd *cobra.Command, folder string, flags deployFlags) error {
	if flags.priority < 0 || flags.priority > 5 {
		return usagef("--priority is 1 to 5, not %d", flags.priority)
	}
	client, creds, err := p.connect(cmd)
	if err != nil {
		return err
	}
	if err := creds.identify(cmd.Context(), client); err != nil {
		return err
	}
	folder, err = filepath.Abs(folder)
	if err != nil {
		return err
	}
	v := newView(p.err, wantsJSON(cmd))
	defer v.close()
	answer, err := p.send(cmd.Context(), client, creds, folder, flags, v)
	if err != nil {
		return err
	}
	if flags.detach {
		return p.showQueued(cmd, answer)
	}
	return p.watch(cmd, newFollower(client, v, answer.DeploymentID))
}

// send brings the files over and starts the deployment.
func (p *program) send(ctx context.Context, client *Client, creds Credentials, folder string, flags deployFlags, v view) (DeployAnswer, error) {
	limits, err := limitsFromEnvironment()
	if err != nil {
		return DeployAnswer{}, err
	}
	source, err := Scan(ctx, folder, limits)
	if err != nil {
		return DeployAnswer{}, err
	}
	defer source.Close()
	for _, skipped := range source.Skipped {
		v.note("Left out " + printable(skipped))
	}
	project, created, err := settleProject(ctx, client, creds, folder, flags.name)
	if err != nil {
		return DeployAnswer{}, err
	}
	verb := "Deploying to"
	if created {
		verb = "Created"
	}
	v.note(fmt.Sprintf("%s project %s: %s, %s", verb, project.WorkerName, plural(len(source.Files), "file"), formatBytes(source.Bytes())))
	sent, err := upload(ctx, client, source, v.upload)
	if err != nil {
		return DeployAnswer{}, err
	}
	if sent.total > 0 {
		v.upload(uploadState{})
		v.note(fmt.Sprintf("Uploaded %s, %s", plural(sent.total, "file"), formatBytes(sent.totalBytes)))
	}
	return client.Deploy(ctx, DeployRequest{
		ProjectID: project.ID, OrgID: creds.OrganizationID, UserID: creds.UserID,
		CustomDomain: flags.domain, Priority: flags.priority, Preview: flags.preview, Commit: flags.commit, Files: source.References(),
	}, rand.Text())
}

func (p *program) showQueued(cmd *cobra.Command, answer DeployAnswer) error {
	if wantsJSON(cmd) {
		return p.printJSON(answer)
	}
	fmt.Fprintln(p.out, answer.DeploymentID)
	fmt.Fprintf(p.err, "Queued. Follow it with: slipway logs -f %s\n", answer.DeploymentID)
	return nil
}

// watch follows a deployment to where it settles and reports that.
func (p *program) watch(cmd *cobra.Command, f *follower) error {
	f.withLog, f.drain = f.withLog && !wantsJSON(cmd), p.drain
	f.view.note("Deployment " + f.id)
	status, raw, err := f.run(cmd.Context())
	f.view.close()
	if err != nil {
		return p.detached(cmd, f.id, err)
	}
	if wantsJSON(cmd) {
		return errors.Join(p.printJSON(raw), exitFor(status))
	}
	for _, line := range outcomeLines(status, newStyle(p.err)) {
		fmt.Fprintln(p.err, line)
	}
	if status.Status == models.StatusCompleted && status.URL != "" {
		if status.Outcome != models.OutcomeSuperseded && isTerminal(p.err) {
			fmt.Fprint(p.err, newStyle(p.err).green("Live at "))
		}
		fmt.Fprintln(p.out, status.URL)
	}
	return exitFor(status)
}

// detached says, when watching ended before the deployment, how to go on.
func (p *program) detached(cmd *cobra.Command, id string, cause error) error {
	if wantsJSON(cmd) {
		return &detachedError{id, cause}
	}
	interrupted := errors.Is(cause, context.Canceled)
	if !interrupted {
		for _, line := range errorLines(cause) {
			fmt.Fprintln(p.err, line)
		}
	}
	fmt.Fprintf(p.err, "The deployment goes on without this terminal.\n  slipway logs -f %s   follows it\n  slipway cancel %s    stops it\n", id, id)
	if interrupted {
		return &shownError{ExitInterrupted}
	}
	return &shownError{ExitFailure}
}

// detachedError ends watching before the deployment has settled.
type detachedError struct {
	deploymentID string
	cause        error
}

func (e *detachedError) Error() string {
	return fmt.Sprintf("stopped watching (%v); the deployment goes on", e.cause)
}

func (e *detachedError) Unwrap() error { return e.cause }

// exitFor is the exit code a settled deployment gives, as an error.
func exitFor(s models.Status) error {
	if s.Status == models.StatusCompleted {
		return nil
	}
	return &shownError{ExitFailure}
}

// printJSON writes one indented document to Stdout.
func (p *program) printJSON(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
