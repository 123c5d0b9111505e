package oci

import (
	"os"
	"testing"

	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// TestMain lets this test program be what runs in its sandboxes: the guest, or
// the intruder of the escape tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[0] == guest.Path && os.Args[1] == intruderCommand {
		os.Exit(intrude())
	}
	sandbox.RunInit()
	os.Exit(m.Run())
}
