package activities

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/sandbox"
)

// bigOutput is a sandbox with large files.
type bigOutput struct {
	sandbox.Sandbox
	files, bytes int
}

func (b bigOutput) Collect(_ context.Context, _ string, _ sandbox.CollectLimits, fn func(sandbox.Collected) error) error {
	content := make([]byte, b.bytes)
	for i := range b.files {
		file := sandbox.Collected{Path: fmt.Sprint(i), Size: int64(b.bytes), Reader: bytes.NewReader(content)}
		if err := fn(file); err != nil {
			return err
		}
	}
	return nil
}

// slowStore counts the bytes that it is being given.
type slowStore struct {
	blob.Store
	now, most atomic.Int64
}

func (s *slowStore) Put(_ context.Context, _ blob.Key, size int64, r io.Reader) error {
	now := s.now.Add(size)
	defer s.now.Add(-size)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

// A build decides how large its files are; several builds run in one process.
func TestCollectDir_holdsNoMoreThanOneLargeFileInMemory(t *testing.T) {
	store := &slowStore{}
	a := &Activities{Options: Options{Blobs: store}}
	kept := 0
	files, err := a.collectDir(t.Context(), "org_1", bigOutput{files: 6, bytes: maxStoreBytes/2 + 1}, "/out", func(string, []byte) bool {
		kept++
		return kept != 2
	})
	require.NoError(t, err)
	require.Len(t, files, 5)
	require.LessOrEqual(t, store.most.Load(), int64(maxStoreBytes))

	files, err = a.collectDir(t.Context(), "org_1", bigOutput{files: 100, bytes: 0}, "/out", everyFile)
	require.NoError(t, err)
	require.Len(t, files, 100)
}
