package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/toolchain"
)

// miniflareScript serves worker.js at the port it is given, and asks nobody where
// on earth it is.
const miniflareScript = `import { Miniflare } from "miniflare";
const miniflare = new Miniflare({
	modules: true, scriptPath: "worker.js", compatibilityDate: "2026-07-01", host: "127.0.0.1", port: Number(process.argv[2]), cf: false,
});
process.on("SIGTERM", () => miniflare.dispose().finally(() => process.exit()));
await miniflare.ready;
`

// startMiniflare runs the script under miniflare, whose version tools/miniflare
// pins together with the workerd it comes with.
func startMiniflare(ctx context.Context, b *bench) (*server, error) {
	dir, err := toolchain.DefaultDir()
	if err != nil {
		return nil, err
	}
	tools, err := toolchain.Install(ctx, dir, os.Stderr)
	if err != nil {
		return nil, err
	}
	home := filepath.Join(b.dir, "miniflare")
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(b.root, "tools", "miniflare", name))
		if err != nil {
			return nil, err
		}
		if _, err := writeConfig(home, name, string(text)); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"serve.mjs": miniflareScript, "worker.js": workerScript} {
		if _, err := writeConfig(home, name, text); err != nil {
			return nil, err
		}
	}
	environment := append(os.Environ(), "PATH="+tools.Bin()+":/usr/bin:/bin")
	install := exec.CommandContext(ctx, tools.Tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir, install.Env = home, environment
	if said, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm ci in tools/miniflare: %w\n%s", err, said)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return startServer(ctx, peerMiniflare, addr, addr, child.Options{
		Path: tools.Tool("node"), Args: []string{"serve.mjs", port}, Dir: home, Env: environment,
	})
}
