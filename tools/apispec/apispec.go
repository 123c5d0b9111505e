// Package apispec holds OpenAPI documents to what their readers do with them, for
// tests: a linter's rules, TypeScript types, and a client made of those.
//
// The programs are pinned by package-lock.json and run by the machine's Node.
package apispec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoNode says that the machine has no Node or npm to run the checks with.
var ErrNoNode = errors.New("node and npm are not on the PATH: apt-get install nodejs npm")

// Checked is a document that passed. Its folder is the caller's.
type Checked struct {
	dir string
}

// Check holds the document to the rules of redocly.yaml and makes the TypeScript types
// of it, in dir, which has to be empty. The error names every problem in a line of its own.
func Check(ctx context.Context, document []byte, dir string) (Checked, error) {
	if err := install(ctx); err != nil {
		return Checked{}, err
	}
	file := filepath.Join(dir, "openapi.json")
	if err := os.WriteFile(file, document, 0o644); err != nil {
		return Checked{}, err
	}
	if err := os.Symlink(filepath.Join(source(), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		return Checked{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o644); err != nil {
		return Checked{}, err
	}
	if _, err := run(ctx, dir, "node", filepath.Join(source(), "check.mjs"), file, filepath.Join(dir, "types.ts")); err != nil {
		return Checked{}, fmt.Errorf("the document breaks rules: %w", err)
	}
	return Checked{dir}, nil
}

// Run compiles a program of this folder, such as client.ts, with the document's types
// beside it, runs it with the arguments, and returns what it wrote.
func (c Checked) Run(ctx context.Context, program string, args ...string) (string, error) {
	for _, name := range []string{program, "tsconfig.json"} {
		content, err := os.ReadFile(filepath.Join(source(), name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o644); err != nil {
			return "", err
		}
	}
	if out, err := run(ctx, c.dir, "node", "node_modules/typescript/bin/tsc", "--project", "."); err != nil {
		return out, fmt.Errorf("%s does not compile: %w", program, err)
	}
	return run(ctx, c.dir, "node", append([]string{strings.TrimSuffix(program, ".ts") + ".js"}, args...)...)
}

// install fetches what the lockfile names, unless it is there. A lock keeps test
// binaries that run at once from doing it side by side.
func install(ctx context.Context) error {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return ErrNoNode
		}
	}
	want, err := os.ReadFile(filepath.Join(source(), "package-lock.json"))
	if err != nil {
		return err
	}
	// Not in node_modules, which npm ci removes.
	bin := filepath.Join(source(), "..", "..", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(bin, ".apispec.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	stamp := filepath.Join(source(), "node_modules", ".slipway-lock")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, want) {
		return nil
	}
	if _, err := run(ctx, source(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		return err
	}
	return os.WriteFile(stamp, want, 0o644)
}

func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

// source is this folder.
func source() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}
