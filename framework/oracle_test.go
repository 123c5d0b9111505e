package framework_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/toolchain"
)

// opinion is what @netlify/build-info makes of a folder.
type opinion struct {
	Frameworks []struct {
		ID, Command, Output string
	}
	PackageManager string
}

func (o opinion) framework() string {
	if len(o.Frameworks) == 0 {
		return ""
	}
	return o.Frameworks[0].ID
}

// oracleNames is our name for each of its frameworks that we have a rule for.
var oracleNames = map[string]string{
	"": "node-build", "angular": "angular", "astro": "astro", "create-react-app": "cra", "docusaurus": "docusaurus",
	"eleventy": "eleventy", "gatsby": "gatsby", "hono": "hono", "next": "next", "nuxt": "nuxt", "parcel": "parcel",
	"react-router": "react-router", "remix": "remix", "svelte-kit": "sveltekit",
	"tanstack-start": "tanstack-start", "vite": "vite", "vitepress": "vitepress", "vue": "vue-cli",
}

// outputDiffers lists the frameworks whose output folder we name otherwise.
var outputDiffers = map[string]string{
	"next":    "it serves .next from a server of its own; we serve the static export",
	"angular": "it leaves the project's name to the owner; we read it from angular.json",
}

func TestDetect_agreesWithAnotherOpinion(t *testing.T) {
	ask := oracle(t)

	var dirs []string
	for _, scaffold := range scaffolds {
		dirs = append(dirs, scaffoldDir(scaffold.name))
	}
	opinions := ask(dirs)
	for i, scaffold := range scaffolds {
		t.Run(scaffold.name, func(t *testing.T) {
			plan, err := framework.Detect(folder(dirs[i]))
			require.NoError(t, err)
			require.Equal(t, scaffold.oracle, opinions[i].framework(), "the other opinion changed")
			require.Equal(t, opinions[i].PackageManager, plan.PackageManager)
			same := oracleNames[scaffold.oracle] == plan.Framework || plan.Framework == "static" && scaffold.oracle == ""
			require.Equal(t, scaffold.differs == "", same, "a difference has a reason, and a reason a difference")
			if scaffold.oracle == "" || plan.OutputDirs == nil || outputDiffers[plan.Framework] != "" {
				return
			}
			require.Contains(t, plan.OutputDirs, strings.TrimSuffix(opinions[i].Frameworks[0].Output, "/"))
		})
	}
}

