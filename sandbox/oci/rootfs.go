package oci

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// caBundle is where the sandbox's certificates are.
const caBundle = "/etc/ssl/certs/ca-certificates.crt"

// systemFolders of the host appear in the sandbox, read-only. Where the host
// has a link (bin -> usr/bin) the sandbox gets the same link.
var systemFolders = []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// mountpoints are the empty folders things are mounted on.
var mountpoints = []string{
	"proc", "dev", "tmp", "home/build", "workspace", "opt/toolchain", "run", "root", "etc/alternatives",
	"etc/ssl/certs", ".slipway/egress", ".slipway/snapshot",
}

// etcFiles are all of /etc there is, besides certificates and the host's
// linker cache and alternatives: nothing of the host's accounts or settings.
var etcFiles = map[string]string{
	"passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n" +
		"build:x:1000:1000:build:/home/build:/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"group":         "root:x:0:\nbuild:x:1000:\nnogroup:x:65534:\n",
	"hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"hostname":      "slipway\n",
	"resolv.conf":   "# There is no name service here: the registry proxy resolves.\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	"shells":        "/bin/sh\n",
	"mtab":          "",
}

// buildRootfs makes the folder the sandbox's read-only root is made of. It
// holds mount points and a small /etc and belongs to the host's root (but see
// ownPathToHome), so that nothing inside can change it even without the
// read-only mount.
func (p *Provider) buildRootfs(r *record) error {
	root := p.home.rootfs(r.ID)
	for _, folder := range mountpoints {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return err
		}
	}
	for _, name := range systemFolders {
		if err := mirrorSystemFolder(root, name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "var"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("../tmp", filepath.Join(root, "var/tmp")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, ".slipway/guest"), nil, 0o644); err != nil {
		return err
	}
	if err := p.writeEtc(root); err != nil {
		return err
	}
	if err := ownPathToHome(root, r); err != nil {
		return err
	}
	if r.ModulesSnapshot != "" {
		if err := p.overlayFolders(r); err != nil {
			return err
		}
	}
	return makeReadable(root)
}

// writeEtc fills /etc below root, whose folder for certificates exists.
func (p *Provider) writeEtc(root string) error {
	for name, content := range etcFiles {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"ld.so.cache", "ssl/openssl.cnf", "localtime"} {
		if err := copyIfPresent(filepath.Join(root, "etc", name), filepath.Join("/etc", name)); err != nil {
			return err
		}
	}
	return p.writeCABundle(filepath.Join(root, caBundle))
}

// makeReadable gives everything below root the modes a system has, whatever
// this process's umask took away.
func makeReadable(root string) error {
	return filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		mode := fs.FileMode(0o644)
		switch {
		case name == filepath.Join(root, "tmp"):
			// The runtime gives a tmpfs the mode of the folder below it.
			mode = 0o777 | fs.ModeSticky
		case entry.IsDir():
			mode = 0o755
		}
		return os.Chmod(name, mode)
	})
}

// ownPathToHome gives the folders above the build user's home to root inside.
// The host's root has no name inside, and programs that check who could swap a
// folder below which they keep code refuse one of a stranger's (SWC does). Nobody
// but init is root inside, and the mount is read-only.
func ownPathToHome(root string, r *record) error {
	if rootless() {
		return nil // the host's user is root inside already
	}
	for _, folder := range []string{"", "home"} {
		if err := os.Lchown(filepath.Join(root, folder), int(r.UIDBase), int(r.UIDBase)); err != nil {
			return err
		}
	}
	return nil
}

// overlayFolders makes what the overlay's tmpfs starts with: the runtime
// copies the folder below it into a tmpfs that asks for it.
func (p *Provider) overlayFolders(r *record) error {
	for _, folder := range []string{".slipway/overlay/upper", ".slipway/overlay/work"} {
		folder = filepath.Join(p.home.rootfs(r.ID), folder)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		owner := identify(r).files
		if err := os.Lchown(folder, owner.UID, owner.GID); err != nil {
			return err
		}
	}
	return nil
}

func mirrorSystemFolder(root, name string) error {
	stat, err := os.Lstat("/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if stat.Mode()&fs.ModeSymlink == 0 {
		return os.MkdirAll(filepath.Join(root, name), 0o755)
	}
	target, err := os.Readlink("/" + name)
	if err != nil {
		return err
	}
	return os.Symlink(target, filepath.Join(root, name))
}

func copyIfPresent(to, from string) error {
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}

// systemBundles are where distributions keep their certificates.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
}

// extraCAFiles are certificates beyond the system's that this process uses
// itself: behind a proxy that inspects TLS nothing installs without them.
func (p *Provider) extraCAFiles() []string {
	files := append([]string{}, p.options.CAFiles...)
	for _, name := range []string{"NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "npm_config_cafile", "NPM_CONFIG_CAFILE"} {
		if file := os.Getenv(name); file != "" {
			files = append(files, file)
		}
	}
	return files
}

// writeCABundle writes the system's certificates and the extra ones, each
// once, and nothing of those files that is no certificate.
func (p *Provider) writeCABundle(to string) error {
	sources := p.extraCAFiles()
	for _, bundle := range systemBundles {
		if _, err := os.Stat(bundle); err == nil {
			sources = append(sources, bundle)
			break
		}
	}
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, source := range sources {
		if err := appendCertificates(&out, source, seen); err != nil {
			return fmt.Errorf("certificates of %s: %w", source, err)
		}
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}

func appendCertificates(out io.Writer, file string, seen map[string]bool) error {
	rest, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil
		}
		if block.Type != "CERTIFICATE" || seen[string(block.Bytes)] {
			continue
		}
		seen[string(block.Bytes)] = true
		if err := pem.Encode(out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return err
		}
	}
}
