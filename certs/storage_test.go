package certs_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// newStorage is a dispatcher's storage; two on one database are two dispatchers.
func newStorage(t *testing.T, url string) certmagic.Storage {
	t.Helper()
	d := &domains{}
	return serve(t, options(t, openStore(t, url), d, nil), nil, nil, d).Storage()
}

func TestStorage_doesWhatCertmagicAsksOfIt(t *testing.T) {
	url := database(t)
	one, two := newStorage(t, url), newStorage(t, url)
	ctx := t.Context()
	for _, err := range []error{
		second(one.Load(ctx, "a/b")), second(one.Stat(ctx, "a/b")), second(one.List(ctx, "a", true)),
	} {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.False(t, one.Exists(ctx, "a/b"))
	require.NoError(t, one.Delete(ctx, "a/b"), "what is not there is deleted already")

	for _, key := range []string{"a/b", "a/c/d", "a/c/e", "ab/c", "a.b", "a0"} {
		require.NoError(t, one.Store(ctx, key, []byte("first "+key)))
	}
	require.NoError(t, two.Store(ctx, "a/b", []byte("second")))
	value, err := one.Load(ctx, "a/b")
	require.NoError(t, err)
	require.Equal(t, "second", string(value))
	require.NoError(t, one.Store(ctx, "empty", nil))
	value, err = two.Load(ctx, "empty")
	require.NoError(t, err)
	require.Empty(t, value)

	require.True(t, two.Exists(ctx, "a/b"))
	require.True(t, two.Exists(ctx, "a"), "a folder exists")
	require.False(t, two.Exists(ctx, "a/b/c"))
	require.False(t, two.Exists(ctx, "b"))
	_, err = two.Load(ctx, "a")
	require.ErrorIs(t, err, fs.ErrNotExist, "a folder has no value")

	info, err := two.Stat(ctx, "a/b")
	require.NoError(t, err)
	require.True(t, info.IsTerminal)
	require.EqualValues(t, len("second"), info.Size)
	require.WithinDuration(t, time.Now(), info.Modified, time.Minute)
	info, err = two.Stat(ctx, "a/c")
	require.NoError(t, err)
	require.False(t, info.IsTerminal)

	keys, err := two.List(ctx, "a", true)
	require.NoError(t, err)
	require.Equal(t, []string{"a/b", "a/c/d", "a/c/e"}, keys)
	keys, err = two.List(ctx, "a", false)
	require.NoError(t, err)
	require.Equal(t, []string{"a/b", "a/c"}, keys)
	keys, err = two.List(ctx, "", false)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "ab", "a.b", "a0", "empty"}, keys)

	require.NoError(t, two.Delete(ctx, "a"))
	require.False(t, one.Exists(ctx, "a/c/d"))
	for _, neighbour := range []string{"ab/c", "a.b", "a0"} {
		require.True(t, one.Exists(ctx, neighbour), neighbour)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, one.Store(ended, "x", nil), context.Canceled)
	require.ErrorIs(t, second(one.Load(ended, "a0")), context.Canceled)
	require.ErrorIs(t, one.Lock(ended, "x"), context.Canceled)
}

func second[T any](_ T, err error) error { return err }

func TestStorage_keepsNothingReadable(t *testing.T) {
	url := database(t)
	d := &domains{}
	o := options(t, openStore(t, url), d, nil)
	storage := serve(t, o, nil, nil, d).Storage()
	const key, text = "certificates/ca/shop.example/shop.example.key", "-----BEGIN PRIVATE KEY-----"
	require.NoError(t, storage.Store(t.Context(), key, []byte(text)))

	connection, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer connection.Close(context.Background())
	var value []byte
	require.NoError(t, connection.QueryRow(t.Context(), "SELECT value FROM certificate_storage WHERE key = $1", key).Scan(&value))
	require.NotContains(t, string(value), "PRIVATE")
	_, err = connection.Exec(t.Context(), "INSERT INTO certificate_storage (key, value, size) VALUES ('certificates/ca/other.example/other.example.key', $1, 1)", value)
	require.NoError(t, err)
	_, err = storage.Load(t.Context(), "certificates/ca/other.example/other.example.key")
	require.Error(t, err, "a value moved under another name does not open")

	files := 0
	require.NoError(t, filepath.WalkDir(o.LocalDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		require.NotContains(t, string(content), "PRIVATE")
		stat, _ := entry.Info()
		require.Equal(t, os.FileMode(0o600), stat.Mode().Perm())
		return err
	}))
	require.Positive(t, files)
	require.NotContains(t, fmt.Sprint(storage), secret)
}

func TestLock_letsOneInAtATime(t *testing.T) {
	url := database(t)
	stores := []certmagic.Storage{newStorage(t, url), newStorage(t, url)}
	var inside, entered atomic.Int32
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			storage := stores[i%2]
			if err := storage.Lock(t.Context(), "one"); err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two hold the lock")
			}
			entered.Add(1)
			inside.Add(-1)
			if err := storage.Unlock(t.Context(), "one"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 12, entered.Load())
	require.Error(t, stores[0].Unlock(t.Context(), "one"), "what is not held is not given back")

	other := stores[1].(certmagic.TryLocker)
	require.NoError(t, stores[0].Lock(t.Context(), "one"))
	taken, err := other.TryLock(t.Context(), "one")
	require.NoError(t, err)
	require.False(t, taken)
	taken, err = other.TryLock(t.Context(), "two")
	require.NoError(t, err)
	require.True(t, taken, "another name is another lock")
	require.NoError(t, other.Unlock(t.Context(), "two"))

	waiting, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, stores[1].Lock(waiting, "one"), context.DeadlineExceeded)
	require.NoError(t, stores[0].Unlock(t.Context(), "one"))
}

func TestLock_outlastsItsLeaseWhileItsHolderLivesAndNotLonger(t *testing.T) {
	url := database(t)
	storage := newStorage(t, url)
	kill := startProcess(t, process{URL: url, LocalDir: t.TempDir(), HoldLock: "issue"}, nil, nil)
	waiting, cancel := context.WithTimeout(t.Context(), testLease+testLease/4)
	defer cancel()
	require.ErrorIs(t, storage.Lock(waiting, "issue"), context.DeadlineExceeded)
	kill()
	waiting, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, storage.Lock(waiting, "issue"))
	require.NoError(t, storage.Unlock(t.Context(), "issue"))
}

func TestStorage_holdsAnyKeyAndValue(t *testing.T) {
	storage := newStorage(t, database(t))
	key := "certificates/ca/" + strings.Repeat("long-", 49) + "example/x.key"
	value := make([]byte, 100_000)
	require.NoError(t, storage.Store(t.Context(), key, value))
	got, err := storage.Load(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, value, got)
}
