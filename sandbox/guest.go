package sandbox

import (
	"os"

	"github.com/slipwayhq/slipway/sandbox/guest"
)

// RunInit turns this process into the program that runs inside a sandbox, if
// that is how it was started, and does not return then. A provider mounts the
// running executable into its sandboxes, so every program that uses one calls
// RunInit as the first thing in main (tests: in TestMain).
func RunInit() {
	if guest.Started() {
		os.Exit(guest.Main(os.Args[1:]))
	}
}
