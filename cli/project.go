package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// Link is what a folder remembers of its project, in .slipway/project.json.
type Link struct {
	ProjectID      string `json:"projectId"`
	OrganizationID string `json:"orgId"`
	WorkerName     string `json:"workerName"`
}

func linkPath(folder string) string { return filepath.Join(folder, stateFolder, "project.json") }

// readLink reads the link of a folder; ok is false when it has none.
func readLink(folder string) (link Link, ok bool, err error) {
	data, err := os.ReadFile(linkPath(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return link, false, nil
	}
	if err != nil {
		return link, false, fmt.Errorf("read which project this folder is: %w", err)
	}
	if err := json.Unmarshal(data, &link); err != nil || link.ProjectID == "" {
		return Link{}, false, fmt.Errorf("%s is damaged; delete it, then deploy with --name to choose the project again", linkPath(folder))
	}
	return link, true, nil
}

// writeLink remembers a folder's project. A .slipway/ it makes excludes itself
// from git: the ids in it belong to one installation.
func writeLink(folder string, link Link) error {
	data, err := json.MarshalIndent(link, "", "  ")
	if err != nil {
		return err
	}
	state := filepath.Join(folder, stateFolder)
	switch err := os.Mkdir(state, 0o755); {
	case err == nil:
		if err := os.WriteFile(filepath.Join(state, ".gitignore"), []byte("*\n"), 0o644); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	// Written beside and renamed, so that a crash leaves the old one or the new one.
	temporary := linkPath(folder) + ".new"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, linkPath(folder))
}

// linkedFolder finds the link of a folder or of the nearest one above it.
func linkedFolder(folder string) (Link, bool, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return Link{}, false, err
	}
	for {
		link, ok, err := readLink(folder)
		if ok || err != nil {
			return link, ok, err
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return Link{}, false, nil
		}
		folder = parent
	}
}

// addProjectFlags gives a command the flags that say which project it is about.
func addProjectFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("project", "p", "", "project, by id or worker name (default: the one this folder deploys to)")
	cmd.Flags().String("dir", ".", "folder of the project")
}

// projectID finds the project a command is about.
func (p *program) projectID(cmd *cobra.Command, client *Client) (string, error) {
	if name := flagValue(cmd, "project"); name != "" {
		if models.ValidID(models.PrefixProject, name) {
			return name, nil
		}
		project, err := client.ProjectByWorker(cmd.Context(), name)
		return project.ID, err
	}
	link, ok, err := linkedFolder(flagValue(cmd, "dir"))
	if err != nil {
		return "", err
	}
	if !ok {
		return "", usagef("this folder deploys to no project yet; name one with --project, or run 'slipway deploy' first")
	}
	return link.ProjectID, nil
}

// connectProject is what commands about a project begin with.
func (p *program) connectProject(cmd *cobra.Command) (*Client, string, error) {
	client, _, err := p.connect(cmd)
	if err != nil {
		return nil, "", err
	}
	project, err := p.projectID(cmd, client)
	return client, project, err
}

// deploymentID finds the deployment a command is about: the one named, else the
// project's newest.
func (p *program) deploymentID(cmd *cobra.Command, client *Client, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	project, err := p.projectID(cmd, client)
	if err != nil {
		return "", err
	}
	page, err := list[Deployment](cmd.Context(), client, "/deployments", map[string][]string{"projectId": {project}}, 1, "")
	if err != nil {
		return "", err
	}
	if len(page.Items) == 0 {
		return "", errors.New("this project has no deployment yet; 'slipway deploy' makes one")
	}
	return page.Items[0].ID, nil
}

// settleProject finds the project a folder is deployed to, makes it on first
// use, and remembers it. name is what --name says, "" for the folder's own.
func settleProject(ctx context.Context, client *Client, creds Credentials, folder, name string) (project Project, created bool, err error) {
	link, linked, err := readLink(folder)
	if err != nil {
		return project, false, err
	}
	worker := models.FoldWorkerName(name)
	if linked && (name == "" || worker == link.WorkerName) {
		if link.OrganizationID != creds.OrganizationID {
			return project, false, fmt.Errorf("this folder deploys to project %s of organization %s, but the token belongs to organization %s.\n  If that installation is gone, delete %s and deploy again",
				link.WorkerName, link.OrganizationID, creds.OrganizationID, linkPath(folder))
		}
		project, err = client.Project(ctx, link.ProjectID)
		return project, false, err
	}
	given := name != ""
	if !given {
		if worker, err = workerNameOf(folder); err != nil {
			return project, false, err
		}
	}
	if err := models.ValidateNewWorkerName(worker, models.ReservedWorkerNames()); err != nil {
		return project, false, usagef("%s; choose another with --name", models.MessageOf(err))
	}
	project, err = client.CreateProject(ctx, firstOf(name, filepath.Base(folder)), worker)
	created = err == nil
	if hasCode(err, models.CodeNameTaken) {
		project, err = takenProject(ctx, client, worker, given, err)
	}
	if err != nil {
		return project, false, err
	}
	return project, created, writeLink(folder, Link{ProjectID: project.ID, OrganizationID: creds.OrganizationID, WorkerName: project.WorkerName})
}

// takenProject decides what a taken name means. One of our own that was named
// on purpose is the one to deploy to; one that merely has the folder's name may
// be another site altogether, which this folder must not replace.
func takenProject(ctx context.Context, client *Client, worker string, given bool, taken error) (Project, error) {
	project, err := client.ProjectByWorker(ctx, worker)
	switch {
	case hasCode(err, models.CodeProjectNotFound):
		return project, taken
	case err != nil:
		return project, err
	case !given:
		return project, fmt.Errorf("your organization has a project %s already, and this folder does not know it.\n  To deploy this folder to it:    slipway deploy --name %s\n  To make another project of it:  slipway deploy --name <another name>", worker, worker)
	}
	return project, nil
}

// workerNameOf folds a folder's name to a worker name: what a name may not have
// becomes a hyphen, runs of hyphens one.
func workerNameOf(folder string) (string, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	var name strings.Builder
	hyphen := false
	for _, c := range []byte(models.FoldWorkerName(filepath.Base(absolute))) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			hyphen = name.Len() > 0
			continue
		}
		if hyphen {
			name.WriteByte('-')
			hyphen = false
		}
		name.WriteByte(c)
	}
	worker := name.String()
	if len(worker) > models.MaxNewWorkerNameLength {
		worker = strings.TrimRight(worker[:models.MaxNewWorkerNameLength], "-")
	}
	if worker == "" {
		return "", usagef("the name of folder %s makes no worker name; give one with --name", absolute)
	}
	return worker, nil
}
