package framework_test

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
)

// memory is a project as a map from path to content.
type memory map[string]string

func (m memory) Has(name string) bool { _, ok := m[name]; return ok }

func (m memory) Read(name string) ([]byte, error) {
	content, ok := m[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(content), nil
}

func detect(t *testing.T, files memory) framework.Plan {
	t.Helper()
	plan, err := framework.Detect(files)
	require.NoError(t, err)
	return plan
}

func refusal(t *testing.T, files memory) string {
	t.Helper()
	_, err := framework.Detect(files)
	require.Error(t, err)
	require.Equal(t, models.CodeValidation, models.CodeOf(err))
	return models.MessageOf(err)
}

const viteManifest = `{"scripts":{"build":"vite build"},"devDependencies":{"vite":"8.0.0"}}`

func TestDetect_packageManagerFollowsTheLockfile(t *testing.T) {
	cases := []struct {
		name, lockfile, content string
		manager, version        string
		install, build          string
		frozen                  bool
	}{
		{"npm", "package-lock.json", `{"lockfileVersion":3}`, "npm", "3", "npm ci --include=dev --no-audit --no-fund", "npm run build", true},
		{"npm shrinkwrap", "npm-shrinkwrap.json", `{"lockfileVersion":2}`, "npm", "2", "npm ci --include=dev --no-audit --no-fund", "npm run build", true},
		{"pnpm 9", "pnpm-lock.yaml", "lockfileVersion: '9.0'\n", "pnpm", "9.0", "pnpm install --frozen-lockfile --prod=false", "pnpm run build", true},
		{"pnpm 8", "pnpm-lock.yaml", "lockfileVersion: '6.0'\n", "pnpm", "6.0", "pnpm install --no-frozen-lockfile --prod=false", "pnpm run build", false},
		{"pnpm 7", "pnpm-lock.yaml", "lockfileVersion: 5.4\n", "pnpm", "5.4", "pnpm install --no-frozen-lockfile --prod=false", "pnpm run build", false},
		{"yarn classic", "yarn.lock", "# yarn lockfile v1\n", "yarn", "1", "yarn install --non-interactive --production=false --frozen-lockfile", "yarn run build", true},
		{"yarn 4", "yarn.lock", "__metadata:\n  version: 8\n", "yarn", "8", "yarn install --immutable", "yarn run build", true},
		{"yarn 3", "yarn.lock", "__metadata:\n  version: 6\n", "yarn", "6", "yarn install --no-immutable", "yarn run build", false},
		{"bun text", "bun.lock", `{"lockfileVersion": 1,`, "bun", "1", "bun install --frozen-lockfile", "bun run build", true},
		{"bun binary", "bun.lockb", "\x00", "bun", "", "bun install --frozen-lockfile", "bun run build", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			plan := detect(t, memory{"package.json": viteManifest, c.lockfile: c.content})
			require.Equal(t, c.manager, plan.PackageManager)
			require.Equal(t, c.lockfile, plan.Lockfile)
			require.Equal(t, c.version, plan.LockfileVersion)
			require.Equal(t, c.install, strings.Join(plan.Install, " "))
			require.Equal(t, c.build, strings.Join(plan.Build, " "))
			require.Equal(t, c.frozen, plan.Frozen)
			require.Equal(t, c.frozen, len(plan.Notes) == 0, "what is not frozen is said: %q", plan.Notes)
		})
	}
}

func TestDetect_yarnGenerationReachesTheToolchain(t *testing.T) {
	berry := detect(t, memory{"package.json": viteManifest, "yarn.lock": "__metadata:\n  version: 8\n"})
	require.Equal(t, "berry", berry.Env["SLIPWAY_YARN"])
	classic := detect(t, memory{"package.json": viteManifest, "yarn.lock": "# yarn lockfile v1\n"})
	require.NotContains(t, classic.Env, "SLIPWAY_YARN")
	named := detect(t, memory{"package.json": `{"packageManager":"yarn@4.5.0","dependencies":{"vite":"1"}}`})
	require.Equal(t, "berry", named.Env["SLIPWAY_YARN"])
}

