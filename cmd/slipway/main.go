// Command slipway is the whole of Slipway: each role is a subcommand, and so are
// the client's commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/slipwayhq/slipway/cli"
)

// version is set by the linker for releases: -X main.version=v1.2.3.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks; a second one ends the program as it always would.
	context.AfterFunc(ctx, stop)
	root := cli.Root(cli.Options{Version: buildVersion()})
	os.Exit(cli.Execute(ctx, root, os.Args[1:]))
}

// buildVersion is what the linker says, else what the module system knows.
func buildVersion() string {
	if version != "" {
		return version
	}
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" && build.Main.Version != "(devel)" {
		return build.Main.Version
	}
	return "dev"
}
