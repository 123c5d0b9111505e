package certs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// localCopy keeps sealed values as files: what this machine has served goes on
// being served while the database is away, also by a process started then. The
// values are sealed for their keys, so a file moved to another's place does not
// open.
type localCopy struct {
	dir string
}

// localAge is how long a file is kept that nobody has read or written: longer
// than any certificate in use stays unrenewed.
const localAge = 100 * 24 * time.Hour

// touchAge spares a file that is read often from being written as often.
const touchAge = 24 * time.Hour

func newLocalCopy(dir string) (*localCopy, error) {
	return &localCopy{dir}, os.MkdirAll(dir, 0o700)
}

// path is where a key's value is. Host names may be longer than file names.
func (l *localCopy) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(l.dir, name[:2], name[2:])
}

func (l *localCopy) load(key string) ([]byte, error) { return os.ReadFile(l.path(key)) }

// has costs one system call.
func (l *localCopy) has(key string) bool {
	_, err := os.Stat(l.path(key))
	return err == nil
}

// store writes the file whole or not at all.
func (l *localCopy) store(key string, sealed []byte) error {
	path := l.path(key)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, sealed) {
		return l.touch(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(sealed)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

func (l *localCopy) touch(path string) error {
	stat, err := os.Stat(path)
	if err != nil || time.Since(stat.ModTime()) < touchAge {
		return err
	}
	now := time.Now()
	return os.Chtimes(path, now, now)
}

func (l *localCopy) remove(key string) error {
	err := os.Remove(l.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sweep removes what was not used for long, and what a killed process left half
// written.
func (l *localCopy) sweep() error {
	return filepath.WalkDir(l.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		stat, err := entry.Info()
		if err != nil {
			return nil // it is gone
		}
		age := time.Since(stat.ModTime())
		if age > localAge || (entry.Name()[0] == '.' && age > time.Hour) {
			_ = os.Remove(path)
		}
		return nil
	})
}

// outage remembers that the database did not answer a moment ago, so that not
// every handshake waits to find that out again.
type outage struct {
	last atomic.Int64 // Unix nanoseconds
}

const outageLasts = 2 * time.Second

func (o *outage) note() { o.last.Store(time.Now().UnixNano()) }

func (o *outage) recent() bool {
	return time.Since(time.Unix(0, o.last.Load())) < outageLasts
}