func TestDetect_withoutLockfileInstallsAndSaysSo(t *testing.T) {
	plan := detect(t, memory{"package.json": viteManifest})
	require.Equal(t, "npm install --include=dev --no-audit --no-fund", strings.Join(plan.Install, " "))
	require.False(t, plan.Frozen)
	require.Len(t, plan.Notes, 1)
	require.Contains(t, plan.Notes[0], "no lockfile")
}

func TestDetect_withoutDependenciesInstallsNothing(t *testing.T) {
	plan := detect(t, memory{"package.json": `{"scripts":{"build":"node build.js"}}`})
	require.Nil(t, plan.Install)
	require.Equal(t, []string{"npm", "run", "build"}, plan.Build)
	require.True(t, plan.NeedsSandbox())
}

func TestDetect_packageManagerFieldDecidesBetweenLockfiles(t *testing.T) {
	manifest := `{"packageManager":"pnpm@9.1.0","devDependencies":{"vite":"8"}}`
	both := memory{"package.json": manifest, "package-lock.json": `{"lockfileVersion":3}`, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}
	plan := detect(t, both)
	require.Equal(t, "pnpm", plan.PackageManager)
	require.Equal(t, "pnpm-lock.yaml", plan.Lockfile)

	plan = detect(t, memory{"package.json": manifest})
	require.Equal(t, "pnpm", plan.PackageManager, "it decides when there is no lockfile")

	plan = detect(t, memory{"package.json": manifest, "package-lock.json": `{"lockfileVersion":3}`})
	require.Equal(t, "npm", plan.PackageManager, "a lockfile of another is what can be gone by")
	require.NotEmpty(t, plan.Notes)
}

func TestDetect_buildScriptDecidesBetweenFrameworks(t *testing.T) {
	manifest := `{"scripts":{"build":"tsc && vite build"},"devDependencies":{"vite":"8","vitepress":"1","@11ty/eleventy":"3"}}`
	require.Equal(t, "vite", detect(t, memory{"package.json": manifest}).Framework)
	manifest = `{"scripts":{"build":"vite build"},"devDependencies":{"vite":"8","@sveltejs/kit":"2"}}`
	require.Equal(t, "sveltekit", detect(t, memory{"package.json": manifest}).Framework)
}

func TestDetect_withoutBuildScriptRunsTheFrameworkItself(t *testing.T) {
	for lockfile, want := range map[string]string{
		"package-lock.json": "npm exec --no -- vite build",
		"pnpm-lock.yaml":    "pnpm exec vite build",
		"yarn.lock":         "yarn run vite build",
		"bun.lockb":         "bun x --no-install vite build",
	} {
		plan := detect(t, memory{"package.json": `{"devDependencies":{"vite":"8"}}`, lockfile: "{}"})
		require.Equal(t, want, strings.Join(plan.Build, " "))
	}
}

func TestDetect_nuxtRendersOnAServerUnlessItsBuildGenerates(t *testing.T) {
	server := detect(t, memory{"package.json": `{"scripts":{"build":"nuxt build","generate":"nuxt generate"},"dependencies":{"nuxt":"4"}}`})
	require.Equal(t, "npm run build", strings.Join(server.Build, " "))
	require.Equal(t, "cloudflare_module", server.Env["NITRO_PRESET"])
	require.Equal(t, &framework.WorkerPlan{
		Outputs: []framework.WorkerOutput{{Main: ".output/server/index.mjs", Assets: ".output/public"}}, Required: true,
	}, server.Worker)
	bare := detect(t, memory{"package.json": `{"dependencies":{"nuxt":"4"}}`})
	require.Equal(t, "npm exec --no -- nuxt build", strings.Join(bare.Build, " "))

	for name, files := range map[string]memory{
		"script":        {"package.json": `{"scripts":{"build":"nuxi generate"},"dependencies":{"nuxt":"4"}}`},
		"only generate": {"package.json": `{"scripts":{"generate":"nuxt generate"},"dependencies":{"nuxt":"4"}}`},
		"prerender":     {"package.json": `{"scripts":{"build":"nuxt build --prerender"},"dependencies":{"nuxt":"4"}}`},
		"preset":        {"package.json": `{"scripts":{"build":"nuxt build"},"dependencies":{"nuxt":"4"}}`, "nuxt.config.ts": "export default defineNuxtConfig({ nitro: { preset: 'github_pages' } })"},
		"command":       {"package.json": `{"scripts":{"build":"nuxt build"},"dependencies":{"nuxt":"4"}}`, "slipway.json": `{"buildCommand":"npx nuxt generate"}`},
		"output":        {"package.json": `{"scripts":{"build":"nuxt generate"},"dependencies":{"nuxt":"4"}}`, "slipway.json": `{"outputDirectory":".output/public"}`},
	} {
		plan := detect(t, files)
		require.Nil(t, plan.Worker, name)
		require.NotContains(t, plan.Env, "NITRO_PRESET", name)
	}
}

