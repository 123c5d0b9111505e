package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// serviceFolders are the empty folders of a service's root that something of the
// system is mounted on.
var serviceFolders = []string{"proc", "dev", "tmp", "etc"}

// serviceOOMScore has a host that runs out of memory take services before what
// serves everyone.
const serviceOOMScore = 500

func isSystemFolder(name string) bool {
	return name == "sys" || name == "var" || slices.Contains(serviceFolders, name) || slices.Contains(systemFolders, name)
}

// writeServiceBundle makes a service's root and the runtime's description of the
// service. The root is a few empty folders on tmpfs or disk; what is in it, /etc
// too, is the same for all services and mounted.
func (p *Provider) writeServiceBundle(r *record, spec sandbox.ServiceSpec) error {
	etc, err := p.sharedEtc()
	if err != nil {
		return models.Wrap(models.CodeSandbox, err, "the file system of services cannot be prepared")
	}
	mounts, err := p.serviceMounts(r, spec, etc)
	if err != nil {
		return err
	}
	if err := p.buildServiceRoot(r, spec.Binds); err != nil {
		return models.Wrap(models.CodeSandbox, err, "the service's file system cannot be prepared")
	}
	process := p.process(r, spec.Args, "/", serviceEnvironment(spec.Env))
	process.OOMScoreAdj = new(serviceOOMScore)
	content, err := json.Marshal(&specs.Spec{
		Version:  "1.0.2",
		Hostname: "slipway",
		Root:     &specs.Root{Path: p.home.rootfs(r.ID), Readonly: true},
		Process:  process,
		Mounts:   mounts,
		Linux:    p.linux(r),
	})
	if err == nil {
		// It holds the service's environment, which may be secret.
		err = os.WriteFile(p.home.file(r.ID, "config.json"), content, 0o600)
	}
	if err != nil {
		return models.Wrap(models.CodeSandbox, err, "the service's description cannot be written")
	}
	return nil
}

// serviceEnvironment is what a service sees besides its own.
func serviceEnvironment(own map[string]string) []string {
	env := map[string]string{
		"PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "SSL_CERT_FILE": caBundle,
	}
	maps.Copy(env, own)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// serviceMounts are the service's file systems in order. /tmp is all it may
// write. There is no /sys, and no folder of a build's.
func (p *Provider) serviceMounts(r *record, spec sandbox.ServiceSpec, etc string) ([]specs.Mount, error) {
	binds := []sandbox.Bind{{Source: etc, Destination: "/etc"}}
	for _, name := range systemFolders {
		if stat, err := os.Lstat("/" + name); err == nil && stat.IsDir() {
			binds = append(binds, sandbox.Bind{Source: "/" + name, Destination: "/" + name})
		}
	}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		tmpfs("/dev", 64<<10, "mode=755", "nosuid", "noexec"),
		tmpfs("/tmp", r.Limits.DiskBytes, "mode=1777", "nosuid", "nodev"),
	}
	for _, bind := range append(binds, spec.Binds...) {
		source, err := filepath.EvalSymlinks(bind.Source)
		if err != nil {
			return nil, models.Wrap(models.CodeValidation, err, fmt.Sprintf("%s cannot be bound into the service: it is not there", bind.Source))
		}
		mount, err := readOnlyBind(source, bind.Destination)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, mount)
	}
	// What an administrator put below /usr/local is no part of the system.
	if stat, err := os.Lstat("/usr/local"); err == nil && stat.IsDir() {
		mounts = append(mounts, tmpfs("/usr/local", 4<<10, "mode=755", "nosuid", "nodev", "ro"))
	}
	return mounts, nil
}

// buildServiceRoot makes the folder the service's read-only root is made of: a
// place for every mount. It is the host's root's, as with builds.
func (p *Provider) buildServiceRoot(r *record, binds []sandbox.Bind) error {
	root := p.home.rootfs(r.ID)
	for _, folder := range serviceFolders {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return err
		}
	}
	for _, name := range systemFolders {
		if err := mirrorSystemFolder(root, name); err != nil {
			return err
		}
	}
	for _, bind := range binds {
		if err := makeMountpoint(filepath.Join(root, bind.Destination), bind.Source); err != nil {
			return err
		}
	}
	return makeReadable(root)
}

// makeMountpoint makes what source is mounted on: a folder, or an empty file for
// all else.
func makeMountpoint(name, source string) error {
	stat, err := os.Stat(source)
	if err != nil {
		return err
	}
	if stat.IsDir() {
		return os.MkdirAll(name, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, nil, 0o644)
}

// sharedEtc is the folder that is /etc in every service, made once in a process
// from what the host has then. Its name is a digest of its content, so that other
// processes of this home share it; the caller holds the lock of an id, without
// which the home may be removed.
func (p *Provider) sharedEtc() (string, error) {
	p.etcMu.Lock()
	defer p.etcMu.Unlock()
	if _, err := os.Stat(p.etc); p.etc != "" && err == nil {
		return p.etc, nil
	}
	if err := makePassable(p.home.system()); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(p.home.system(), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := os.MkdirAll(filepath.Join(made, "etc/ssl/certs"), 0o755); err != nil {
		return "", err
	}
	if err := p.writeEtc(made); err != nil {
		return "", err
	}
	if err := makeReadable(made); err != nil {
		return "", err
	}
	digest, err := digestTree(made)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(p.home.system(), digest)
	if err := os.Rename(made, folder); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return "", err
	}
	p.etc = filepath.Join(folder, "etc")
	return p.etc, nil
}

// digestTree is a digest over the names and contents of a folder's files.
func digestTree(folder string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n%s", strings.TrimPrefix(name, folder), len(content), content)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:10]), err
}
