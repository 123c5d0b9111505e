// Package cli holds the client commands of the slipway program and the HTTP
// client they share. It knows the API by its routes and JSON alone: it imports
// neither the gateway nor Temporal, so that the commands work the same against
// an installation on this machine and one on the other side of the world.
//
// Where output goes is fixed: what a command found (a URL, a table, a JSON
// document) is written to Stdout; progress, build output and errors go to
// Stderr. With --json nothing but JSON is written, and only to Stdout.
package cli

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Options are what the commands need of the program around them. The zero
// value of a stream is the process's own.
type Options struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Version is sent as User-Agent and printed by --version.
	Version string
	// pause waits between two questions whether a login was confirmed; nil is sleep.
	pause func(ctx context.Context, d time.Duration) error
	// drain is how long the end of a build log may take after its deployment's;
	// 0 is a few seconds.
	drain time.Duration
}

// Commands are the client commands, each ready to be added to a root that has
// the persistent flag --json (Root makes one).
func Commands(o Options) []*cobra.Command {
	p := newProgram(o)
	return []*cobra.Command{
		p.deployCommand(),
		p.statusCommand(),
		p.logsCommand(),
		p.tailCommand(),
		p.listCommand(),
		p.projectsCommand(),
		p.openCommand(),
		p.releasesCommand(),
		p.rollbackCommand(),
		p.rolloutCommand(),
		p.envCommand(),
		p.domainsCommand(),
		p.webhooksCommand(),
		p.retryCommand(),
		p.abandonCommand(),
		p.cancelCommand(),
		p.deadLettersCommand(),
		p.loginCommand(),
		p.logoutCommand(),
		p.whoamiCommand(),
		p.tokensCommand(),
		p.membersCommand(),
		p.orgsCommand(),
		p.auditCommand(),
	}
}

// program is what all commands share.
type program struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	version string
	pause   func(ctx context.Context, d time.Duration) error
	drain   time.Duration
}

func newProgram(o Options) *program {
	p := &program{in: o.Stdin, out: o.Stdout, err: o.Stderr, version: o.Version, pause: o.pause, drain: o.drain}
	if p.pause == nil {
		p.pause = sleep
	}
	if p.drain == 0 {
		p.drain = drain
	}
	if p.in == nil {
		p.in = os.Stdin
	}
	if p.out == nil {
		p.out = os.Stdout
	}
	if p.err == nil {
		p.err = os.Stderr
	}
	if p.version == "" {
		p.version = "dev"
	}
	return p
}

// isTerminal says whether w is a terminal that understands cursor movement.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}

// wantsJSON reads the root's --json.
func wantsJSON(cmd *cobra.Command) bool {
	flag := cmd.Flags().Lookup("json")
	return flag != nil && flag.Value.String() == "true"
}