func TestDetect_angularOutputComesFromItsWorkspace(t *testing.T) {
	manifest := `{"scripts":{"build":"ng build"},"devDependencies":{"@angular/cli":"22"}}`
	for workspace, want := range map[string][]string{
		`{"projects":{"shop":{"projectType":"application","architect":{"build":{"builder":"@angular/build:application","options":{}}}}}}`: {"dist/shop/browser", "dist/shop"},
		`{"projects":{"shop":{"architect":{"build":{"options":{"outputPath":"www"}}}}}}`:                                                  {"www/browser", "www"},
		`{"projects":{"shop":{"architect":{"build":{"options":{"outputPath":{"base":"www","browser":""}}}}}}}`:                            {"www"},
		`{"projects":{"lib":{"projectType":"library"},"shop":{"projectType":"application"}}}`:                                             {"dist/shop/browser", "dist/shop"},
		`{"defaultProject":"two","projects":{"one":{"projectType":"application"},"two":{"projectType":"application"}}}`:                   {"dist/two/browser", "dist/two"},
	} {
		plan := detect(t, memory{"package.json": manifest, "angular.json": workspace})
		require.Equal(t, want, plan.OutputDirs, workspace)
	}
	hostile := `{"projects":{"shop":{"architect":{"build":{"options":{"outputPath":"../../etc"}}}}}}`
	require.Contains(t, refusal(t, memory{"package.json": manifest, "angular.json": hostile}), "outputPath")
	hostile = `{"projects":{"shop":{"architect":{"build":{"options":{"outputPath":{"base":"dist","browser":"../../.."}}}}}}}`
	require.Contains(t, refusal(t, memory{"package.json": manifest, "angular.json": hostile}), "leaves")
}

func TestDetect_svelteKitFallbackMakesItASinglePage(t *testing.T) {
	manifest := `{"scripts":{"build":"vite build"},"devDependencies":{"@sveltejs/kit":"2"}}`
	require.Equal(t, framework.NotFoundPage, detect(t, memory{"package.json": manifest}).NotFoundHandling)
	config := "export default { kit: { adapter: adapter({ fallback: 'index.html' }) } };"
	require.Equal(t, framework.NotFoundSPA, detect(t, memory{"package.json": manifest, "svelte.config.js": config}).NotFoundHandling)
}

func TestDetect_vitePressOutputIsBelowItsFolder(t *testing.T) {
	plan := detect(t, memory{"package.json": `{"scripts":{"docs:build":"vitepress build website"},"devDependencies":{"vitepress":"1"}}`})
	require.Equal(t, []string{"npm", "run", "docs:build"}, plan.Build)
	require.Equal(t, "website/.vitepress/dist", plan.OutputDirs[0])
	plan = detect(t, memory{"package.json": `{"devDependencies":{"vitepress":"1"}}`, "docs/index.md": "# hello"})
	require.Equal(t, "npm exec --no -- vitepress build docs", strings.Join(plan.Build, " "))
}

