package framework_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
)

func TestDocs_listEveryFrameworkInTheTablesOrder(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "projects.md"))
	require.NoError(t, err)
	var documented []string
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) == 8 && strings.HasPrefix(strings.TrimSpace(cells[2]), "`") {
			documented = append(documented, strings.Trim(strings.TrimSpace(cells[2]), "`"))
		}
	}
	require.Equal(t, framework.Names(), documented)
}

func TestDocs_exampleSettingsAreAccepted(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "projects.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```json\n")
	require.True(t, found)
	settings, _, _ := strings.Cut(rest, "```")
	plan := detect(t, memory{"slipway.json": settings, "apps/web/package.json": viteManifest})
	require.Equal(t, "apps/web", plan.Root)
	require.Equal(t, []string{"dist"}, plan.OutputDirs)
}
