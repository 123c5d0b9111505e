// Package toolchain is what builds run with and what serves workers: Node, npm,
// pnpm, Yarn, Bun and workerd, pinned by package-lock.json and installed from
// the package registry into a folder of ours. Builds never use the host's Node.
//
// An installed toolchain is a folder that is complete in itself and never
// changes: it is mounted read-only into sandboxes, and its bin/ goes first on
// the PATH there. The host's npm is needed once, to fetch it.
package toolchain

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// MountPath is where sandboxes see the toolchain.
const MountPath = "/opt/toolchain"

//go:embed package.json package-lock.json bin
var pinned embed.FS

// Toolchain is an installed toolchain.
type Toolchain struct {
	// Dir is the folder to mount at MountPath, absolute.
	Dir string
	// Version is what Version returned when it was installed.
	Version string
}

// Bin is the folder to put first on a PATH of this machine.
func (t Toolchain) Bin() string { return filepath.Join(t.Dir, "bin") }

// Tool is the path of one program: node, npm, npx, pnpm, pnpx, yarn, bun, bunx, workerd.
func (t Toolchain) Tool(name string) string { return filepath.Join(t.Dir, "bin", name) }

// DefaultDir is where the toolchain goes when nobody says otherwise:
// SLIPWAY_TOOLCHAIN_DIR, else a folder in the user's cache, shared by every data
// folder and test run of that user.
func DefaultDir() (string, error) {
	if dir := os.Getenv("SLIPWAY_TOOLCHAIN_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("choose a folder for the toolchain (set SLIPWAY_TOOLCHAIN_DIR): %w", err)
	}
	return filepath.Join(cache, "slipway", "toolchain"), nil
}

// Version is a digest (32 hexadecimal digits) over everything that decides how
// the toolchain behaves: the lockfile, the wrappers and the machine's
// architecture. Caches of installs and builds carry it in their keys.
func Version() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s/%s\n", runtime.GOOS, runtime.GOARCH)
	// An embedded tree cannot fail to be read, and is walked in a fixed order.
	_ = fs.WalkDir(pinned, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := pinned.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", path, len(content))
		_, err = sum.Write(content)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Locate finds this version of the toolchain below dir, where Install put it.
// The error is fs.ErrNotExist when it is not there; an install that did not
// finish is not there.
func Locate(dir string) (Toolchain, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Toolchain{}, fmt.Errorf("locate the toolchain: %w", err)
	}
	found := Toolchain{Dir: filepath.Join(dir, Version()), Version: Version()}
	if _, err := os.Stat(found.Tool("node")); err != nil {
		return Toolchain{}, fmt.Errorf("the toolchain %s is not installed in %s: %w", Version(), dir, err)
	}
	return found, nil
}

// pinnedVersions reads which version of each package package.json names.
func pinnedVersions() (map[string]string, error) {
	content, err := pinned.ReadFile("package.json")
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Dependencies         map[string]string `json:"dependencies"`
		OptionalDependencies map[string]string `json:"optionalDependencies"`
	}
	if err := json.Unmarshal(content, &manifest); err != nil {
		return nil, fmt.Errorf("read the toolchain's package.json: %w", err)
	}
	versions := manifest.Dependencies
	for name, version := range manifest.OptionalDependencies {
		versions[name] = version
	}
	return versions, nil
}
