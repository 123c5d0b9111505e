// Slipway puts a project's files live, durably. One binary holds every role, a
// subcommand each, and the client commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/slipwayhq/slipway/cli"
	"github.com/slipwayhq/slipway/sandbox"
)

// version is set by the linker in releases.
var version = "dev"

func main() {
	// Inside a sandbox this binary is the first process; it must come before
	// anything that reads flags or the environment.
	sandbox.RunInit()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends a command that is slow to stop.
	context.AfterFunc(ctx, stop)
	root := cli.Root(cli.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version})
	root.AddCommand(serveCommands()...)
	os.Exit(cli.Execute(ctx, root, os.Args[1:]))
}
