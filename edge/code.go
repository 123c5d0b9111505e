package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

const (
	// maxModule bounds one module or map.
	maxModule = 64 << 20
	// codeKept is how long code on disk is kept after its last start.
	codeKept = 7 * 24 * time.Hour
)

// codeStore keeps the code of releases in folders named by organization and
// digest: written once, checked against their digests, used by every start. What
// is in it can be started while the blob store is away.
type codeStore struct {
	folder string
	blobs  blob.Store
	// checked holds the folders whose bytes this process has written or compared
	// with their digests.
	checked sync.Map
	// readingMap is for sourceMaps.
	readingMap sync.Mutex
}

// code is a release's code on disk.
type code struct {
	bundle *models.WorkerBundle
	// folder holds "bundle.json", the folder "modules" that the worker sees, with
	// a file for each module by its place in the bundle, and "maps" likewise.
	folder string
	maps   *sourceMaps
}

func (c *code) modules() string { return filepath.Join(c.folder, "modules") }

// prepare makes the store's folder and removes what was being written when an
// earlier process ended.
func (s *codeStore) prepare() error {
	unfinished := filepath.Join(s.folder, "new")
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	return os.MkdirAll(unfinished, 0o755)
}

// open gives a release's code, from disk or from the blob store. CodeStorage.
func (s *codeStore) open(ctx context.Context, r Release) (*code, error) {
	key := blob.Key{Scope: r.OrganizationID, Digest: r.WorkerDigest}
	if err := key.Validate(); err != nil {
		return nil, err
	}
	folder := filepath.Join(s.folder, r.OrganizationID, r.WorkerDigest)
	now := time.Now()
	_ = os.Chtimes(folder, now, now) // clear leaves it alone from here on
	c, err := s.read(ctx, key, folder)
	if err != nil {
		if err = s.fetch(ctx, key, folder); err == nil {
			c, err = s.read(ctx, key, folder)
		}
	}
	if err != nil {
		return nil, storageError(err)
	}
	return c, nil
}

// storageError makes an error of the store: a blob that is missing too, for only
// we write releases.
func storageError(err error) error {
	var coded *models.Error
	if errors.As(err, &coded) && coded.Code == models.CodeStorage || errors.Is(err, context.Canceled) {
		return err
	}
	return models.Wrap(models.CodeStorage, err, "The worker's code cannot be read.")
}

// read reads what is on disk, and the first time in this process compares every
// byte with its digest: a torn write or a damaged disk must not run.
func (s *codeStore) read(ctx context.Context, key blob.Key, folder string) (*code, error) {
	data, err := os.ReadFile(filepath.Join(folder, "bundle.json"))
	if err != nil {
		return nil, err
	}
	if blob.Digest(data) != key.Digest {
		return nil, fmt.Errorf("the bundle in %s is damaged", folder)
	}
	bundle, err := models.DecodeWorkerBundle(data)
	if err != nil {
		return nil, err
	}
	if _, ok := s.checked.Load(folder); !ok {
		for i, module := range bundle.Modules {
			content, err := os.ReadFile(filepath.Join(folder, "modules", strconv.Itoa(i)))
			if err != nil {
				return nil, err
			}
			if blob.Digest(content) != module.Digest {
				return nil, fmt.Errorf("module %q in %s is damaged", module.Name, folder)
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		s.checked.Store(folder, true)
	}
	return &code{bundle: bundle, folder: folder, maps: newSourceMaps(bundle, filepath.Join(folder, "maps"), &s.readingMap)}, nil
}

// fetch writes the folder from the blob store, whole or not at all. What is there
// goes only when it is damaged: another start may have written it meanwhile, and
// its worker be about to read it.
func (s *codeStore) fetch(ctx context.Context, key blob.Key, folder string) error {
	data, err := blob.ReadAll(ctx, s.blobs, key, models.MaxWorkerBundle)
	if err != nil {
		return err
	}
	bundle, err := models.DecodeWorkerBundle(data)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Join(s.folder, "new"), "code-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, sub := range []string{"modules", "maps"} {
		if err := os.Mkdir(filepath.Join(work, sub), 0o755); err != nil {
			return err
		}
	}
	for i, module := range bundle.Modules {
		if err := s.fetchFile(ctx, key.Scope, module.Digest, filepath.Join(work, "modules", strconv.Itoa(i))); err != nil {
			return fmt.Errorf("fetch module %q: %w", module.Name, err)
		}
		if module.SourceMap == "" {
			continue
		}
		// A worker runs without its source maps, so their absence only shows in
		// its stacks.
		_ = s.fetchFile(ctx, key.Scope, module.SourceMap, filepath.Join(work, "maps", strconv.Itoa(i)))
	}
	if err := os.WriteFile(filepath.Join(work, "bundle.json"), data, 0o644); err != nil {
		return err
	}
	// The worker's user, nobody on this host, reads the modules.
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	err = os.Rename(work, folder)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := s.read(ctx, key, folder); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return unix.Renameat2(unix.AT_FDCWD, work, unix.AT_FDCWD, folder, unix.RENAME_EXCHANGE)
}

func (s *codeStore) fetchFile(ctx context.Context, scope, digest, name string) error {
	content, err := blob.ReadAll(ctx, s.blobs, blob.Key{Scope: scope, Digest: digest}, maxModule)
	if err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o644)
}

// clear removes code that was not started for long, but for what runs.
func (s *codeStore) clear(now time.Time, runs func(folder string) bool) {
	folders, _ := filepath.Glob(filepath.Join(s.folder, "*", "*", "bundle.json"))
	for _, name := range folders {
		folder := filepath.Dir(name)
		stat, err := os.Stat(folder)
		if err != nil || now.Sub(stat.ModTime()) < codeKept || runs(folder) {
			continue
		}
		s.checked.Delete(folder)
		_ = os.RemoveAll(folder)
	}
}

// isText says whether a plain variable of a settings file is a JSON string, and
// gives that.
func isText(value json.RawMessage) (string, bool) {
	var text string
	err := json.Unmarshal(value, &text)
	return text, err == nil && len(value) > 0 && value[0] == '"'
}
