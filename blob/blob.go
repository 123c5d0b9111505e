// Package blob keeps immutable objects by the SHA-256 of their bytes: source
// files, build output, build logs, manifests. Two stores implement it, blob/fs
// (a directory) and blob/s3 (any S3-compatible service); blob/blobtest holds the
// behaviour both are held to.
//
// A name is derived from the content, so an object never changes, writing it
// twice is harmless, and every retry of an activity may simply write again.
package blob

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// DigestLength is the length of a digest: 32 bytes in lower-case hex.
	DigestLength = 64
	// MaxScopeLength is the longest scope in bytes.
	MaxScopeLength = 64
)

// Key names one object: the SHA-256 of its bytes within a scope, which is the id
// of the organization it belongs to. Objects of one scope are never visible to
// another, also when their bytes are the same: whether somebody else already
// stored some content must not be observable.
type Key struct {
	// Scope is the organization's id, ^[a-zA-Z0-9_-]{1,64}$.
	Scope string
	// Digest is the SHA-256 of the object's bytes, 64 lower-case hex digits.
	Digest string
}

// String is the key as logs and errors show it, scope/digest.
func (k Key) String() string { return k.Scope + "/" + k.Digest }

// Validate refuses, with CodeValidation, every key that is not exactly of the
// documented form. Stores derive paths and object names from keys and call this
// first, so a key that passes cannot name anything outside its scope.
func (k Key) Validate() error {
	if err := ValidateScope(k.Scope); err != nil {
		return err
	}
	return ValidateDigest(k.Digest)
}

// ValidateScope checks a scope alone; CodeValidation when it is malformed.
func ValidateScope(scope string) error {
	if scope == "" || len(scope) > MaxScopeLength || strings.ContainsFunc(scope, outsideScope) {
		return models.Errorf(models.CodeValidation, "blob scope must be 1 to %d characters of a-z, A-Z, 0-9, '_' and '-'", MaxScopeLength)
	}
	return nil
}

// ValidateDigest checks a digest alone; CodeValidation when it is malformed.
func ValidateDigest(digest string) error {
	if len(digest) != DigestLength || strings.ContainsFunc(digest, outsideHex) {
		return models.Errorf(models.CodeValidation, "sha256 must be %d lower-case hexadecimal digits", DigestLength)
	}
	return nil
}

// Object describes a stored object.
type Object struct {
	Key Key
	// Size is the length in bytes.
	Size int64
	// ModTime is when the object was last written, by the store's clock.
	ModTime time.Time
}

// Store keeps objects. Every method may be called from many goroutines and many
// processes at once, honours ctx (returning an error for which
// errors.Is(err, ctx.Err()) holds), and returns CodeValidation for a malformed
// key before touching anything. When the store itself is at fault (unreachable,
// full, refusing its credentials) the error is CodeStorage, within seconds, with
// a message that says what to check.
type Store interface {
	// Put stores the size bytes of r under key; size -1 means not known. It
	// verifies length and digest while reading: input that is shorter, longer or
	// other than announced is CodeDigestMismatch and leaves nothing behind. An
	// error of r is returned wrapped and leaves nothing behind either.
	//
	// Put is atomic and durable: readers see the whole object or none, and once
	// Put returned nil the object survives a crash. Putting a key that exists is a
	// success, which may leave r unread. Concurrent writers of one key all succeed.
	Put(ctx context.Context, key Key, size int64, r io.Reader) error

	// Get opens the object; CodeBlobNotFound when there is none. The reader must
	// be closed, is bound to ctx, and does not verify the digest: see Open and
	// ReadAll for that. A failure while reading is CodeStorage.
	Get(ctx context.Context, key Key) (io.ReadCloser, error)

	// GetRange opens length bytes from offset; length -1 means to the end. A range
	// that reaches past the end is cut short there, one that starts at or past the
	// end is empty, a negative offset or other negative length is CodeValidation.
	// Otherwise it is Get.
	GetRange(ctx context.Context, key Key, offset, length int64) (io.ReadCloser, error)

	// Stat describes the object; CodeBlobNotFound when there is none.
	Stat(ctx context.Context, key Key) (Object, error)

	// List calls fn for each object of the scope in digest order, beginning after
	// the given digest ("" is the start; it need not exist). It stops at fn's first
	// error and returns it as it is. An unknown scope lists nothing. Objects that
	// come or go meanwhile may or may not be seen.
	List(ctx context.Context, scope, after string, fn func(Object) error) error

	// Strangers calls fn with the name of everything in the scope's folder that is
	// no object, and so is none of ours: List passes over it. It stops at fn's first
	// error and returns it as it is.
	Strangers(ctx context.Context, scope string, fn func(name string) error) error

	// Delete removes the object; a key that does not exist is a success. Nothing but
	// the collection of what is unreferred deletes: see package collect.
	Delete(ctx context.Context, key Key) error

	// Ping proves with a small write and read, in at most a few seconds, that the
	// store works. It is for /health and for start-up.
	Ping(ctx context.Context) error
}

const scopeAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func outsideScope(r rune) bool { return !strings.ContainsRune(scopeAlphabet, r) }

func outsideHex(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }
