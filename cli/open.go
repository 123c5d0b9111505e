package cli

import (
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"
)

func (p *program) openCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "open",
		Short: "Open the project's site",
		Long: `Print the address of the project this folder deploys to and, on a desktop, open it
in the browser.`,
		Example: `  slipway open
  slipway open --project my-site
  curl "$(slipway open)"`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, id, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			project, err := client.Project(cmd.Context(), id)
			if err != nil {
				return err
			}
			if project.LiveReleaseID == "" {
				return errors.New("nothing of this project is live yet; 'slipway deploy' changes that")
			}
			if wantsJSON(cmd) {
				return p.printJSON(map[string]string{"projectId": project.ID, "url": project.URL})
			}
			fmt.Fprintln(p.out, project.URL)
			if isTerminal(p.out) {
				p.browse(project.URL)
			}
			return nil
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

// browse opens a web address with whatever the desktop has for it. That there is
// no desktop is no failure: the address has been printed.
func (p *program) browse(address string) {
	if u, err := url.Parse(address); err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return
	}
	opener := "xdg-open"
	if runtime.GOOS == "darwin" {
		opener = "open"
	}
	path, err := exec.LookPath(opener)
	if err != nil {
		return
	}
	command := exec.Command(path, address)
	if err := command.Start(); err == nil {
		_ = command.Process.Release()
	}
}
