package sandbox

import (
	"os"

	"github.com/slipwayhq/slipway/sandbox/guest"
	"github.com/slipwayhq/slipway/sandbox/monitor"
	"github.com/slipwayhq/slipway/sandbox/shim"
)

// RunInit turns this process into the program that runs inside a sandbox, or
// beside one, if that is how it was started, and does not return then. A
// provider uses the running executable for both, so every program that has one
// calls RunInit as the first thing in main (tests: in TestMain).
func RunInit() {
	if shim.Started() {
		os.Exit(shim.Main())
	}
	if monitor.Started() {
		os.Exit(monitor.Main())
	}
	if guest.Started() {
		os.Exit(guest.Main(os.Args[1:]))
	}
}
