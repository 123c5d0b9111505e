package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/sandbox"
)

// home is where a provider keeps its sandboxes:
//
//	state-dir         the installation this belongs to, for people
//	lock              one byte-range lock per id
//	runtime/          the OCI runtime's own state
//	system/<digest>/  the /etc that services share
//	sandboxes/<id>/   record.json, config.json, rootfs/, egress/, logs
type home struct {
	dir      string
	stateDir string
	// prefix starts the names of this home's control groups.
	prefix string
}

func newHome(options Options) home {
	sum := sha256.Sum256([]byte(options.StateDir))
	short := hex.EncodeToString(sum[:5])
	dir := options.RunDir
	if dir == "" && !rootless() {
		dir = filepath.Join("/run/slipway", short)
	}
	if dir == "" {
		dir = filepath.Join(options.StateDir, "sandboxes")
	}
	return home{dir: dir, stateDir: options.StateDir, prefix: "slipway-" + short + "-"}
}

func (h home) runtimeDir() string              { return filepath.Join(h.dir, "runtime") }
func (h home) system() string                  { return filepath.Join(h.dir, "system") }
func (h home) sandboxes() string               { return filepath.Join(h.dir, "sandboxes") }
func (h home) sandbox(id string) string        { return filepath.Join(h.sandboxes(), id) }
func (h home) rootfs(id string) string         { return filepath.Join(h.sandbox(id), "rootfs") }
func (h home) egressDir(id string) string      { return filepath.Join(h.sandbox(id), "egress") }
func (h home) file(id string, n string) string { return filepath.Join(h.sandbox(id), n) }

// prepare makes the folders. Root inside a sandbox passes through them and
// lists none of them.
func (h home) prepare() error {
	// The parent too, when it is ours to make: /run/slipway.
	for _, folder := range []string{filepath.Dir(h.dir), h.dir, h.runtimeDir(), h.sandboxes()} {
		if err := makePassable(folder); err != nil {
			return err
		}
	}
	note := filepath.Join(h.dir, "state-dir")
	if _, err := os.Stat(note); err == nil {
		return nil
	}
	return os.WriteFile(note, []byte(h.stateDir+"\n"), 0o600)
}

// makePassable makes a folder that everyone may pass through, whatever the
// umask says. One that exists is left as it is.
func makePassable(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if err := os.MkdirAll(folder, 0o711); err != nil {
		return err
	}
	return os.Chmod(folder, 0o711)
}

// record is what is known of a sandbox, enough for another process to take it
// over. The environment may be secret: the file is root's alone, in memory.
type record struct {
	ID              string            `json:"id"`
	UIDBase         uint32            `json:"uidBase"`
	UIDCount        uint32            `json:"uidCount"`
	Limits          sandbox.Limits    `json:"limits"`
	ModulesSnapshot string            `json:"modulesSnapshot,omitempty"`
	AllowHosts      []string          `json:"allowHosts,omitempty"`
	Created         time.Time         `json:"created"`
	Env             map[string]string `json:"env,omitempty"`
	// Service says that this is a program's sandbox, not one for commands.
	Service bool `json:"service,omitempty"`
}

func newRecord(spec sandbox.Spec) *record {
	return &record{
		ID: spec.ID, UIDBase: spec.UIDBase, UIDCount: spec.UIDCount, Limits: spec.Limits,
		ModulesSnapshot: spec.ModulesSnapshot, AllowHosts: spec.AllowHosts, Created: time.Now().UTC(),
		Env: spec.Env,
	}
}

// write makes the sandbox's folder with its record, before anything else of it
// exists, so that a sweeper finds whatever comes after.
func (h home) write(r *record) error {
	if err := h.prepare(); err != nil {
		return err
	}
	if err := makePassable(h.sandbox(r.ID)); err != nil {
		return err
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(h.file(r.ID, "record.json"), content, 0o600)
}

func (h home) read(id string) (*record, error) {
	content, err := os.ReadFile(h.file(id, "record.json"))
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("sandbox record of %s: %w", id, err)
	}
	return r, nil
}

// exists says whether a sandbox has its folder.
func (h home) exists(id string) bool {
	_, err := os.Stat(h.sandbox(id))
	return err == nil
}

// ids lists every sandbox of which a folder is left.
func (h home) ids() ([]string, error) {
	var ids []string
	for _, folder := range []string{h.sandboxes(), h.runtimeDir()} {
		entries, err := os.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

const lockPoll = 10 * time.Millisecond

// lock waits for the exclusive use of an id, in this process and others. It is
// a lock on one byte of a file, chosen by the id, so that no file per id is
// left; the kernel frees it when the process dies.
func (h home) lock(ctx context.Context, id string) (func(), error) {
	hash := fnv.New64a()
	hash.Write([]byte(id))
	start := int64(hash.Sum64() >> 2)
	for {
		file, err := h.tryLock(start, 1)
		if err != nil {
			return nil, fmt.Errorf("lock sandbox %s: %w", id, err)
		}
		if file != nil {
			return func() { file.Close() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}

// tryLock locks a region of the lock file; nil when another has it, or when
// the file was removed meanwhile and has to be opened anew.
func (h home) tryLock(start, length int64) (*os.File, error) {
	err := h.prepare()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	name := filepath.Join(h.dir, "lock")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	region := unix.Flock_t{Type: unix.F_WRLCK, Start: start, Len: length}
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &region)
	if err == nil {
		mine, mineErr := file.Stat()
		there, thereErr := os.Stat(name)
		if mineErr == nil && thereErr == nil && os.SameFile(mine, there) {
			return file, nil
		}
	}
	file.Close()
	switch {
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINTR):
		return nil, nil
	}
	return nil, err
}

// removeEmpty removes the home itself when no sandbox is left and nobody is
// using it.
func (h home) removeEmpty() {
	if ids, err := h.ids(); err != nil || len(ids) > 0 {
		return
	}
	if _, err := os.Stat(h.dir); err != nil {
		return
	}
	// The whole file: whoever holds any id keeps the home.
	file, err := h.tryLock(0, 0)
	if err != nil || file == nil {
		return
	}
	defer file.Close()
	if ids, err := h.ids(); err != nil || len(ids) > 0 {
		return
	}
	if os.RemoveAll(h.system()) != nil {
		return
	}
	for _, name := range []string{h.sandboxes(), h.runtimeDir(), filepath.Join(h.dir, "state-dir"), filepath.Join(h.dir, "lock"), h.dir} {
		if err := os.Remove(name); err != nil {
			return
		}
	}
}
