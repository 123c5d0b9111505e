package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/slipwayhq/slipway/models"
)

// Digest is the SHA-256 of b in the form keys use.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// PutBytes stores b under its own digest and returns the key it got.
func PutBytes(ctx context.Context, store Store, scope string, b []byte) (Key, error) {
	key := Key{Scope: scope, Digest: Digest(b)}
	return key, store.Put(ctx, key, int64(len(b)), bytes.NewReader(b))
}

// Open is Get with verification: the reader gives io.EOF only when all that was
// read has the key's digest, and CodeStorage when the store returned something
// else (corruption is the platform's failure, never the caller's). Bytes read
// before that must not be trusted until EOF was seen.
func Open(ctx context.Context, store Store, key Key) (io.ReadCloser, error) {
	r, err := store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return &verifiedReader{ReadCloser: r, key: key, hash: sha256.New()}, nil
}

// ReadAll returns the whole object, verified as Open does. An object of more than
// max bytes is CodeTooLarge.
func ReadAll(ctx context.Context, store Store, key Key, max int64) ([]byte, error) {
	r, err := Open(ctx, store, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()

	var content bytes.Buffer
	switch _, err := io.CopyN(&content, r, max+1); {
	case err == nil:
		return nil, models.Errorf(models.CodeTooLarge, "object %s has more than the %d bytes allowed here", key.Digest, max)
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read object %s: %w", key, err)
	}
	return content.Bytes(), nil
}

// verifiedReader turns the end of the stream into an error unless the digest holds.
type verifiedReader struct {
	io.ReadCloser
	key  Key
	hash hash.Hash
}

func (r *verifiedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.hash.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(r.hash.Sum(nil)); got != r.key.Digest {
			return n, models.Wrap(models.CodeStorage, fmt.Errorf("object %s has digest %s", r.key, got),
				"A stored object is damaged: its content no longer has its digest. Delete it and upload it again.")
		}
	}
	return n, err
}
