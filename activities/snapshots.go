package activities

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
)

// snapshots keeps installed node_modules folders, one per organization, set of
// dependencies and toolchain. Its methods are safe for concurrent use within
// one process; one process owns the folder.
type snapshots struct {
	dir      string
	maxBytes int64
	clock    func() time.Time

	mu sync.Mutex
	// used counts the sandboxes that have a snapshot mounted: the lower layer
	// of a mounted overlay must not go.
	used map[string]int
}

// take gives the folder of a snapshot and counts its use; ok is false when
// there is none yet.
func (s *snapshots) take(key string) (dir string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir = filepath.Join(s.dir, key)
	if _, err := os.Lstat(dir); err != nil {
		return dir, false
	}
	s.used[key]++
	// The modification time is the time of last use, for eviction.
	now := s.clock()
	_ = os.Chtimes(dir, now, now)
	return dir, true
}

// release ends one use.
func (s *snapshots) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[key]--; s.used[key] <= 0 {
		delete(s.used, key)
	}
}

// evict removes the snapshots used longest ago until the rest fit the limit.
// One that is in use stays.
func (s *snapshots) evict() error {
	type entry struct {
		key   string
		bytes int64
		used  time.Time
	}
	var entries []entry
	var total int64
	organizations, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, org := range organizations {
		keys, err := os.ReadDir(filepath.Join(s.dir, org.Name()))
		if err != nil {
			continue // not a folder, or gone meanwhile
		}
		for _, k := range keys {
			key := filepath.Join(org.Name(), k.Name())
			info, err := k.Info()
			if err != nil {
				continue
			}
			size := treeBytes(filepath.Join(s.dir, key))
			total += size
			entries = append(entries, entry{key, size, info.ModTime()})
		}
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].used.Before(entries[j].used) })
	var failed error
	for _, e := range entries {
		if total <= s.maxBytes {
			break
		}
		removed, err := s.remove(e.key)
		if removed {
			total -= e.bytes
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// remove makes a snapshot disappear at once and then deletes it, so that take
// never sees half of one.
func (s *snapshots) remove(key string) (bool, error) {
	s.mu.Lock()
	if s.used[key] > 0 {
		s.mu.Unlock()
		return false, nil
	}
	doomed := filepath.Join(s.dir, ".evicted-"+hashOf(key))
	err := os.Rename(filepath.Join(s.dir, key), doomed)
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	return true, os.RemoveAll(doomed)
}

func treeBytes(dir string) int64 {
	var total int64
	// Entries that vanish while we look count as nothing.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}

func hashOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// snapshotKey names the snapshot of a source's dependencies; "" when its install
// cannot stand in for a later one. It names everything an install's result
// follows from: its inputs, its command and the toolchain.
func (a *Activities) snapshotKey(org string, plan framework.Plan, files *sourceFiles) (string, error) {
	// A snapshot appears at the top of the workspace.
	if !plan.Reusable || plan.InstallDir != "." {
		return "", nil
	}
	parts := []string{"install-2", a.ToolchainVersion, plan.PackageManager}
	parts = append(parts, plan.Install...)
	for _, name := range slices.Sorted(maps.Keys(plan.Env)) {
		parts = append(parts, name, plan.Env[name])
	}
	for _, name := range plan.InstallInputs {
		data, err := files.Read(name)
		if err != nil {
			return "", err
		}
		if path.Base(name) == "package.json" {
			if data, err = dependenciesOf(data); err != nil {
				return "", err
			}
		}
		parts = append(parts, name, string(data))
	}
	return path.Join(org, hashOf(parts...)), nil
}

// dependenciesOf leaves out of a package.json what often changes and says
// nothing about dependencies.
func dependenciesOf(manifest []byte) ([]byte, error) {
	var pkg map[string]any
	if err := json.Unmarshal(manifest, &pkg); err != nil {
		return nil, models.Errorf(models.CodeValidation, "package.json is not valid JSON: %s", err)
	}
	for _, field := range []string{"name", "version", "description", "scripts", "author", "keywords", "license"} {
		delete(pkg, field)
	}
	return json.Marshal(pkg)
}