func TestDetect_staticFilesNeedNoSandbox(t *testing.T) {
	for index, dir := range map[string]string{"index.html": ".", "public/index.html": "public", "dist/index.html": "dist"} {
		plan := detect(t, memory{index: "<!doctype html>"})
		require.Equal(t, "static", plan.Framework)
		require.Equal(t, []string{dir}, plan.OutputDirs)
		require.False(t, plan.NeedsSandbox())
		require.Equal(t, framework.NotFoundPage, plan.NotFoundHandling)
	}
	withManifest := detect(t, memory{"index.html": "", "package.json": `{"name":"notes","dependencies":{"lodash":"4"}}`})
	require.False(t, withManifest.NeedsSandbox(), "a package.json that builds nothing changes nothing")
}

func TestDetect_buildInPlaceServesTheRoot(t *testing.T) {
	plan := detect(t, memory{"index.html": "", "package.json": `{"scripts":{"build":"tailwindcss -o style.css"},"devDependencies":{"tailwindcss":"4"}}`})
	require.Equal(t, "node-build", plan.Framework)
	require.Equal(t, ".", plan.OutputDirs[len(plan.OutputDirs)-1])
}

func TestDetect_saysWhatIsMissing(t *testing.T) {
	require.Contains(t, refusal(t, memory{"README.md": ""}), "no package.json, no index.html")
	require.Contains(t, refusal(t, memory{"package.json": `{"name":"x"}`}), "no build script")
	require.Contains(t, refusal(t, memory{"package.json": `{"name":`}), "package.json is not a valid JSON object")
	require.Contains(t, refusal(t, memory{"package.json": viteManifest, "package-lock.json": "{"}), "package-lock.json is not valid JSON")
	conflict := "lockfileVersion: '9.0'\n<<<<<<< HEAD\n"
	require.Contains(t, refusal(t, memory{"package.json": viteManifest, "pnpm-lock.yaml": conflict}), "merge conflicts")
}

func TestDetect_readsForgivinglyWhatPackageManagersRead(t *testing.T) {
	plan := detect(t, memory{"package.json": "\xef\xbb\xbf" + viteManifest})
	require.Equal(t, "vite", plan.Framework, "a byte order mark is skipped")
	plan = detect(t, memory{"package.json": `{"scripts":{"build":"vite build","broken":7},"dependencies":[],"devDependencies":{"vite":"8"},"packageManager":12}`})
	require.Equal(t, "vite", plan.Framework)
}

func TestDetect_passesOnWhatTheStoreSays(t *testing.T) {
	broken := errors.New("storage is away")
	_, err := framework.Detect(failing{memory{"package.json": ""}, broken})
	require.ErrorIs(t, err, broken)
}

type failing struct {
	memory
	err error
}

func (f failing) Read(string) ([]byte, error) { return nil, f.err }

func TestDetect_lockfileOfTheFolderAboveIsInstalledThere(t *testing.T) {
	plan := detect(t, memory{
		"slipway.json":          `{"rootDirectory":"apps/web"}`,
		"package.json":          `{"workspaces":["apps/*"]}`,
		"pnpm-lock.yaml":        "lockfileVersion: '9.0'\n",
		"apps/web/package.json": viteManifest,
	})
	require.Equal(t, "apps/web", plan.Root)
	require.Equal(t, ".", plan.InstallDir)
	require.Equal(t, "pnpm-lock.yaml", plan.Lockfile)
	require.True(t, plan.Workspace)
	found, err := framework.FindOutput(plan, func(dir string) bool { return dir == "apps/web/dist" })
	require.NoError(t, err)
	require.Equal(t, "apps/web/dist", found)
}

func TestDetect_commonEnvironmentAndItsExceptions(t *testing.T) {
	require.Equal(t, "true", detect(t, memory{"package.json": viteManifest}).Env["CI"])
	cra := detect(t, memory{"package.json": `{"scripts":{"build":"react-scripts build"},"dependencies":{"react-scripts":"5.0.1"}}`})
	require.Equal(t, "cra", cra.Framework)
	require.Equal(t, "false", cra.Env["CI"], "lint warnings do not fail the build")
	require.Equal(t, "1", cra.Env["DO_NOT_TRACK"])
}

