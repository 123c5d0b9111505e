// Package blobtest is the behaviour every blob.Store has. A store that passes Run
// and Unavailable can take the place of any other.
package blobtest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	scope = "org_1"
	// unavailableWithin is what "within seconds" means for a store that is gone.
	unavailableWithin = time.Minute
)

// Run holds the stores that open gives to the contract; open is called once for
// each subtest and may give the same store again, since subtests use scopes of
// their own.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, part := range []struct {
		name string
		test func(*testing.T, blob.Store, string)
	}{
		{"put", testPut},
		{"refusals", testRefusals},
		{"large", testLarge},
		{"range", testRange},
		{"list", testList},
		{"delete", testDelete},
		{"concurrent", testConcurrent},
		{"keys", testKeys},
		{"cancel", testCancel},
		{"content", testContent},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.test(t, open(t), scope+"-"+part.name)
		})
	}
}

// Unavailable expects a store that is broken: every method fails with CodeStorage
// and a message that says what to check, within seconds. The key may or may not
// have existed before.
func Unavailable(t *testing.T, store blob.Store, key blob.Key) {
	t.Helper()
	ctx := t.Context()
	for method, call := range map[string]func() error{
		"Put":       func() error { _, err := blob.PutBytes(ctx, store, key.Scope, []byte("x")); return err },
		"PutLarge":  func() error { _, err := blob.PutBytes(ctx, store, key.Scope, random(largeSize)); return err },
		"Get":       func() error { return discard(store.Get(ctx, key)) },
		"GetRange":  func() error { return discard(store.GetRange(ctx, key, 1, 1)) },
		"Stat":      func() error { _, err := store.Stat(ctx, key); return err },
		"List":      func() error { return store.List(ctx, key.Scope, "", func(blob.Object) error { return nil }) },
		"Strangers": func() error { return store.Strangers(ctx, key.Scope, func(string) error { return nil }) },
		"Delete":    func() error { return store.Delete(ctx, key) },
		"Ping":      func() error { return store.Ping(ctx) },
		"Missing":   func() error { _, err := blob.Missing(ctx, store, key.Scope, []string{key.Digest}); return err },
	} {
		t.Run(method, func(t *testing.T) {
			began := time.Now()
			err := call()
			requireCode(t, models.CodeStorage, err)
			assert.Less(t, time.Since(began), unavailableWithin)
			assert.Contains(t, models.MessageOf(err), "Check ")
			assert.NotErrorIs(t, err, context.DeadlineExceeded, "a time limit of the store is not the caller's")
		})
	}
}

func discard(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func requireCode(t *testing.T, want models.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, models.CodeOf(err), "%v", err)
}

// requireContent reads an object whole and compares it.
func requireContent(t *testing.T, store blob.Store, key blob.Key, want []byte) {
	t.Helper()
	r, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, len(want), len(got))
	require.Equal(t, blob.Digest(want), blob.Digest(got))
}

func requireAbsent(t *testing.T, store blob.Store, key blob.Key) {
	t.Helper()
	_, err := store.Stat(t.Context(), key)
	requireCode(t, models.CodeBlobNotFound, err)
	_, err = store.Get(t.Context(), key)
	requireCode(t, models.CodeBlobNotFound, err)
	requireEmpty(t, store, key.Scope)
}

func requireEmpty(t *testing.T, store blob.Store, scope string) {
	t.Helper()
	require.NoError(t, store.List(t.Context(), scope, "", func(object blob.Object) error {
		return errors.New("unexpected object " + object.Key.String())
	}))
}
