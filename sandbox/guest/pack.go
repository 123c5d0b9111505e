package guest

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// SparseRecord marks a file with holes in a packed stream (a PAX record).
const SparseRecord = "SLIPWAY.sparse"

// maxPackDepth keeps the walk's open folders few; hosts allow much less.
const maxPackDepth = 256

// packMain writes a folder as a tar stream to stdout, in order of name. What
// is no regular file goes in as a header of its type, for the host to refuse.
// Packing a tree carries folders and symbolic links as they are too.
func packMain(args []string, tree bool) error {
	if len(args) != 1 {
		return errors.New("pack takes one folder")
	}
	folder, err := openBeneath(args[0])
	if err != nil {
		return err
	}
	defer folder.Close()
	buffered := bufio.NewWriterSize(os.Stdout, 256<<10)
	p := &packer{out: tar.NewWriter(buffered), tree: tree}
	if err := p.walk(folder, "", 0); err != nil {
		// What is complete goes out first: the host may refuse an earlier file.
		_ = p.out.Flush()
		_ = buffered.Flush()
		return err
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

type packer struct {
	out  *tar.Writer
	tree bool
}

// openBeneath opens a folder below the working folder through no symbolic link.
func openBeneath(name string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, name, &how)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("%w: %s", errAbsent, name)
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%w: %q is reached through a symbolic link", errRefused, name)
	case errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("%w: %q is not a folder", errRefused, name)
	case errors.Is(err, unix.EXDEV):
		return nil, fmt.Errorf("%w: %q is outside the workspace", errRefused, name)
	case err != nil:
		return nil, fmt.Errorf("%w: %q: %w", errRefused, name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// walk packs the entries of folder, whose path is prefix.
func (p *packer) walk(folder *os.File, prefix string, depth int) error {
	if depth > maxPackDepth {
		return fmt.Errorf("%w: folders are nested more than %d deep at %q", errRefused, maxPackDepth, shorten(prefix))
	}
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("%w: list %q: %w", errRefused, shorten(prefix), err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.entry(folder, name, path.Join(prefix, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) entry(folder *os.File, name, full string, depth int) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(int(folder.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%w: %q: %w", errRefused, shorten(full), err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if p.tree {
			header := tar.Header{Typeflag: tar.TypeDir, Name: full + "/", Mode: int64(stat.Mode & 0o777)}
			if err := p.out.WriteHeader(&header); err != nil {
				return fmt.Errorf("pack %q: %w", shorten(full), err)
			}
		}
		child, err := openAt(folder, name, unix.O_DIRECTORY)
		if err != nil {
			return fmt.Errorf("%w: folder %q: %w", errRefused, shorten(full), err)
		}
		defer child.Close()
		return p.walk(child, full, depth+1)
	case unix.S_IFREG:
		return p.file(folder, name, full, &stat)
	}
	header := tar.Header{Name: full, Typeflag: typeflag(stat.Mode), Mode: int64(stat.Mode & 0o7777)}
	if header.Typeflag == tar.TypeSymlink {
		target := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(folder.Fd()), name, target)
		if err != nil {
			return fmt.Errorf("%w: link %q: %w", errRefused, shorten(full), err)
		}
		header.Linkname = string(target[:n])
	}
	if err := p.out.WriteHeader(&header); err != nil {
		return fmt.Errorf("%w: %q cannot be packed: %w", errRefused, shorten(full), err)
	}
	return nil
}

func (p *packer) file(folder *os.File, name, full string, stat *unix.Stat_t) error {
	header := tar.Header{
		Typeflag: tar.TypeReg, Name: full, Size: stat.Size,
		Mode: int64(stat.Mode & 0o7777), Format: tar.FormatPAX,
	}
	// Half of a large file missing is a hole made on purpose.
	if stat.Size > 1<<20 && stat.Blocks*512 < stat.Size/2 {
		header.PAXRecords = map[string]string{SparseRecord: "1"}
	}
	file, err := openAt(folder, name, 0)
	if err != nil {
		return fmt.Errorf("%w: %q: %w", errRefused, shorten(full), err)
	}
	defer file.Close()
	if err := p.out.WriteHeader(&header); err != nil {
		return fmt.Errorf("%w: %q cannot be packed: %w", errRefused, shorten(full), err)
	}
	if _, err := io.CopyN(p.out, file, stat.Size); err != nil {
		return fmt.Errorf("read %q: %w", shorten(full), err)
	}
	return nil
}

func openAt(folder *os.File, name string, flags int) (*os.File, error) {
	flags |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(int(folder.Fd()), name, flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: shorten(name), Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func typeflag(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return tar.TypeSymlink
	case unix.S_IFCHR:
		return tar.TypeChar
	case unix.S_IFBLK:
		return tar.TypeBlock
	case unix.S_IFIFO:
		return tar.TypeFifo
	}
	// Sockets have no tar type; any type the host does not know is refused.
	return 's'
}

// shorten keeps a hostile name from filling the log.
func shorten(name string) string {
	const limit = 200
	if len(name) <= limit {
		return name
	}
	return name[:limit] + "…"
}
