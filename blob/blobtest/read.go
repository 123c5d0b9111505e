package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

func testRange(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	content := []byte("0123456789")
	key, err := blob.PutBytes(ctx, store, scope, content)
	require.NoError(t, err)
	empty, err := blob.PutBytes(ctx, store, scope, nil)
	require.NoError(t, err)

	for _, c := range []struct {
		key            blob.Key
		offset, length int64
		want           string
	}{
		{key, 0, -1, "0123456789"},
		{key, 0, 10, "0123456789"},
		{key, 0, 1, "0"},
		{key, 0, 0, ""},
		{key, 3, 4, "3456"},
		{key, 3, -1, "3456789"},
		{key, 3, 0, ""},
		{key, 9, 1, "9"},
		{key, 9, 100, "9"},
		{key, 0, math.MaxInt64, "0123456789"},
		{key, 3, math.MaxInt64, "3456789"},
		{key, 10, -1, ""},
		{key, 10, 5, ""},
		{key, 11, 1, ""},
		{key, 11, -1, ""},
		{empty, 0, -1, ""},
		{empty, 0, 5, ""},
		{empty, 1, -1, ""},
	} {
		t.Run(fmt.Sprintf("%d bytes from %d", c.length, c.offset), func(t *testing.T) {
			r, err := store.GetRange(ctx, c.key, c.offset, c.length)
			require.NoError(t, err)
			defer r.Close()
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(got))
		})
	}

	for _, c := range [][2]int64{{-1, 1}, {-1, -1}, {0, -2}, {math.MinInt64, math.MinInt64}} {
		_, err := store.GetRange(ctx, key, c[0], c[1])
		requireCode(t, models.CodeValidation, err)
	}
	absent := blob.Key{Scope: scope, Digest: blob.Digest([]byte("never stored"))}
	for _, c := range [][2]int64{{0, -1}, {0, 0}, {5, 0}, {5, 5}} {
		_, err := store.GetRange(ctx, absent, c[0], c[1])
		requireCode(t, models.CodeBlobNotFound, err)
	}
}

func testList(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	requireEmpty(t, store, scope)

	var want []string
	for i := range 40 {
		content := fmt.Appendf(nil, "object %d", i)
		key, err := blob.PutBytes(ctx, store, scope, content)
		require.NoError(t, err)
		want = append(want, key.Digest)
	}
	slices.Sort(want)
	_, err := blob.PutBytes(ctx, store, scope+"-other", []byte("another's"))
	require.NoError(t, err)

	list := func(after string) (digests []string) {
		t.Helper()
		require.NoError(t, store.List(ctx, scope, after, func(object blob.Object) error {
			assert.Equal(t, scope, object.Key.Scope)
			assert.NotZero(t, object.Size)
			assert.False(t, object.ModTime.IsZero())
			digests = append(digests, object.Key.Digest)
			return nil
		}))
		return digests
	}
	assert.Equal(t, want, list(""))
	assert.Equal(t, want[1:], list(want[0]))
	assert.Equal(t, want[20:], list(want[19]))
	assert.Empty(t, list(want[39]))
	between := want[7][:63] + string(want[7][63]+1)
	if between[63] > '9' && between[63] < 'a' {
		between = want[7][:63] + "a"
	}
	if between[63] != 'g' {
		assert.Equal(t, want[8:], list(between), "a digest that does not exist")
	}
	assert.Empty(t, list(strings.Repeat("f", 64)))
	assert.Equal(t, want, list(strings.Repeat("0", 64)))

	require.NoError(t, store.Strangers(ctx, scope, func(name string) error { return errors.New("not a stranger: " + name) }))
	requireCode(t, models.CodeValidation, store.Strangers(ctx, "../x", nil))

	stop := errors.New("enough")
	seen := 0
	err = store.List(ctx, scope, "", func(blob.Object) error {
		if seen++; seen == 3 {
			return stop
		}
		return nil
	})
	assert.Equal(t, stop, err, "fn's error comes back as it is")
	assert.Equal(t, 3, seen)

	require.NoError(t, store.List(ctx, scope, "", func(object blob.Object) error {
		return store.Delete(ctx, object.Key)
	}), "fn may use the store")
	requireEmpty(t, store, scope)

	requireCode(t, models.CodeValidation, store.List(ctx, "../x", "", nil))
	requireCode(t, models.CodeValidation, store.List(ctx, scope, "abc", nil))
}

func testDelete(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	key, err := blob.PutBytes(ctx, store, scope, []byte("short-lived"))
	require.NoError(t, err)
	other, err := blob.PutBytes(ctx, store, scope+"-other", []byte("short-lived"))
	require.NoError(t, err)

	require.NoError(t, store.Delete(ctx, key))
	requireAbsent(t, store, key)
	require.NoError(t, store.Delete(ctx, key), "again")
	requireContent(t, store, other, []byte("short-lived"))

	require.NoError(t, store.Put(ctx, key, -1, strings.NewReader("short-lived")), "back again")
	requireContent(t, store, key, []byte("short-lived"))
	require.NoError(t, store.Delete(ctx, blob.Key{Scope: "never-seen", Digest: key.Digest}))
}

