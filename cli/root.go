package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of the program.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
	// ExitInterrupted is what a shell expects of a program that SIGINT ended.
	ExitInterrupted = 130
)

// Groups under which Root's help lists commands. A command added by the program
// joins one by its GroupID.
const (
	GroupDeploy  = "deploy"
	GroupOperate = "operate"
	GroupAccount = "account"
	GroupServe   = "serve"
)

// Root makes the slipway command with all client commands in it. The program
// adds its own and hands it to Execute.
func Root(o Options) *cobra.Command {
	p := newProgram(o)
	root := &cobra.Command{
		Use:   "slipway",
		Short: "Put a project's files live, durably",
		Long: `Slipway builds a project in a sandbox and puts it live.

A first deployment, with everything on this machine:

  slipway dev                    start PostgreSQL, Temporal, the API, a worker and the dispatcher
  slipway deploy ./my-site       (in another terminal) build the folder and put it live

Client commands find the API by --api and --token, by SLIPWAY_API_URL and
SLIPWAY_TOKEN, by the credentials.json that "slipway dev" wrote to .slipway/ in
this folder or one above it, or by that of "slipway login".`,
		Version:       p.version,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SuggestionsMinimumDistance = 2
	root.PersistentFlags().Bool("json", false, "print JSON: one document, or one per line for streams")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddGroup(
		&cobra.Group{ID: GroupDeploy, Title: "Deploy:"},
		&cobra.Group{ID: GroupOperate, Title: "Operate:"},
		&cobra.Group{ID: GroupAccount, Title: "Account:"},
		&cobra.Group{ID: GroupServe, Title: "Run Slipway:"},
	)
	for _, command := range Commands(o) {
		command.GroupID = groupOf(command.Name())
		root.AddCommand(command)
	}
	return root
}

// groupOf says where Root's help lists a client command. Commands itself sets no
// group: cobra refuses a group that the root does not have.
func groupOf(name string) string {
	switch name {
	case "retry", "abandon", "cancel", "dead-letters":
		return GroupOperate
	case "login", "logout", "whoami", "tokens", "members", "orgs", "audit":
		return GroupAccount
	default:
		return GroupDeploy
	}
}

// Execute runs root with args, prints the error if there is one, and returns
// the exit code. A context that ends is an interruption by the user.
func Execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	markUsage(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if cmd == nil {
		cmd = root
	}
	return report(cmd, err, ctx.Err() != nil)
}

// markUsage makes a wrong number of arguments a usage error in all commands,
// those that use cobra's own checks included.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			var usage *usageError
			if err := check(cmd, args); err != nil && !errors.As(err, &usage) {
				return &usageError{err}
			} else {
				return err
			}
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}

// report prints an error where its reader looks for it and gives the exit code.
func report(cmd *cobra.Command, err error, interrupted bool) int {
	var shown *shownError
	var usage *usageError
	var detached *detachedError
	code := ExitFailure
	switch {
	case errors.As(err, &shown):
		return shown.code
	case errors.As(err, &usage):
		code = ExitUsage
	case interrupted && errors.Is(err, context.Canceled):
		code = ExitInterrupted
		if !errors.As(err, &detached) {
			err = errors.New("interrupted")
		}
	}
	if wantsJSON(cmd) {
		document, _ := json.MarshalIndent(errorDocument(err), "", "  ")
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", document)
		return code
	}
	for i, line := range errorLines(err) {
		if i == 0 {
			line = "Error: " + line
		}
		fmt.Fprintln(cmd.ErrOrStderr(), line)
	}
	if code == ExitUsage {
		fmt.Fprintf(cmd.ErrOrStderr(), "  Run '%s --help' for how it is used.\n", cmd.CommandPath())
	}
	return code
}

// usageError is a mistake in the command line.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// shownError ends a command whose outcome has been printed already.
type shownError struct{ code int }

func (e *shownError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// arguments checks the number of positional arguments.
func arguments(atLeast, atMost int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < atLeast:
			return usagef("%s needs %s", cmd.Name(), strings.TrimPrefix(cmd.Use, cmd.Name()+" "))
		case len(args) > atMost:
			return usagef("%s does not know what to do with %q", cmd.Name(), args[atMost])
		}
		return nil
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if close := cmd.SuggestionsFor(name); len(close) > 0 {
		return usagef("there is no command %q; did you mean %q?", name, close[0])
	}
	return usagef("there is no command %q", name)
}
