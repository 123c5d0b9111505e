package oci

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// SWC keeps native code below the home folder, and refuses to when a folder
// above could be swapped by somebody who is neither root nor itself.
func TestSandbox_nobodyElseOwnsAFolderAboveHome(t *testing.T) {
	s := newSandbox(t, newProvider(t), testSpec("owners"))
	got := sh(t, s, "id -u; stat -c %u / /home /home/build")
	require.Zero(t, got.ExitCode, got.Output)
	owners := strings.Fields(got.Output)
	for _, owner := range owners[1:] {
		require.Contains(t, []string{"0", owners[0]}, owner, got.Output)
	}
}
