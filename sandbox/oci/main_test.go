package oci

import (
	"os"
	"testing"

	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/guest"
)

// dialCommand has the test program connect to a unix socket.
const dialCommand = "dial"

// TestMain lets this test program be what runs in its sandboxes: the guest, or
// the intruder of the escape tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[0] == guest.Path && os.Args[1] == intruderCommand {
		os.Exit(intrude())
	}
	if len(os.Args) == 3 && os.Args[1] == dialCommand {
		if dialUnix(os.Args[2])() != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	sandbox.RunInit()
	os.Exit(m.Run())
}
