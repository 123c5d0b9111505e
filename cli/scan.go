package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/models"
)

// Limits on what is sent. They are the API's defaults, checked here as well so
// that a folder which is too big is refused before anything is uploaded.
type Limits struct {
	Files     int
	FileBytes int64
	PathBytes int
}

// DefaultLimits are those of an API with default settings.
func DefaultLimits() Limits {
	return Limits{Files: 5000, FileBytes: 5 << 20, PathBytes: models.MaxPathBytes}
}

// limitsFromEnvironment takes the settings the API itself is given, so that an
// API with other limits can be used to the full.
func limitsFromEnvironment() (Limits, error) {
	limits := DefaultLimits()
	files, fileErr := positive("SLIPWAY_MAX_FILES", int64(limits.Files))
	bytes, bytesErr := positive("SLIPWAY_MAX_FILE_BYTES", limits.FileBytes)
	paths, pathsErr := positive("SLIPWAY_MAX_PATH_BYTES", int64(limits.PathBytes))
	return Limits{Files: int(files), FileBytes: bytes, PathBytes: int(paths)}, errors.Join(fileErr, bytesErr, pathsErr)
}

func positive(name string, otherwise int64) (int64, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, usagef("%s must be a positive number, not %q", name, text)
	}
	return n, nil
}

// Source is what a folder holds that is to be deployed.
type Source struct {
	// Files are sorted by path; each has its digest.
	Files []models.File
	// Skipped are the paths that could not be taken along, with the reason.
	Skipped []string
	root    *os.Root
}

// Close gives the folder back.
func (s *Source) Close() error { return s.root.Close() }

// Bytes is the size of all files together.
func (s *Source) Bytes() int64 { return models.FileSet{Files: s.Files}.Bytes() }

// References are the files as POST /deploy wants them.
func (s *Source) References() []FileReference {
	references := make([]FileReference, len(s.Files))
	for i, file := range s.Files {
		references[i] = FileReference{Path: file.Path, SHA256: file.Digest, Mode: file.Mode}
	}
	return references
}

// Read gives the content of a file, which must still be what was scanned.
func (s *Source) Read(file models.File) ([]byte, error) {
	content, err := s.root.ReadFile(filepath.FromSlash(file.Path))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != file.Digest {
		return nil, fmt.Errorf("%s changed while it was being sent; deploy again", file.Path)
	}
	return content, nil
}

// alwaysIgnored are never part of a source, whatever .gitignore says.
func alwaysIgnored(name string) bool {
	return name == ".git" || name == "node_modules" || name == stateFolder
}

// Scan lists the files of a folder that .gitignore does not exclude, and
// digests them. Everything is read through one os.Root, so that a symbolic link
// can bring in a file of the folder but nothing from outside it.
func Scan(ctx context.Context, folder string, limits Limits) (*Source, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, usagef("there is no folder %s", folder)
		}
		return nil, err
	}
	source := &Source{root: root}
	if err := source.scan(ctx, folder, limits); err != nil {
		_ = root.Close()
		return nil, err
	}
	return source, nil
}

func (s *Source) scan(ctx context.Context, folder string, limits Limits) error {
	prefix, outer, err := enclosingIgnores(folder)
	if err != nil {
		return err
	}
	w := walker{ctx: ctx, source: s, prefix: prefix, limits: limits}
	if err := w.walk("", outer); err != nil {
		return err
	}
	if len(w.problems) > 0 {
		return w.refusal()
	}
	if len(s.Files) == 0 {
		return fmt.Errorf("%s holds no files to deploy (what .gitignore names is left out)", folder)
	}
	sort.Slice(s.Files, func(i, j int) bool { return s.Files[i].Path < s.Files[j].Path })
	return s.digest(ctx)
}

// digest fills in the digests, a few files at a time.
func (s *Source) digest(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i := range s.Files {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			file, err := s.root.Open(filepath.FromSlash(s.Files[i].Path))
			if err != nil {
				return err
			}
			defer file.Close()
			hash := sha256.New()
			size, err := io.Copy(hash, file)
			if err != nil {
				return err
			}
			s.Files[i].Size = size
			s.Files[i].Digest = hex.EncodeToString(hash.Sum(nil))
			return nil
		})
	}
	return group.Wait()
}

// walker goes through a folder once.
type walker struct {
	ctx    context.Context
	source *Source
	// prefix is the path from the top of the repository to the folder.
	prefix   string
	limits   Limits
	problems []string
	tooMany  bool
}

