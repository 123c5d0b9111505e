package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/slipwayhq/slipway/models"
)

// What every store needs and none should do its own way.

// Verifier reads the content given to Put and gives io.EOF only when all of it
// was read and has the announced length and the key's digest. A store must not
// make an object visible before it has seen that EOF.
type Verifier struct {
	ctx  context.Context
	key  Key
	size int64
	r    io.Reader
	hash hash.Hash
	read int64
	err  error
}

// NewVerifier reads r for key; size -1 is not known. Its errors are those Put
// documents: CodeDigestMismatch, ctx's error, or r's own, wrapped.
func NewVerifier(ctx context.Context, key Key, size int64, r io.Reader) *Verifier {
	return &Verifier{ctx: ctx, key: key, size: size, r: r, hash: sha256.New()}
}

// Read implements io.Reader. An error stays: every later Read returns it again.
func (v *Verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if v.err = v.ctx.Err(); v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	v.read += int64(n)
	v.err = v.judge(err)
	return n, v.err
}

func (v *Verifier) judge(err error) error {
	switch {
	case v.size >= 0 && v.read > v.size:
		return models.Errorf(models.CodeDigestMismatch, "content of %s is longer than the %d bytes announced", v.key.Digest, v.size)
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return models.Wrap(models.CodeDigestMismatch, err, fmt.Sprintf("content of %s ended early, after %d bytes; send it again", v.key.Digest, v.read))
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read the content of %s: %w", v.key, err)
	case v.size >= 0 && v.read < v.size:
		return models.Errorf(models.CodeDigestMismatch, "content of %s ended after %d of the %d bytes announced; send it again", v.key.Digest, v.read, v.size)
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.key.Digest {
		return models.Errorf(models.CodeDigestMismatch, "content announced as sha256 %s has %s", v.key.Digest, got)
	}
	return io.EOF
}

// ValidateRange checks the numbers given to GetRange.
func ValidateRange(offset, length int64) error {
	if offset < 0 || length < -1 {
		return models.Errorf(models.CodeValidation, "a range needs an offset of at least 0 and a length of at least 0, or -1 for all; got %d and %d", offset, length)
	}
	return nil
}

// ValidateList checks what is given to List: after is "" or a digest.
func ValidateList(scope, after string) error {
	if after == "" {
		return ValidateScope(scope)
	}
	return Key{Scope: scope, Digest: after}.Validate()
}

// NotFound is the error of an absent object.
func NotFound(key Key, cause error) error {
	return models.Wrap(models.CodeBlobNotFound, cause, fmt.Sprintf("There is no object with sha256 %s here; upload it first.", key.Digest))
}
