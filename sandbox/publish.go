package sandbox

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
)

// Owner is who files on the host belong to; -1 leaves them to this process's user.
type Owner struct{ UID, GID int }

// maxTreeEntries bounds a published tree: large real ones have 150,000.
const maxTreeEntries = 1_000_000

// PublishTree writes a packed tree beside dest. Commit makes it appear there,
// complete or not at all, and takes most of its time bringing it to disk; what
// is not committed is removed by a later publisher. The stream is hostile: every write stays below a new folder, links are
// made but never followed out of it, only permission bits are kept, and every
// file is a copy of its own. When dest exists already, it stays.
//
// The parent of dest must exist or be creatable, on the same file system.
func PublishTree(from io.Reader, dest string, owner Owner, maxBytes int64) (commit func() error, err error) {
	parent := filepath.Dir(dest)
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return nil, models.Wrap(models.CodeStorage, err, "the snapshot folder cannot be made")
	}
	removeStale(parent)
	staging, err := os.MkdirTemp(parent, stagingPrefix+"*")
	if err != nil {
		return nil, models.Wrap(models.CodeStorage, err, "the snapshot folder cannot be made")
	}
	tree := &treeWriter{owner: owner, left: maxBytes}
	if err := tree.write(from, staging); err != nil {
		_ = os.RemoveAll(staging)
		return nil, err
	}
	return func() error { return commitTree(staging, dest) }, nil
}

func commitTree(staging, dest string) error {
	defer os.RemoveAll(staging)
	if err := syncTree(staging); err != nil {
		return models.Wrap(models.CodeStorage, err, "the snapshot cannot be written")
	}
	err := unix.Renameat2(unix.AT_FDCWD, staging, unix.AT_FDCWD, dest, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return models.Wrap(models.CodeStorage, err, "the snapshot cannot be published")
	}
	return nil
}

const (
	// stagingPrefix starts the names of folders being filled.
	stagingPrefix = ".publishing-"
	// staleAfter is older than any publication in progress.
	staleAfter = 2 * time.Hour
)

// removeStale removes what killed publishers left beside dest.
func removeStale(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, entry := range entries {
		stat, err := entry.Info()
		if err == nil && strings.HasPrefix(entry.Name(), stagingPrefix) && time.Since(stat.ModTime()) > staleAfter {
			_ = os.RemoveAll(filepath.Join(parent, entry.Name()))
		}
	}
}

// syncTree brings the file system to disk, so that a published name never
// stands for empty files after a power loss.
func syncTree(folder string) error {
	file, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.Syncfs(int(file.Fd()))
}

type treeWriter struct {
	root    *os.Root
	owner   Owner
	left    int64
	entries int
	// folders get their final modes last: a read-only one could not be filled.
	folders map[string]fs.FileMode
}

func (t *treeWriter) write(from io.Reader, staging string) error {
	root, err := os.OpenRoot(staging)
	if err != nil {
		return models.Wrap(models.CodeStorage, err, "the snapshot cannot be written")
	}
	defer root.Close()
	t.root, t.folders = root, map[string]fs.FileMode{".": 0o755}
	in := tar.NewReader(from)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return streamError(err)
		}
		if err := t.entry(header, in); err != nil {
			return err
		}
	}
	for name, mode := range t.folders {
		err := root.Chmod(name, mode)
		if err == nil && t.owner.UID >= 0 {
			err = root.Lchown(name, t.owner.UID, t.owner.GID)
		}
		if err != nil {
			return models.Wrap(models.CodeStorage, err, "the snapshot cannot be written")
		}
	}
	return nil
}

func (t *treeWriter) entry(header *tar.Header, in io.Reader) error {
	name := strings.TrimSuffix(header.Name, "/")
	if t.entries++; t.entries > maxTreeEntries {
		return models.Errorf(models.CodeBuildFailed, "node_modules has more than %d entries", maxTreeEntries)
	}
	if !fs.ValidPath(name) || name == "." || len(name) > unix.PathMax/2 {
		return refuse(name, "has a path that leaves the folder")
	}
	var err error
	switch header.Typeflag {
	case tar.TypeDir:
		// The folder stays ours to write until the end.
		t.folders[name] = fs.FileMode(header.Mode).Perm() | 0o700
		err = t.root.Mkdir(name, 0o755)
	case tar.TypeSymlink:
		if err = t.root.Symlink(header.Linkname, name); err == nil {
			err = t.own(name)
		}
	case tar.TypeReg:
		if t.left -= header.Size; header.Size < 0 || t.left < 0 {
			return models.Errorf(models.CodeBuildFailed, "node_modules is larger than the sandbox's disk")
		}
		err = t.file(name, header, in)
	default:
		return refuse(path.Join("node_modules", name), "is no regular file, folder or link")
	}
	var coded *models.Error
	if err != nil && !errors.As(err, &coded) {
		err = models.Wrap(models.CodeStorage, fmt.Errorf("%s: %w", name, err), "the snapshot cannot be written")
	}
	return err
}

func (t *treeWriter) file(name string, header *tar.Header, in io.Reader) error {
	file, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// The stream's errors come coded; the others are our disk's.
	_, err = io.Copy(file, &exactReader{from: in, left: header.Size})
	if err == nil && t.owner.UID >= 0 {
		err = file.Chown(t.owner.UID, t.owner.GID)
	}
	// After the change of owner, which clears bits.
	if err == nil {
		err = file.Chmod(fs.FileMode(header.Mode).Perm() | 0o400)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (t *treeWriter) own(name string) error {
	if t.owner.UID < 0 {
		return nil
	}
	return t.root.Lchown(name, t.owner.UID, t.owner.GID)
}