// hostileKeys must be refused by Key.Validate, and so by every method.
var hostileKeys = []blob.Key{
	{},
	{Scope: "org"},
	{Digest: strings.Repeat("a", 64)},
	{Scope: "..", Digest: strings.Repeat("a", 64)},
	{Scope: ".", Digest: strings.Repeat("a", 64)},
	{Scope: ".tmp", Digest: strings.Repeat("a", 64)},
	{Scope: "a/b", Digest: strings.Repeat("a", 64)},
	{Scope: `a\b`, Digest: strings.Repeat("a", 64)},
	{Scope: "a\x00", Digest: strings.Repeat("a", 64)},
	{Scope: "ä", Digest: strings.Repeat("a", 64)},
	{Scope: "a b", Digest: strings.Repeat("a", 64)},
	{Scope: "a\n", Digest: strings.Repeat("a", 64)},
	{Scope: strings.Repeat("a", 65), Digest: strings.Repeat("a", 64)},
	{Scope: "org", Digest: strings.Repeat("a", 63)},
	{Scope: "org", Digest: strings.Repeat("a", 65)},
	{Scope: "org", Digest: strings.Repeat("A", 64)},
	{Scope: "org", Digest: strings.Repeat("g", 64)},
	{Scope: "org", Digest: "../" + strings.Repeat("a", 61)},
	{Scope: "org", Digest: strings.Repeat("a", 63) + "/"},
	{Scope: "org", Digest: strings.Repeat("a", 63) + "\x00"},
	{Scope: "org", Digest: strings.Repeat("a", 62) + "é"},
}

func testKeys(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	for _, key := range hostileKeys {
		_, getErr := store.Get(ctx, key)
		_, rangeErr := store.GetRange(ctx, key, 0, 1)
		_, statErr := store.Stat(ctx, key)
		_, missingErr := blob.Missing(ctx, store, key.Scope, []string{key.Digest})
		for _, err := range []error{
			key.Validate(), getErr, rangeErr, statErr, missingErr,
			store.Put(ctx, key, -1, strings.NewReader("")), store.Delete(ctx, key),
		} {
			requireCode(t, models.CodeValidation, err)
		}
	}

	content := []byte("mine alone")
	key, err := blob.PutBytes(ctx, store, scope, content)
	require.NoError(t, err)
	for _, other := range []string{scope + "-", scope[:len(scope)-1], strings.ToUpper(scope)} {
		requireAbsent(t, store, blob.Key{Scope: other, Digest: key.Digest})
	}
}

func testCancel(t *testing.T, store blob.Store, scope string) {
	content := random(largeSize)
	key, err := blob.PutBytes(t.Context(), store, scope, content)
	require.NoError(t, err)
	absent := blob.Key{Scope: scope + "-put", Digest: key.Digest}

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := store.Get(canceled, key)
	_, rangeErr := store.GetRange(canceled, key, 1, 2)
	_, statErr := store.Stat(canceled, key)
	_, missingErr := blob.Missing(canceled, store, scope, []string{key.Digest})
	for _, err := range []error{
		getErr, rangeErr, statErr, missingErr, store.Ping(canceled), store.Delete(canceled, key),
		store.Put(canceled, absent, -1, bytes.NewReader(content)),
		store.List(canceled, scope, "", func(blob.Object) error { return nil }),
	} {
		require.ErrorIs(t, err, context.Canceled)
	}
	requireAbsent(t, store, absent)

	t.Run("while reading", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := store.Get(ctx, key)
		require.NoError(t, err)
		defer r.Close()
		_, err = io.CopyN(io.Discard, r, 1000)
		require.NoError(t, err)
		cancel()
		_, err = io.Copy(io.Discard, r)
		require.ErrorIs(t, err, context.Canceled)
	})

	t.Run("while writing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := io.MultiReader(bytes.NewReader(content[:largeSize/2]), cancelReader(cancel), bytes.NewReader(content[largeSize/2:]))
		require.ErrorIs(t, store.Put(ctx, absent, largeSize, r), context.Canceled)
		requireAbsent(t, store, absent)
	})
}

// cancelReader is empty and cancels when it is reached.
func cancelReader(cancel context.CancelFunc) io.Reader {
	return readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// testContent is the package's own functions on this store.
func testContent(t *testing.T, store blob.Store, scope string) {
	ctx := t.Context()
	content := random(5000)
	key, err := blob.PutBytes(ctx, store, scope, content)
	require.NoError(t, err)

	got, err := blob.ReadAll(ctx, store, key, 5000)
	require.NoError(t, err)
	assert.Equal(t, content, got)
	_, err = blob.ReadAll(ctx, store, key, 4999)
	requireCode(t, models.CodeTooLarge, err)

	a, b := blob.Digest([]byte("a")), blob.Digest([]byte("b"))
	missing, err := blob.Missing(ctx, store, scope, []string{b, key.Digest, a, b})
	require.NoError(t, err)
	assert.Equal(t, []string{b, a}, missing)
	missing, err = blob.Missing(ctx, store, scope, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{}, missing)
}