// variants are projects that are made up, for what scaffolds do not show.
var variants = []struct {
	name    string
	files   memory
	differs string
}{
	{"npm lockfile", memory{"package.json": viteManifest, "package-lock.json": `{"lockfileVersion":3}`}, ""},
	{"pnpm lockfile", memory{"package.json": viteManifest, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, ""},
	{"yarn lockfile", memory{"package.json": viteManifest, "yarn.lock": "# yarn lockfile v1\n"}, ""},
	{"bun lockfile", memory{"package.json": viteManifest, "bun.lock": `{"lockfileVersion":1}`}, ""},
	{"bun binary lockfile", memory{"package.json": viteManifest, "bun.lockb": "\x00"}, ""},
	{"shrinkwrap", memory{"package.json": viteManifest, "npm-shrinkwrap.json": `{"lockfileVersion":3}`}, ""},
	{"no lockfile", memory{"package.json": viteManifest}, ""},
	{"packageManager alone", memory{"package.json": `{"packageManager":"pnpm@9.0.0","devDependencies":{"vite":"8"}}`}, ""},
	{"packageManager between two", memory{"package.json": `{"packageManager":"pnpm@9.0.0","devDependencies":{"vite":"8"}}`, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "package-lock.json": `{}`}, ""},
	{"packageManager against the lockfile", memory{"package.json": `{"packageManager":"pnpm@9.0.0","devDependencies":{"vite":"8"}}`, "package-lock.json": `{"lockfileVersion":3}`},
		"package manager: it follows the field; we follow the lockfile, which can be installed exactly"},
	{"next with vite for its tests", memory{"package.json": `{"scripts":{"build":"next build"},"dependencies":{"next":"16","react":"19"},"devDependencies":{"vite":"8"}}`}, ""},
	{"vite with vitepress for its documentation", memory{"package.json": `{"scripts":{"build":"tsc && vite build"},"devDependencies":{"vite":"8","vitepress":"1"}}`},
		"framework: it takes the documentation; we take what the build script runs"},
	{"astro with vite", memory{"package.json": `{"scripts":{"build":"astro check && astro build"},"dependencies":{"astro":"7","vite":"8"}}`}, ""},
	{"sveltekit with vite", memory{"package.json": `{"scripts":{"build":"vite build"},"devDependencies":{"@sveltejs/kit":"2","vite":"8","svelte":"5"}}`}, ""},
	{"eleventy by its configuration", memory{"package.json": `{"scripts":{"build":"npm run site"}}`, ".eleventy.js": ""}, ""},
	{"react router as a library", memory{"package.json": `{"scripts":{"build":"vite build"},"dependencies":{"react-router":"7"},"devDependencies":{"vite":"8"}}`}, ""},
	{"express", memory{"package.json": `{"scripts":{"build":"tsc"},"dependencies":{"express":"5"}}`}, ""},
}

func TestDetect_agreesOnVariants(t *testing.T) {
	ask := oracle(t)

	var dirs []string
	for _, variant := range variants {
		dir := t.TempDir()
		for name, content := range variant.files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		}
		dirs = append(dirs, dir)
	}
	opinions := ask(dirs)
	for i, variant := range variants {
		t.Run(variant.name, func(t *testing.T) {
			plan, err := framework.Detect(variant.files)
			require.NoError(t, err)
			sameFramework := oracleNames[opinions[i].framework()] == plan.Framework
			sameManager := opinions[i].PackageManager == plan.PackageManager
			require.Equal(t, !strings.HasPrefix(variant.differs, "framework:"), sameFramework,
				"we say %s, it says %q", plan.Framework, opinions[i].framework())
			require.Equal(t, !strings.HasPrefix(variant.differs, "package manager:"), sameManager,
				"we say %s, it says %s", plan.PackageManager, opinions[i].PackageManager)
		})
	}
}

// oracle installs testdata/oracle once per lockfile, in the toolchain's folder,
// and returns how to ask it.
func oracle(t *testing.T) func(dirs []string) []opinion {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cache, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Install(ctx, cache, os.Stderr)
	require.NoError(t, err)
	env := append(os.Environ(), "PATH="+tools.Bin()+":/usr/bin:/bin")

	lock, err := os.ReadFile(filepath.Join("testdata", "oracle", "package-lock.json"))
	require.NoError(t, err)
	digest := sha256.Sum256(lock)
	home := filepath.Join(cache, "framework-oracle-"+hex.EncodeToString(digest[:8]))
	if _, err := os.Stat(home); err != nil {
		work, err := os.MkdirTemp(cache, ".framework-oracle-")
		require.NoError(t, err)
		defer os.RemoveAll(work)
		require.NoError(t, os.CopyFS(work, os.DirFS(filepath.Join("testdata", "oracle"))))
		install := exec.CommandContext(ctx, tools.Tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		install.Dir, install.Env = work, env
		out, err := install.CombinedOutput()
		require.NoErrorf(t, err, "npm ci: %s", out)
		if err := os.Rename(work, home); err != nil {
			require.DirExists(t, home, "another test run may have been first: %v", err)
		}
	}
	// The script is run from the cache, where its packages are, as it is now.
	script, err := os.ReadFile(filepath.Join("testdata", "oracle", "detect.mjs"))
	require.NoError(t, err)

	return func(dirs []string) []opinion {
		args := []string{"--input-type=module", "-"}
		for _, dir := range dirs {
			absolute, err := filepath.Abs(dir)
			require.NoError(t, err)
			args = append(args, absolute)
		}
		cmd := exec.CommandContext(ctx, tools.Tool("node"), args...)
		cmd.Dir, cmd.Env, cmd.Stdin = home, env, bytes.NewReader(script)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoErrorf(t, err, "ask the oracle: %s", stderr.String())
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		require.Len(t, lines, len(dirs))
		opinions := make([]opinion, len(lines))
		for i, line := range lines {
			require.NoError(t, json.Unmarshal([]byte(line), &opinions[i]))
		}
		return opinions
	}
}
