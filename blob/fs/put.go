package fs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// copyBuffer is the size of one read while storing.
const copyBuffer = 64 << 10

// Put writes the object in .tmp and renames it into place.
func (s *Store) Put(ctx context.Context, key blob.Key, size int64, r io.Reader) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	switch object, err := s.Stat(ctx, key); {
	// An object of another length than announced is damaged, or the announcement
	// is wrong: writing it anew mends the one and refuses the other.
	case err == nil && (size < 0 || size == object.Size):
		// Whoever renamed it may not have synced the folder yet.
		return s.syncShard(key)
	case err != nil && models.CodeOf(err) != models.CodeBlobNotFound:
		return err
	}

	file, err := s.createTemp(key.Digest[:8] + "-*")
	if err != nil {
		return unavailable(err)
	}
	defer os.Remove(file.Name()) // fails harmlessly once renamed
	defer file.Close()

	verified := blob.NewVerifier(ctx, key, size, r)
	if err := copyTo(file, verified); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return unavailable(err)
	}
	if err := file.Close(); err != nil {
		return unavailable(err)
	}
	return s.publish(file.Name(), key)
}

// publish gives a finished temporary file its name and makes the name durable.
func (s *Store) publish(tmp string, key blob.Key) error {
	shard := filepath.Join(key.Scope, key.Digest[:2])
	if err := s.makeDir(key.Scope); err != nil {
		return unavailable(err)
	}
	if err := s.makeDir(shard); err != nil {
		return unavailable(err)
	}
	if err := os.Rename(tmp, s.path(key)); err != nil {
		return unavailable(err)
	}
	return s.syncShard(key)
}

func (s *Store) syncShard(key blob.Key) error {
	if err := syncDir(filepath.Dir(s.path(key))); err != nil {
		return unavailable(err)
	}
	return nil
}

// copyTo tells the two ends apart: an error of the source is returned as it is,
// one of the file is the store's.
func copyTo(file *os.File, r io.Reader) error {
	buffer := make([]byte, copyBuffer)
	for {
		n, readErr := r.Read(buffer)
		if n > 0 {
			if _, err := file.Write(buffer[:n]); err != nil {
				return unavailable(err)
			}
		}
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}

func (s *Store) createTemp(pattern string) (*os.File, error) {
	return os.CreateTemp(filepath.Join(s.root, tmpFolder), pattern) // mode 0600
}

// makeDir makes one folder below the root, never the root itself: where that is
// gone (a disk not mounted) objects must not be written underneath.
func (s *Store) makeDir(rel string) error {
	path := filepath.Join(s.root, rel)
	err := os.Mkdir(path, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// sweep removes temporary files last written before the given time.
func (s *Store) sweep(before time.Time) error {
	tmp := filepath.Join(s.root, tmpFolder)
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		stat, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // its writer finished meanwhile
		}
		if err != nil {
			return err
		}
		if stat.ModTime().After(before) {
			continue
		}
		if err := os.Remove(filepath.Join(tmp, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncDir makes names in a folder survive a crash.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