func (w *walker) walk(folder string, ignored []ignoreFile) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(w.source.root.FS(), firstOf(folder, "."))
	if err != nil {
		return err
	}
	ignored, err = w.withIgnoreFile(folder, entries, ignored)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if w.tooMany {
			return nil
		}
		name := path.Join(folder, entry.Name())
		if alwaysIgnored(entry.Name()) || ignores(ignored, path.Join(w.prefix, name), entry.IsDir()) {
			continue
		}
		if entry.IsDir() {
			if err := w.walk(name, ignored); err != nil {
				return err
			}
			continue
		}
		if err := w.add(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) withIgnoreFile(folder string, entries []fs.DirEntry, ignored []ignoreFile) ([]ignoreFile, error) {
	for _, entry := range entries {
		if entry.Name() != ".gitignore" || !entry.Type().IsRegular() {
			continue
		}
		text, err := w.source.root.ReadFile(filepath.FromSlash(path.Join(folder, ".gitignore")))
		if err != nil {
			return nil, err
		}
		// A copy, because the caller's siblings must not see it.
		return append(ignored[:len(ignored):len(ignored)], parseIgnore(path.Join(w.prefix, folder), string(text))), nil
	}
	return ignored, nil
}

// add takes a file along, or notes why it cannot be.
func (w *walker) add(name string) error {
	state, err := w.source.root.Stat(filepath.FromSlash(name))
	switch {
	case err != nil:
		w.skip(name, "a link that leads nowhere or out of the folder")
		return nil
	case state.IsDir():
		w.skip(name, "a link to a folder")
		return nil
	case !state.Mode().IsRegular():
		w.skip(name, "not a regular file")
		return nil
	}
	if what := models.CheckPath(name, w.limits.PathBytes); what != "" {
		w.refuse("%q: the path %s", name, what)
		return nil
	}
	if state.Size() > w.limits.FileBytes {
		w.refuse("%s: %s is more than the %s a file may have", name, formatBytes(state.Size()), formatBytes(w.limits.FileBytes))
		return nil
	}
	if len(w.source.Files) == w.limits.Files {
		w.tooMany = true
		w.refuse("more than %d files", w.limits.Files)
		return nil
	}
	mode := uint32(0o644)
	if state.Mode()&0o111 != 0 {
		mode = 0o755
	}
	w.source.Files = append(w.source.Files, models.File{Path: name, Size: state.Size(), Mode: mode})
	return nil
}

func (w *walker) skip(name, why string) {
	w.source.Skipped = append(w.source.Skipped, name+": "+why)
}

func (w *walker) refuse(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// refusal lists what is wrong, shortened, and says what to do.
func (w *walker) refusal() error {
	shown := w.problems
	if len(shown) > 10 {
		shown = append(shown[:10:10], fmt.Sprintf("… and %d more", len(w.problems)-10))
	}
	return fmt.Errorf("the folder cannot be deployed as it is:\n  %s\n  Name what should stay behind in .gitignore", strings.Join(shown, "\n  "))
}

// enclosingIgnores finds the .gitignore files between the top of the git
// repository that holds the folder, if there is one, and the folder's parent.
// When they exclude the folder itself, its owner wants just that folder sent (a
// finished dist/, say), so that they do not count.
func enclosingIgnores(folder string) (prefix string, files []ignoreFile, err error) {
	folder, err = filepath.Abs(folder)
	if err != nil {
		return "", nil, err
	}
	top := repositoryTop(folder)
	if top == "" || top == folder {
		return "", nil, nil
	}
	relative, err := filepath.Rel(top, folder)
	if err != nil {
		return "", nil, err
	}
	prefix = filepath.ToSlash(relative)
	at := ""
	for _, segment := range strings.Split(prefix, "/") {
		text, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(at), ".gitignore"))
		if err == nil {
			files = append(files, parseIgnore(at, string(text)))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
		at = path.Join(at, segment)
		if ignores(files, at, true) {
			return prefix, nil, nil
		}
	}
	return prefix, files, nil
}

// repositoryTop is the nearest folder, this one or one above it, with a .git; ""
// when there is none.
func repositoryTop(folder string) string {
	for {
		if _, err := os.Lstat(filepath.Join(folder, ".git")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return ""
		}
		folder = parent
	}
}
