package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/slipwayhq/slipway/examples"
	"github.com/slipwayhq/slipway/toolchain"
)

// bareBuild builds the example as a person would: npm ci && npm run build, in a
// folder, without a sandbox. It uses the toolchain builds use and, as they do,
// an empty npm cache and home.
type bareBuild struct {
	dir   string
	tools toolchain.Toolchain
}

// bareTimes are in seconds.
type bareTimes struct{ install, build float64 }

func (t bareTimes) total() float64 { return t.install + t.build }

func newBareBuild(ctx context.Context, dir string) (*bareBuild, error) {
	where, err := toolchain.DefaultDir()
	if err != nil {
		return nil, err
	}
	tools, err := toolchain.Install(ctx, where, os.Stderr)
	return &bareBuild{dir: dir, tools: tools}, err
}

// run builds once in a new folder.
func (b *bareBuild) run(ctx context.Context) (took bareTimes, err error) {
	dir, err := os.MkdirTemp(b.dir, "bare-")
	if err != nil {
		return took, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	project, home := filepath.Join(dir, "project"), filepath.Join(dir, "home")
	if err := os.CopyFS(project, examples.ViteReact()); err != nil {
		return took, err
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		return took, err
	}
	timed := func(args ...string) (float64, error) {
		began := time.Now()
		cmd := exec.CommandContext(ctx, b.tools.Tool("npm"), args...)
		cmd.Dir = project
		// Certificates and proxies of this machine stay; later settings win.
		cmd.Env = append(os.Environ(), "PATH="+b.tools.Bin()+":/usr/bin:/bin", "HOME="+home, "npm_config_cache="+filepath.Join(home, "npm"), "CI=true")
		if said, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("bare npm %v: %w\n%s", args, err, said)
		}
		return time.Since(began).Seconds(), nil
	}
	// The flags a deployment uses too: without them npm asks the registry more.
	if took.install, err = timed("ci", "--include=dev", "--no-audit", "--no-fund"); err != nil {
		return took, err
	}
	if took.build, err = timed("run", "build"); err != nil {
		return took, err
	}
	if _, err := os.Stat(filepath.Join(project, "dist", "index.html")); err != nil {
		return took, fmt.Errorf("the bare build made no page: %w", err)
	}
	return took, nil
}
