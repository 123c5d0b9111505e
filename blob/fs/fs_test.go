package fs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/blobtest"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/models"
)

func open(t testing.TB) (*fs.Store, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "blobs")
	store, err := fs.New(fs.Options{Root: root})
	require.NoError(t, err)
	return store, root
}

func TestStore_keepsTheContract(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		store, _ := open(t)
		return store
	})
}

func TestStore_isUnavailableWhenItsRootIsGone(t *testing.T) {
	store, root := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("kept"))
	require.NoError(t, err)
	away := root + "-away"
	require.NoError(t, os.Rename(root, away))

	blobtest.Unavailable(t, store, key)
	_, err = os.Stat(root)
	require.ErrorIs(t, err, os.ErrNotExist, "nothing may be written where a disk is not mounted")

	require.NoError(t, os.Rename(away, root))
	got, err := blob.ReadAll(t.Context(), store, key, 100)
	require.NoError(t, err, "mended")
	assert.Equal(t, "kept", string(got))
	require.NoError(t, store.Ping(t.Context()))
}

func TestStore_isUnavailableWhenItsRootIsAnEmptyMountPoint(t *testing.T) {
	store, root := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("kept"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(root))
	require.NoError(t, os.Mkdir(root, 0o700))
	blobtest.Unavailable(t, store, key)
}

func TestStore_isUnavailableWhenItsRootIsAFile(t *testing.T) {
	store, root := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("kept"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(root))
	require.NoError(t, os.WriteFile(root, nil, 0o600))
	blobtest.Unavailable(t, store, key)

	_, err = fs.New(fs.Options{Root: root})
	assert.Equal(t, models.CodeStorage, models.CodeOf(err))
}

func TestStore_keepsFilesPrivate(t *testing.T) {
	store, root := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("secret"))
	require.NoError(t, err)
	for path, want := range map[string]os.FileMode{
		"":                      0o700 | os.ModeDir,
		".tmp":                  0o700 | os.ModeDir,
		"org":                   0o700 | os.ModeDir,
		"org/" + key.Digest[:2]: 0o700 | os.ModeDir,
		"org/" + key.Digest[:2] + "/" + key.Digest: 0o600,
	} {
		stat, err := os.Stat(filepath.Join(root, path))
		require.NoError(t, err)
		assert.Equal(t, want, stat.Mode(), path)
	}
}

func TestPut_leavesNoTemporaryFile(t *testing.T) {
	store, root := open(t)
	ctx := t.Context()
	_, err := blob.PutBytes(ctx, store, "org", []byte("good"))
	require.NoError(t, err)
	key := blob.Key{Scope: "org", Digest: blob.Digest([]byte("announced"))}
	require.Error(t, store.Put(ctx, key, -1, strings.NewReader("other")))
	require.Error(t, store.Put(ctx, key, -1, io.MultiReader(strings.NewReader("ann"), iotest.ErrReader(errors.New("broke")))))
	require.NoError(t, store.Ping(ctx))
	entries, err := os.ReadDir(filepath.Join(root, ".tmp"))
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestPut_mendsAnObjectOfTheWrongLength(t *testing.T) {
	store, root := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("whole"))
	require.NoError(t, err)
	path := filepath.Join(root, "org", key.Digest[:2], key.Digest)
	require.NoError(t, os.Truncate(path, 2))

	_, err = blob.ReadAll(t.Context(), store, key, 100)
	assert.Equal(t, models.CodeStorage, models.CodeOf(err), "damage is the platform's")
	_, err = blob.PutBytes(t.Context(), store, "org", []byte("whole"))
	require.NoError(t, err)
	got, err := blob.ReadAll(t.Context(), store, key, 100)
	require.NoError(t, err)
	assert.Equal(t, "whole", string(got))
}

func TestNew_sweepsOnlyOldLeftovers(t *testing.T) {
	store, root := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("kept"))
	require.NoError(t, err)
	old, recent := filepath.Join(root, ".tmp", "old"), filepath.Join(root, ".tmp", "recent")
	for _, path := range []string{old, recent} {
		require.NoError(t, os.WriteFile(path, []byte("half an obj"), 0o600))
	}
	past := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(old, past, past))

	again, err := fs.New(fs.Options{Root: root})
	require.NoError(t, err)
	assert.NoFileExists(t, old)
	assert.FileExists(t, recent)
	_, err = again.Stat(t.Context(), key)
	require.NoError(t, err)
}

func TestNew_needsAFolder(t *testing.T) {
	_, err := fs.New(fs.Options{})
	assert.Equal(t, models.CodeValidation, models.CodeOf(err))
}

func TestList_ignoresWhatIsNotAnObject(t *testing.T) {
	store, root := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("object"))
	require.NoError(t, err)
	stray := filepath.Join(root, "org", key.Digest[:2], "lost+found")
	require.NoError(t, os.Mkdir(stray, 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(root, "org", "zz"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(root, "org", "a"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, "org", "README"), []byte("not ours"), 0o600))
	var seen []blob.Key
	for _, after := range []string{"", strings.Repeat("0", 64)} {
		seen = nil
		require.NoError(t, store.List(t.Context(), "org", after, func(object blob.Object) error {
			seen = append(seen, object.Key)
			return nil
		}))
		assert.Equal(t, []blob.Key{key}, seen)
	}
	var strangers []string
	require.NoError(t, store.Strangers(t.Context(), "org", func(name string) error {
		strangers = append(strangers, name)
		return nil
	}))
	assert.ElementsMatch(t, []string{"org/README", "org/a", "org/" + key.Digest[:2] + "/lost+found", "org/zz"}, strangers)
}

func TestOpen_givesASeekableFile(t *testing.T) {
	store, _ := open(t)
	key, err := blob.PutBytes(t.Context(), store, "org", []byte("0123456789"))
	require.NoError(t, err)
	file, err := store.Open(t.Context(), key)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, store.Delete(t.Context(), key))
	_, err = file.Seek(5, io.SeekStart)
	require.NoError(t, err)
	got, err := io.ReadAll(file)
	require.NoError(t, err)
	assert.Equal(t, "56789", string(got), "an open file outlives the object")
	_, err = store.Open(t.Context(), key)
	assert.Equal(t, models.CodeBlobNotFound, models.CodeOf(err))
}

func BenchmarkPut4KiB(b *testing.B) {
	store, _ := open(b)
	blobtest.BenchmarkPut(b, store)
}

func BenchmarkGet4KiB(b *testing.B) {
	store, _ := open(b)
	blobtest.BenchmarkGet(b, store)
}
