package collect

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

func TestNamed_findsAllThatListsName(t *testing.T) {
	n := 0
	next := func() string {
		n++
		return blob.Digest([]byte(fmt.Sprint(n)))
	}
	worker := &models.WorkerBundle{
		Modules: []models.WorkerModule{{Name: "main.js", Type: models.ModuleES, Digest: next(), SourceMap: next()}, {Name: "b.js", Type: models.ModuleES, Digest: next()}},
		Vars:    map[string]json.RawMessage{"QUOTE": json.RawMessage(`"\\\""`)},
	}
	set := models.FileSet{Files: []models.File{{Path: `a "quoted" name`, Digest: next()}, {Path: "b", Digest: next()}}, HistoryDigest: next(), Worker: worker}
	encoded, err := set.Encode()
	require.NoError(t, err)
	require.ElementsMatch(t, append(set.Digests(), set.HistoryDigest), named(encoded))
	require.Len(t, named(encoded), n)

	encoded, err = worker.Encode()
	require.NoError(t, err)
	require.ElementsMatch(t, worker.Digests(), named(encoded))

	manifest := &assets.Manifest{Version: assets.ManifestVersion, Files: map[string]assets.File{
		"/index.html": {Digest: next(), Encodings: map[string]assets.Encoded{"br": {Digest: next()}, "gzip": {Digest: next()}}},
	}}
	encoded, err = manifest.Encode()
	require.NoError(t, err)
	require.ElementsMatch(t, manifest.Digests(), named(encoded))
	require.Empty(t, named([]byte(`"`)))
}

func TestDigests_areASet(t *testing.T) {
	var s digests
	var in, out []string
	for i := range 3 * leastSort {
		in = append(in, blob.Digest([]byte(fmt.Sprint("in", i%(2*leastSort)))))
		out = append(out, blob.Digest([]byte(fmt.Sprint("out", i))))
	}
	require.NoError(t, s.add(in...))
	require.NoError(t, s.add(in...))
	s.sort()
	require.Len(t, s.all, 2*leastSort)
	for i := range in {
		require.True(t, s.has(in[i]))
		require.False(t, s.has(out[i]))
	}
	require.False(t, s.has(""))
	require.Equal(t, models.CodeStorage, models.CodeOf(s.add("not a digest")))
}
