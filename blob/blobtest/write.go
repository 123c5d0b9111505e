package blobtest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// largeSize needs several parts of any multipart upload, the last one short.
const largeSize = 40<<20 + 12345

func testPut(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	for name, content := range map[string][]byte{
		"empty": {}, "one byte": {0}, "text": []byte("hello"), "64 KiB": random(64 << 10), "64 KiB and one": random(64<<10 + 1),
	} {
		t.Run(name, func(t *testing.T) {
			key := blob.Key{Scope: scope, Digest: blob.Digest(content)}
			before := time.Now().Add(-time.Minute)
			require.NoError(t, store.Put(ctx, key, int64(len(content)), bytes.NewReader(content)))
			requireContent(t, store, key, content)

			object, err := store.Stat(ctx, key)
			require.NoError(t, err)
			assert.Equal(t, key, object.Key)
			assert.EqualValues(t, len(content), object.Size)
			assert.WithinRange(t, object.ModTime, before, time.Now().Add(time.Minute))

			require.NoError(t, store.Put(ctx, key, int64(len(content)), bytes.NewReader(content)), "again")
			require.NoError(t, store.Put(ctx, key, -1, bytes.NewReader(content)), "again, of unknown size")
			requireContent(t, store, key, content)
		})
	}

	t.Run("unknown size", func(t *testing.T) {
		content := random(100_000)
		key := blob.Key{Scope: scope, Digest: blob.Digest(content)}
		require.NoError(t, store.Put(ctx, key, -1, iotest.HalfReader(bytes.NewReader(content))))
		requireContent(t, store, key, content)
	})

	t.Run("reader that ends with its last bytes", func(t *testing.T) {
		content := random(70_000)
		key := blob.Key{Scope: scope, Digest: blob.Digest(content)}
		require.NoError(t, store.Put(ctx, key, int64(len(content)), iotest.DataErrReader(bytes.NewReader(content))))
		requireContent(t, store, key, content)
	})

	t.Run("ping", func(t *testing.T) {
		require.NoError(t, store.Ping(ctx))
	})
}

// testRefusals gives Put what it must not store, in sizes of one request and of many.
func testRefusals(t *testing.T, store blob.Store, scope string) {
	broken := errors.New("the source broke")
	for _, size := range []int{1000, largeSize} {
		content := random(size)
		key := blob.Key{Scope: scope, Digest: blob.Digest(content)}
		half := content[:size/2]
		full := int64(size)
		for _, c := range []struct {
			name string
			size int64
			r    io.Reader
			code models.Code
			is   error
		}{
			{"truncated", full, bytes.NewReader(half), models.CodeDigestMismatch, nil},
			{"truncated by one byte", full, bytes.NewReader(content[:size-1]), models.CodeDigestMismatch, nil},
			{"truncated, unknown size", -1, bytes.NewReader(half), models.CodeDigestMismatch, nil},
			{"cut off in transfer", full, io.MultiReader(bytes.NewReader(half), iotest.ErrReader(io.ErrUnexpectedEOF)), models.CodeDigestMismatch, nil},
			{"longer than announced", full - 1, bytes.NewReader(content), models.CodeDigestMismatch, nil},
			{"announced as longer", full + 1, bytes.NewReader(content), models.CodeDigestMismatch, nil},
			{"endless", full, endless{}, models.CodeDigestMismatch, nil},
			{"other content", full, bytes.NewReader(flipped(content)), models.CodeDigestMismatch, nil},
			{"no content", full, strings.NewReader(""), models.CodeDigestMismatch, nil},
			{"no content, unknown size", -1, strings.NewReader(""), models.CodeDigestMismatch, nil},
			{"broken source", full, io.MultiReader(bytes.NewReader(half), iotest.ErrReader(broken)), models.CodeInternal, broken},
			{"source with a coded error", full, iotest.ErrReader(models.Errorf(models.CodeTooLarge, "too large")), models.CodeTooLarge, nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				err := store.Put(t.Context(), key, c.size, c.r)
				requireCode(t, c.code, err)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				requireAbsent(t, store, key)
			})
		}
	}
}

func testLarge(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	content := random(largeSize)
	for name, size := range map[string]int64{"known size": largeSize, "unknown size": -1} {
		t.Run(name, func(t *testing.T) {
			key := blob.Key{Scope: scope, Digest: blob.Digest(content)}
			require.NoError(t, store.Put(ctx, key, size, bytes.NewReader(content)))
			requireContent(t, store, key, content)
			require.NoError(t, store.Put(ctx, key, size, bytes.NewReader(content)), "again")
			require.NoError(t, store.Delete(ctx, key))
		})
	}
	for _, size := range []int{8<<20 - 1, 8 << 20, 8<<20 + 1, 16 << 20} {
		part := content[:size]
		key, err := blob.PutBytes(ctx, store, scope, part)
		require.NoError(t, err)
		requireContent(t, store, key, part)
	}
}

// testConcurrent has many writers of one key, some of which are wrong, and readers
// who must see the whole object or none.
func testConcurrent(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	for _, size := range []int{2000, 9 << 20} {
		content := random(size)
		wrong := flipped(content)
		key := blob.Key{Scope: scope, Digest: blob.Digest(content)}
		var group errgroup.Group
		for range 6 {
			group.Go(func() error {
				return store.Put(ctx, key, int64(size), bytes.NewReader(content))
			})
			group.Go(func() error {
				err := store.Put(ctx, key, int64(size), bytes.NewReader(wrong))
				if err != nil && models.CodeOf(err) != models.CodeDigestMismatch {
					return err
				}
				return nil // a success did not read it, because the object was there
			})
			group.Go(func() error {
				_, err := blob.ReadAll(ctx, store, key, int64(size))
				if models.CodeOf(err) == models.CodeBlobNotFound {
					return nil
				}
				return err
			})
		}
		require.NoError(t, group.Wait())
		requireContent(t, store, key, content)
		require.NoError(t, store.Delete(ctx, key))
		requireAbsent(t, store, key)
	}
}

// random content does not compress and differs on every call.
func random(size int) []byte {
	content := make([]byte, size)
	seed := [32]byte{}
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	_, _ = rand.NewChaCha8(seed).Read(content)
	return content
}

// flipped is content of the same length with its last bit changed.
func flipped(content []byte) []byte {
	changed := bytes.Clone(content)
	changed[len(changed)-1] ^= 1
	return changed
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
