// Package fs keeps blobs in a directory of this machine: the store of `slipway
// dev` and of a single host.
//
//	<root>/<scope>/<first two digits>/<digest>   objects, mode 0600
//	<root>/.tmp/                                 writes in progress
//
// Object files are complete and durable from the moment they have their name: they
// are written in .tmp, synced, and renamed. A scope cannot be named ".tmp".
package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	tmpFolder = ".tmp"
	// leftoverAge is when a file in .tmp counts as the leftover of a crash. Other
	// processes may be writing when one starts, so it is longer than any upload.
	leftoverAge = time.Hour

	dirMode  = 0o700
	fileMode = 0o600
)

// Options configures a Store.
type Options struct {
	// Root is the directory, made when missing. Several processes may share it. It
	// must be one file system, because objects are renamed into place.
	Root string
}

// Store is a blob.Store in a directory. Several processes may use one root at once.
type Store struct {
	root string
}

var _ blob.Store = (*Store)(nil)

// New opens the store, makes its directory, and removes what writers that crashed
// more than an hour ago left in .tmp. It fails with CodeStorage when the directory
// cannot be used.
func New(opts Options) (*Store, error) {
	if opts.Root == "" {
		return nil, models.Errorf(models.CodeValidation, "the blob store needs a folder")
	}
	root, err := filepath.Abs(opts.Root)
	if err != nil {
		return nil, unavailable(err)
	}
	s := &Store{root: root}
	if err := os.MkdirAll(root, dirMode); err != nil {
		return nil, unavailable(err)
	}
	if err := s.makeDir(tmpFolder); err != nil {
		return nil, unavailable(err)
	}
	if err := s.sweep(time.Now().Add(-leftoverAge)); err != nil {
		return nil, unavailable(err)
	}
	return s, nil
}

// Get opens the object.
func (s *Store) Get(ctx context.Context, key blob.Key) (io.ReadCloser, error) {
	return s.GetRange(ctx, key, 0, -1)
}

// GetRange opens a part of the object.
func (s *Store) GetRange(ctx context.Context, key blob.Key, offset, length int64) (io.ReadCloser, error) {
	if err := blob.ValidateRange(offset, length); err != nil {
		return nil, err
	}
	file, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		if _, err := file.Seek(offset, io.SeekStart); err != nil {
			file.Close()
			return nil, unavailable(err)
		}
	}
	return &reader{ctx: ctx, file: file, left: length}, nil
}

// Open gives the object as a file, for callers that seek in it or hand it to the
// kernel (sendfile). The file is read-only by agreement and stays readable when
// the object is deleted meanwhile; the caller closes it.
func (s *Store) Open(ctx context.Context, key blob.Key) (*os.File, error) {
	if err := usable(ctx, key); err != nil {
		return nil, err
	}
	file, err := os.Open(s.path(key))
	if err != nil {
		return nil, s.lookupError(key, err)
	}
	return file, nil
}

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key blob.Key) (blob.Object, error) {
	if err := usable(ctx, key); err != nil {
		return blob.Object{}, err
	}
	entry, err := os.Stat(s.path(key))
	if err != nil {
		return blob.Object{}, s.lookupError(key, err)
	}
	return blob.Object{Key: key, Size: entry.Size(), ModTime: entry.ModTime()}, nil
}

// List walks the scope's folders; os.ReadDir sorts, which gives digest order.
func (s *Store) List(ctx context.Context, scope, after string, fn func(blob.Object) error) error {
	if err := blob.ValidateList(scope, after); err != nil {
		return err
	}
	shards, err := s.readDir(scope)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if !shard.IsDir() || (after != "" && shard.Name() < after[:2]) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := s.readDir(filepath.Join(scope, shard.Name()))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			key := blob.Key{Scope: scope, Digest: entry.Name()}
			if !entry.Type().IsRegular() || key.Validate() != nil || key.Digest <= after || !strings.HasPrefix(key.Digest, shard.Name()) {
				continue
			}
			object, err := s.Stat(ctx, key)
			if models.CodeOf(err) == models.CodeBlobNotFound {
				continue // deleted since the folder was read
			}
			if err != nil {
				return err
			}
			if err := fn(object); err != nil {
				return err
			}
		}
	}
	return nil
}

// Strangers walks the scope's folders as List does.
func (s *Store) Strangers(ctx context.Context, scope string, fn func(name string) error) error {
	if err := blob.ValidateScope(scope); err != nil {
		return err
	}
	shards, err := s.readDir(scope)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := scope + "/" + shard.Name()
		if !shard.IsDir() || len(shard.Name()) != 2 || blob.ValidateDigest(strings.Repeat(shard.Name(), blob.DigestLength/2)) != nil {
			if err := fn(name); err != nil {
				return err
			}
			continue
		}
		entries, err := s.readDir(filepath.Join(scope, shard.Name()))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() || blob.ValidateDigest(entry.Name()) != nil || !strings.HasPrefix(entry.Name(), shard.Name()) {
				if err := fn(name + "/" + entry.Name()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Delete removes the object. The removal is not synced: after a crash of the
// machine the object may be back, which is what a caller that retries expects.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	err := os.Remove(s.path(key))
	if err == nil {
		return nil
	}
	if err := s.lookupError(key, err); models.CodeOf(err) != models.CodeBlobNotFound {
		return err
	}
	return nil
}

// Ping writes, reads and removes a small file in .tmp.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := s.createTemp("ping-*")
	if err != nil {
		return unavailable(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()

	const content = "ping"
	if _, err := file.WriteString(content); err != nil {
		return unavailable(err)
	}
	got := make([]byte, len(content))
	if _, err := file.ReadAt(got, 0); err != nil || string(got) != content {
		return unavailable(fmt.Errorf("read back %q: %w", got, err))
	}
	return nil
}

func (s *Store) path(key blob.Key) string {
	return filepath.Join(s.root, key.Scope, key.Digest[:2], key.Digest)
}

// readDir reads a folder below the root; one that does not exist is empty, unless
// the root is gone with it.
func (s *Store) readDir(rel string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, rel))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = os.Stat(filepath.Join(s.root, tmpFolder)); err == nil {
			return nil, nil
		}
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return entries, nil
}

// lookupError tells an absent object from an absent store: both are ENOENT, and
// taking a folder that is not mounted for an empty one would lose data.
func (s *Store) lookupError(key blob.Key, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err)
	}
	if _, rootErr := os.Stat(filepath.Join(s.root, tmpFolder)); rootErr != nil {
		return unavailable(rootErr)
	}
	return blob.NotFound(key, err)
}

// usable is what every method checks before it touches the disk.
func usable(ctx context.Context, key blob.Key) error {
	if err := key.Validate(); err != nil {
		return err
	}
	return ctx.Err()
}

func unavailable(err error) error {
	return models.Wrap(models.CodeStorage, err,
		"Blob storage does not work. Check that the blob folder exists, is writable for this user, and that its disk is neither full nor read-only.")
}
