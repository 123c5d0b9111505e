package pebbletest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// toolModule pins the servers apart from our own dependencies.
const toolModule = "tools/pebble"

// build is done once in a test binary: even finding that there is nothing to do
// takes Go half a second.
var build = sync.OnceValues(compile)

// compile makes the servers in the repository's bin folder and returns it.
// The lock keeps test binaries that run at once from building side by side.
func compile() (string, error) {
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(bin, ".pebble.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	const pebble = "github.com/letsencrypt/pebble/v2/cmd/"
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", bin+"/", pebble+"pebble", pebble+"pebble-challtestsrv")
	cmd.Dir = filepath.Join(root, toolModule)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the ACME test server in %s: %w\n%s", cmd.Dir, err, out)
	}
	return bin, nil
}

// repositoryRoot looks upwards from the working directory, which go test sets to
// the folder of the tested package.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, toolModule, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no folder above the working directory has %s", toolModule)
		}
		dir = parent
	}
}
