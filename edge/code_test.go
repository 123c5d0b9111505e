package edge

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/models"
)

// storedWorker is a store with one worker in its blobs.
func storedWorker(t *testing.T) (*codeStore, Release) {
	t.Helper()
	blobs, err := fs.New(fs.Options{Root: t.TempDir()})
	require.NoError(t, err)
	put := func(content string) string {
		key, err := blob.PutBytes(t.Context(), blobs, "org1", []byte(content))
		require.NoError(t, err)
		return key.Digest
	}
	bundle := models.WorkerBundle{Modules: []models.WorkerModule{{Name: "main.js", Type: models.ModuleES, Digest: put("code")}}}
	data, err := bundle.Encode()
	require.NoError(t, err)
	return &codeStore{folder: t.TempDir(), blobs: blobs}, Release{ID: "r1", OrganizationID: "org1", WorkerDigest: put(string(data))}
}

// Two releases with other variables have the same code. Where both are started
// for the first time at once, neither start may take the code from under the other.
func TestCodeStore_startsThatComeTogetherLeaveEachOtherTheirCode(t *testing.T) {
	s, r := storedWorker(t)
	for range 40 {
		s.folder = t.TempDir()
		require.NoError(t, s.prepare())
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				c, err := s.open(t.Context(), r)
				if assert.NoError(t, err) {
					_, err = os.Stat(filepath.Join(c.modules(), "0"))
					assert.NoError(t, err)
				}
			})
		}
		all.Wait()
	}
}

func TestCodeStore_replacesWhatIsDamaged(t *testing.T) {
	s, r := storedWorker(t)
	require.NoError(t, s.prepare())
	c, err := s.open(t.Context(), r)
	require.NoError(t, err)
	module := filepath.Join(c.modules(), "0")
	require.NoError(t, os.WriteFile(module, []byte("cod"), 0o600))
	s = &codeStore{folder: s.folder, blobs: s.blobs} // a new process
	_, err = s.open(t.Context(), r)
	require.NoError(t, err)
	content, err := os.ReadFile(module)
	require.NoError(t, err)
	require.Equal(t, "code", string(content))
	left, err := os.ReadDir(filepath.Join(s.folder, "new"))
	require.NoError(t, err)
	require.Empty(t, left)
}
