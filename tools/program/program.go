// Package program builds the programs that modules of tools/ pin, for tests.
package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Build compiles packages of the module tools/<module> into the repository's bin
// folder and returns that folder. Go's build cache makes every build but the
// first a check of half a second; a lock keeps test binaries that run at once
// from building side by side. The working directory is in the repository, as
// it is under go test.
func Build(module string, packages ...string) (bin string, err error) {
	root, err := repositoryRoot(module)
	if err != nil {
		return "", err
	}
	bin = filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(bin, "."+module+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	args := append([]string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", bin + "/"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Join(root, "tools", module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build what tools/%s pins: %w\n%s", module, err, out)
	}
	return bin, nil
}

// repositoryRoot looks upwards from the working directory.
func repositoryRoot(module string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "tools", module, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no folder above the working directory has tools/%s", module)
		}
		dir = parent
	}
}
