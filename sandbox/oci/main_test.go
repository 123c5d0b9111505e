package oci

import (
	"os"
	"testing"

	"github.com/slipwayhq/slipway/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.RunInit()
	os.Exit(m.Run())
}
