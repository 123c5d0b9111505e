package temporal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// BinaryName is what the program built from devserver/ is called.
const BinaryName = "slipway-devserver"

// Build compiles the program in the source tree at root into root/bin and
// returns its path. Callers in other processes wait for each other; when
// nothing has changed it costs a fraction of a second, the very first time some minutes.
func Build(ctx context.Context, root string) (string, error) {
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", fmt.Errorf("build the embedded Temporal server: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(bin, BinaryName+".lock"))
	if err != nil {
		return "", fmt.Errorf("build the embedded Temporal server: %w", err)
	}
	defer unlock()
	target := filepath.Join(bin, BinaryName)
	// The go command replaces the file, it never writes into one that is
	// running; and it leaves one alone that is up to date.
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", target, ".")
	build.Dir = filepath.Join(root, "devserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the embedded Temporal server: %w\n%s", err, out)
	}
	return target, nil
}

// FindBinary looks for the program beside the running one and on the PATH.
func FindBinary() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), BinaryName)
		if stat, err := os.Stat(beside); err == nil && stat.Mode().IsRegular() {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(BinaryName); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is neither beside this program nor on the PATH: build it with `./task build`, "+
		"or set TEMPORAL_ADDRESS to a Temporal server of your own", BinaryName)
}

func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
