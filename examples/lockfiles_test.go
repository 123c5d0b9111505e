package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// A lockfile that names a registry is installed from there whatever the builder
// is set up with.
func TestLockfiles_nameNoRegistry(t *testing.T) {
	address := regexp.MustCompile(`"resolved"|^\s*resolved |tarball:|https?://[^"\s]*\.tgz`)
	var seen int
	for _, pattern := range []string{"*/package-lock.json", "*/pnpm-lock.yaml", "*/bun.lock", "../toolchain/package-lock.json", "../framework/testdata/oracle/package-lock.json", "../e2e/browser/package-lock.json"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		for _, name := range found {
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Empty(t, address.Find(content), name)
			seen++
		}
	}
	require.GreaterOrEqual(t, seen, 6)
}