func TestDetect_installIsReusableOnlyWhenItsInputsAreKnown(t *testing.T) {
	lock := `{"lockfileVersion":3}`
	plan := detect(t, memory{"package.json": viteManifest, "package-lock.json": lock, ".npmrc": ""})
	require.True(t, plan.Reusable)
	require.Equal(t, []string{"package-lock.json", "package.json", ".npmrc"}, plan.InstallInputs)
	require.Empty(t, plan.InstallScripts)

	plan = detect(t, memory{"package.json": `{"scripts":{"postinstall":"nuxt prepare","generate":"nuxt generate"},"dependencies":{"nuxt":"4"}}`, "package-lock.json": lock})
	require.True(t, plan.Reusable)
	require.Equal(t, [][]string{{"npm", "run", "postinstall"}}, plan.InstallScripts)

	for name, files := range map[string]memory{
		"no lockfile":    {"package.json": viteManifest},
		"a folder":       {"package.json": `{"dependencies":{"vite":"8","mine":"file:../mine"}}`, "package-lock.json": lock},
		"workspaces":     {"package.json": `{"workspaces":["a"],"dependencies":{"vite":"8"}}`, "package-lock.json": lock},
		"patch-package":  {"package.json": `{"scripts":{"postinstall":"patch-package"},"dependencies":{"vite":"8"}}`, "package-lock.json": lock},
		"patches":        {"package.json": `{"pnpm":{"patchedDependencies":{}},"dependencies":{"vite":"8"}}`, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"},
		"pnpmfile":       {"package.json": viteManifest, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n", ".pnpmfile.cjs": ""},
		"plugins":        {"package.json": viteManifest, "yarn.lock": "__metadata:\n  version: 8\n", ".yarnrc.yml": "plugins:\n  - x\n"},
		"own command":    {"package.json": viteManifest, "package-lock.json": lock, "slipway.json": `{"installCommand":"npm ci"}`},
		"older lockfile": {"package.json": viteManifest, "pnpm-lock.yaml": "lockfileVersion: '6.0'\n"},
	} {
		require.False(t, detect(t, files).Reusable, name)
	}
}

func TestFindOutput_refusesServerPrograms(t *testing.T) {
	plan := detect(t, memory{"package.json": `{"scripts":{"build":"astro build"},"dependencies":{"astro":"7"}}`})
	has := map[string]bool{"dist": true}
	exists := func(dir string) bool { return has[path.Clean(dir)] }
	found, err := framework.FindOutput(plan, exists)
	require.NoError(t, err)
	require.Equal(t, "dist", found)
	has["dist/server"] = true
	_, err = framework.FindOutput(plan, exists)
	require.NoError(t, err, "a page named server is just a page")
	has["dist/server/chunks"] = true
	_, err = framework.FindOutput(plan, exists)
	require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
	require.Contains(t, models.MessageOf(err), "@astrojs/cloudflare")
}

func TestFindOutput_nextWithoutExportSaysSo(t *testing.T) {
	plan := detect(t, memory{"package.json": `{"scripts":{"build":"next build"},"dependencies":{"next":"16"}}`})
	_, err := framework.FindOutput(plan, func(dir string) bool { return dir == ".next" })
	require.Contains(t, models.MessageOf(err), `output: "export"`)
	require.Contains(t, models.MessageOf(err), "@opennextjs/cloudflare")
}

func TestPublished_leavesOutWhatIsNotTheSite(t *testing.T) {
	plan := detect(t, memory{"index.html": ""})
	for name, want := range map[string]bool{
		"index.html": true, "css/site.css": true, ".well-known/security.txt": true, "data/package.json": true,
		"slipway.json": false, "package.json": false, ".env": false, ".git/config": false, ".slipway/history.json": false,
		"node_modules/a/index.js": false, "docs/.env.local": false, "package-lock.json": false,
	} {
		require.Equal(t, want, framework.Published(plan, ".", name), name)
	}
	require.True(t, framework.Published(plan, "dist", "package.json"), "what a build wrote is the site")
}
