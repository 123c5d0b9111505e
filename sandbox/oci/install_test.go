package oci

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/config"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/toolchain"
)

// newToolchainProvider has the pinned toolchain in its sandboxes. Without one
// on this machine the test is skipped, except in CI, which installs it.
func newToolchainProvider(t testing.TB) *Provider {
	t.Helper()
	return withToolchain(t, newProvider(t))
}

func withToolchain(t testing.TB, p *Provider) *Provider {
	t.Helper()
	dir, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Locate(dir)
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("the toolchain is not installed; ./task dev installs it")
	}
	if err != nil {
		tools, err = toolchain.Install(t.Context(), dir, os.Stderr)
		require.NoError(t, err)
	}
	p.options.ToolchainDir = tools.Dir
	return p
}

// An install through the proxy, and the way to the same registry without it.
func TestInstall_reachesTheRegistryThroughTheProxyOnly(t *testing.T) {
	requireInstalls(t, newToolchainProvider(t))
}

func requireInstalls(t *testing.T, p *Provider) {
	t.Helper()
	spec := testSpec("registry")
	spec.Limits = sandbox.Limits{MemoryBytes: 2 << 30, CPUs: 2, PIDs: 512, DiskBytes: 512 << 20}
	settings, err := config.Parse(nil)
	require.NoError(t, err)
	spec.AllowHosts = settings.Sandbox.Registries
	s := newSandbox(t, p, spec)
	require.NoError(t, s.Upload(t.Context(), textFiles(map[string]string{
		"package.json": `{"name":"x","version":"1.0.0","dependencies":{"is-number":"7.0.0"}}`,
	})))
	for _, tool := range []string{"npm", "pnpm", "yarn", "bun"} {
		t.Run(tool, func(t *testing.T) {
			var out bytes.Buffer
			result, err := s.Exec(t.Context(), sandbox.Command{
				Args:   []string{"sh", "-c", "rm -rf node_modules *lock* && " + tool + " install && node -e 'console.log(require(\"is-number\")(7))'"},
				Stdout: &out, Stderr: &out, Timeout: 3 * time.Minute,
			})
			require.NoError(t, err)
			require.Zero(t, result.ExitCode, out.String())
			require.Contains(t, out.String(), "true")
		})
	}
	direct := sh(t, s, `unset HTTPS_PROXY https_proxy npm_config_https_proxy npm_config_proxy HTTP_PROXY http_proxy
		npm view is-number --cache=/tmp/empty --fetch-retries=0 --fetch-timeout=3000`)
	require.NotZero(t, direct.ExitCode, direct.Output)
	for target, answer := range map[string]string{
		"registry.npmjs.org:443": "200", "registry.npmjs.com:443": "403", "registry.npmjs.org:80": "403",
		"127.0.0.1:5432": "403", "169.254.169.254:80": "403",
	} {
		got := sh(t, s, `node -e '
			require("http").request({host: "127.0.0.1", port: 3128, method: "CONNECT", path: process.argv[1]})
				.on("connect", (answer, socket) => { console.log(answer.statusCode); socket.destroy() }).end()' `+target)
		require.Equal(t, answer+"\n", got.Output, target)
	}
	socket := sh(t, s, `test -S /.slipway/egress/proxy && node -e '
		require("net").connect("/.slipway/egress/proxy").on("connect", () => process.exit(1)).on("error", () => process.exit(0))'`)
	require.Zero(t, socket.ExitCode, "a build reaches the proxy through process 1 only: "+socket.Output)

	dest := filepath.Join(t.TempDir(), "snapshot")
	require.NoError(t, publish(t, s, dest))
	spec.ID, spec.ModulesSnapshot, spec.AllowHosts = "offline", dest, nil
	offline := newSandbox(t, p, spec)
	got := sh(t, offline, `node -e 'console.log(require("is-number")(7))'`)
	require.Equal(t, "true\n", got.Output)
}
