package edge

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// mapsOf is a module main.js with the source map given.
func mapsOf(t *testing.T, sourceMap string) *sourceMaps {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "0"), []byte(sourceMap), 0o600))
	bundle := &models.WorkerBundle{Modules: []models.WorkerModule{{Name: "main.js", SourceMap: "m"}}}
	return newSourceMaps(bundle, folder, &sync.Mutex{})
}

const frame = "Error: no\n    at f (main.js:1:1)"

// A source map comes from the build as it likes; what is wrong with one must not
// end the process that serves everybody.
func TestSourceMaps_surviveHostileMaps(t *testing.T) {
	for name, sourceMap := range map[string]string{
		"a source that is not there": `{"version":3,"sources":["a.ts"],"names":[],"mappings":"A+/////D"}`,
		"no sources":                 `{"version":3,"sources":[],"names":[],"mappings":"AAAA"}`,
		"a section without a map":    `{"version":3,"sections":[{"offset":{"line":0,"column":0}}]}`,
		"no mappings":                `{"version":3,"sources":["a.ts"]}`,
		"null":                       `null`,
		"no JSON":                    `{`,
		"deep":                       strings.Repeat("[", 1<<20),
	} {
		require.Equal(t, frame, mapsOf(t, sourceMap).rewrite(frame), name)
	}
}

func TestSourceMaps_ofOneWorkerHoldNoMoreThanTheyMay(t *testing.T) {
	maps := mapsOf(t, `{"version":3,"sources":["a.ts"],"mappings":"AAAA`+strings.Repeat(",A", maxMappings)+`"}`)
	require.Equal(t, frame, maps.rewrite(frame))
	require.Zero(t, maps.held())

	maps = mapsOf(t, `{"version":3,"sources":["a.ts"],"sourcesContent":["text"],"mappings":"AAAA`+strings.Repeat(",A", 1000)+`"}`)
	require.Contains(t, maps.rewrite(frame), "a.ts:1:1")
	require.Greater(t, maps.held(), int64(1000))
	require.Less(t, maps.held(), int64(100_000))
}
