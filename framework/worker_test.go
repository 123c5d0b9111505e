package framework_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
)

const (
	workerSettings = `{ "name": "w", "main": "src/index.js", "compatibility_date": "2026-11-01" } // ours`
	workerModule   = `export default { async fetch(request) { return new Response("hello"); } };`
)

func TestDetect_settingsWithAMainAreAWorker(t *testing.T) {
	for _, name := range []string{"wrangler.jsonc", "wrangler.json"} {
		plan := detect(t, memory{name: workerSettings, "src/index.js": workerModule})
		require.Equal(t, "worker", plan.Framework)
		require.Equal(t, &framework.WorkerPlan{Settings: name, Required: true}, plan.Worker)
		require.True(t, plan.NeedsSandbox(), "bundling does, without anything to install")
		require.Nil(t, plan.Install)
		require.Nil(t, plan.Build)
		require.Empty(t, plan.Notes)
	}
	plan := detect(t, memory{"wrangler.toml": "name = 'w'\nmain = 'src/index.js'\n", "src/index.js": workerModule})
	require.Equal(t, "wrangler.toml", plan.Worker.Settings)

	plan = detect(t, memory{"slipway.json": `{"rootDirectory":"api"}`, "api/wrangler.jsonc": workerSettings, "api/src/index.js": workerModule})
	require.Equal(t, "api", plan.Root)
	require.Equal(t, "wrangler.jsonc", plan.Worker.Settings, "relative to the root")
}

func TestDetect_workerRunsItsBuildScriptUnlessThatDeploys(t *testing.T) {
	plan := detect(t, memory{
		"wrangler.jsonc": workerSettings, "package-lock.json": `{"lockfileVersion":3}`,
		"package.json": `{"scripts":{"build":"node generate.js","deploy":"wrangler deploy"},"devDependencies":{"wrangler":"4"}}`,
	})
	require.Equal(t, "worker", plan.Framework)
	require.Equal(t, []string{"npm", "run", "build"}, plan.Build)
	require.NotNil(t, plan.Install)
	require.Empty(t, plan.Notes)

	for _, script := range []string{"wrangler deploy --dry-run --outdir dist", "tsc && wrangler deploy", "npx wrangler@4 publish"} {
		plan = detect(t, memory{"wrangler.jsonc": workerSettings, "package.json": `{"scripts":{"build":"` + script + `"}}`})
		require.Nil(t, plan.Build, script)
		require.Len(t, plan.Notes, 1)
		require.Contains(t, plan.Notes[0], script)
	}
	plan = detect(t, memory{"wrangler.jsonc": workerSettings, "package.json": `{"scripts":{"build":"wrangler types && tsc"}}`})
	require.NotNil(t, plan.Build, "types are made here as anywhere")

	plan = detect(t, memory{"wrangler.jsonc": workerSettings, "package.json": `{"scripts":{"dev":"wrangler dev"}}`, "public/index.html": ""})
	require.Equal(t, "worker", plan.Framework, "its files are beside it")
	require.Nil(t, plan.Build)
}

func TestDetect_workerWithViteForItsTestsIsNotBuiltWithIt(t *testing.T) {
	manifest := `{"devDependencies":{"vite":"8","vitest":"4","wrangler":"4"}}`
	plan := detect(t, memory{"wrangler.jsonc": workerSettings, "package.json": manifest, "vitest.config.ts": ""})
	require.Equal(t, "worker", plan.Framework)
	plan = detect(t, memory{"wrangler.jsonc": workerSettings, "package.json": manifest, "vite.config.ts": ""})
	require.Equal(t, "vite", plan.Framework)
	require.True(t, plan.Worker.Required)
}

func TestDetect_honoIsAWorkerByItsSettingsOrItsMainModule(t *testing.T) {
	manifest := `{"dependencies":{"hono":"4"}}`
	app := "import { Hono } from 'hono'\nconst app = new Hono()\nexport default app\n"
	plan := detect(t, memory{"package.json": manifest, "wrangler.jsonc": workerSettings})
	require.Equal(t, "hono", plan.Framework)
	require.Equal(t, "wrangler.jsonc", plan.Worker.Settings)

	plan = detect(t, memory{"package.json": manifest, "src/index.ts": app})
	require.Equal(t, "hono", plan.Framework)
	require.Equal(t, []framework.WorkerOutput{{Main: "src/index.ts"}}, plan.Worker.Outputs)
	require.True(t, plan.Worker.Required)

	plan = detect(t, memory{"package.json": `{"scripts":{"build":"bun build"},"dependencies":{"hono":"4"}}`, "src/index.tsx": app})
	require.Equal(t, "hono", plan.Framework)
	require.Equal(t, []string{"npm", "run", "build"}, plan.Build)

	node := memory{"package.json": manifest, "src/index.ts": "import { serve } from '@hono/node-server'\nserve(app)\n"}
	require.Contains(t, refusal(t, node), "fetch handler")
	vite := memory{"package.json": `{"scripts":{"build":"vite build"},"dependencies":{"hono":"4"},"devDependencies":{"vite":"8"}}`, "src/index.ts": app}
	require.Equal(t, "vite", detect(t, vite).Framework)
}

func TestDetect_moduleWithAFetchHandlerIsAWorkerWhereNothingElseIsThere(t *testing.T) {
	for _, name := range []string{"src/index.js", "index.js", "worker.ts", "_worker.js"} {
		plan := detect(t, memory{name: workerModule})
		require.Equal(t, "worker", plan.Framework, name)
		require.Equal(t, name, plan.Worker.Outputs[0].Main)
	}
	plan := detect(t, memory{"package.json": `{"main":"./lib/edge.js"}`, "lib/edge.js": workerModule, "index.js": "module.exports = {}"})
	require.Equal(t, "lib/edge.js", plan.Worker.Outputs[0].Main, "package.json names it")

	require.Contains(t, refusal(t, memory{"src/index.js": "fetch('/x')\nexport default function App() {}"}), "nothing to deploy")
	require.Equal(t, "static", detect(t, memory{"index.html": "", "src/index.js": workerModule}).Framework, "files come first without settings")
	require.Equal(t, "node-build", detect(t, memory{"package.json": `{"scripts":{"build":"rollup -c"}}`, "src/index.js": workerModule}).Framework)
	require.Contains(t, refusal(t, memory{"package.json": `{"main":"../../etc/passwd"}`}), "nothing to deploy")
}

func TestDetect_filesWithAWorkerOfPagesBesideThem(t *testing.T) {
	plan := detect(t, memory{"public/index.html": "", "public/_worker.js": workerModule})
	require.Equal(t, "static", plan.Framework)
	require.Equal(t, &framework.WorkerPlan{Outputs: []framework.WorkerOutput{{Main: "public/_worker.js", Assets: "public"}}, Required: true}, plan.Worker)
	asked := detect(t, memory{"public/index.html": "", "public/_worker.js": workerModule, "slipway.json": `{"framework":"static"}`})
	require.Nil(t, asked.Worker)
}

func TestDetect_settingsWithoutAMainSayHowFilesAreServed(t *testing.T) {
	settings := `{"assets":{"directory":"./site","not_found_handling":"single-page-application","html_handling":"drop-trailing-slash"}}`
	plan := detect(t, memory{"wrangler.jsonc": settings, "site/start.html": ""})
	require.Equal(t, "static", plan.Framework)
	require.Equal(t, []string{"site"}, plan.OutputDirs)
	require.Equal(t, framework.NotFoundSPA, plan.NotFoundHandling)
	require.Equal(t, "drop-trailing-slash", plan.HTMLHandling)
	require.False(t, plan.NeedsSandbox())

	ignoring := detect(t, memory{"wrangler.jsonc": settings, "site/index.html": "", "site/.assetsignore": "drafts"})
	require.Equal(t, &framework.WorkerPlan{Settings: "wrangler.jsonc"}, ignoring.Worker, "the bundler knows what is left out")
	pages := detect(t, memory{"wrangler.toml": "pages_build_output_dir = './site'", "site/index.html": ""})
	require.Equal(t, &framework.WorkerPlan{Settings: "wrangler.toml"}, pages.Worker)

	plan = detect(t, memory{"wrangler.jsonc": settings, "package.json": viteManifest})
	require.Equal(t, "vite", plan.Framework)
	require.Equal(t, &framework.WorkerPlan{Settings: "wrangler.jsonc"}, plan.Worker, "the build may leave files only")
}

func TestDetect_settingsThatCannotBeHonouredAreRefusedAtOnce(t *testing.T) {
	for settings, names := range map[string]string{
		`{"main":"i.js","d1_databases":[{"binding":"DB","database_id":"x"}]}`: "d1_databases",
		`{"main": }`: "wrangler.jsonc",
	} {
		_, err := framework.Detect(memory{"wrangler.jsonc": settings, "i.js": workerModule})
		require.Error(t, err)
		require.Contains(t, models.MessageOf(err), names)
		_, err = framework.Detect(memory{"wrangler.jsonc": settings, "index.html": "", "slipway.json": `{"framework":"static"}`})
		require.NoError(t, err, "a site of files has nothing to do with them")
	}
}

func TestDetect_outputDirectoryMakesASiteOfFiles(t *testing.T) {
	plan := detect(t, memory{"wrangler.jsonc": workerSettings, "package.json": viteManifest, "slipway.json": `{"outputDirectory":"dist"}`})
	require.Nil(t, plan.Worker)
	require.Contains(t, strings.Join(plan.Notes, "\n"), "no worker is deployed")
}

func TestDetect_adaptersMakeWorkers(t *testing.T) {
	for name, c := range map[string]struct {
		files    memory
		build    string
		required bool
		main     string
	}{
		"next": {memory{"package.json": `{"scripts":{"build":"next build"},"dependencies":{"next":"16","@opennextjs/cloudflare":"1"}}`},
			"npm exec --no -- opennextjs-cloudflare build", true, ".open-next/worker.js"},
		"next by script": {memory{"package.json": `{"scripts":{"build":"opennextjs-cloudflare build"},"dependencies":{"next":"16","@opennextjs/cloudflare":"1"}}`},
			"npm run build", true, ".open-next/worker.js"},
		"next deployed by script": {memory{"package.json": `{"scripts":{"build":"opennextjs-cloudflare build && opennextjs-cloudflare deploy"},"dependencies":{"next":"16","@opennextjs/cloudflare":"1"}}`},
			"npm exec --no -- opennextjs-cloudflare build", true, ".open-next/worker.js"},
		"astro": {memory{"package.json": `{"scripts":{"build":"astro build"},"dependencies":{"astro":"7","@astrojs/cloudflare":"14"}}`},
			"npm run build", false, "dist/_worker.js"},
		"sveltekit": {memory{"package.json": `{"scripts":{"build":"vite build"},"devDependencies":{"@sveltejs/kit":"2","@sveltejs/adapter-cloudflare":"7"}}`},
			"npm run build", true, ".svelte-kit/cloudflare/_worker.js"},
		"nitro": {memory{"package.json": `{"scripts":{"build":"nitro build"},"dependencies":{"nitropack":"2"}}`},
			"npm run build", true, ".output/server/index.mjs"},
		"vite with nitro": {memory{"package.json": `{"scripts":{"build":"vite build"},"devDependencies":{"vite":"8","nitro":"3"}}`},
			"npm run build", true, ".output/server/index.mjs"},
		"vite with hono": {memory{"package.json": `{"scripts":{"build":"vite build"},"devDependencies":{"vite":"8","@hono/vite-build":"1"}}`, "vite.config.ts": `import build from "@hono/vite-build/cloudflare-workers"`},
			"npm run build", false, "dist/index.js"},
		"vite": {memory{"package.json": `{"scripts":{"build":"vite build"},"devDependencies":{"vite":"8","@cloudflare/vite-plugin":"1"}}`},
			"npm run build", false, ""},
		"react router": {memory{"package.json": `{"scripts":{"build":"react-router build"},"devDependencies":{"@react-router/dev":"8","@cloudflare/vite-plugin":"1"}}`, "wrangler.jsonc": workerSettings},
			"npm run build", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			plan := detect(t, c.files)
			require.Equal(t, c.build, strings.Join(plan.Build, " "))
			require.NotNil(t, plan.Worker)
			require.Equal(t, c.required, plan.Worker.Required)
			if c.main != "" {
				require.Equal(t, c.main, plan.Worker.Outputs[0].Main)
			}
		})
	}
}

func TestDetect_svelteKitGoesByTheAdapterOfItsConfiguration(t *testing.T) {
	manifest := `{"scripts":{"build":"vite build"},"devDependencies":{"@sveltejs/kit":"2","@sveltejs/adapter-auto":"7","@sveltejs/adapter-static":"3"}}`
	config := func(adapter string) string { return `import adapter from "@sveltejs/adapter-` + adapter + `";` }

	plan := detect(t, memory{"package.json": manifest, "svelte.config.js": config("static")})
	require.Nil(t, plan.Worker)
	plan = detect(t, memory{"package.json": manifest, "svelte.config.js": config("auto"), "package-lock.json": `{"lockfileVersion":3}`})
	require.Equal(t, "1", plan.Env["CF_PAGES"], "by which it chooses Cloudflare")
	require.Len(t, plan.Notes, 1)
	plan = detect(t, memory{"package.json": strings.Replace(manifest, "adapter-auto", "adapter-cloudflare", 1), "svelte.config.js": config("cloudflare")})
	require.NotContains(t, plan.Env, "CF_PAGES")
	require.True(t, plan.Worker.Required)
	plan = detect(t, memory{"package.json": manifest, "svelte.config.js": config("node")})
	require.Nil(t, plan.Worker)
	_, err := framework.FindOutput(plan, func(dir string) bool { return strings.HasPrefix(dir, "build") })
	require.Contains(t, models.MessageOf(err), "@sveltejs/adapter-cloudflare")
}

func TestFindOutput_saysWhereAWorkerWasLookedFor(t *testing.T) {
	plan := detect(t, memory{"package.json": `{"dependencies":{"next":"16","@opennextjs/cloudflare":"1"}}`})
	_, err := framework.FindOutput(plan, func(string) bool { return true })
	require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
	require.Contains(t, models.MessageOf(err), "looked for .open-next/worker.js")
}

// Files of the project that make a worker are not part of the site beside it.
func TestPublished_leavesOutAWorkersOwnFiles(t *testing.T) {
	plan := detect(t, memory{"index.html": ""})
	require.False(t, framework.Published(plan, ".", "wrangler.jsonc"))
	require.False(t, framework.Published(plan, ".", "_worker.js"))
	require.True(t, framework.Published(plan, ".", "docs/wrangler.jsonc"))
}

// FuzzWorker holds a plan with a worker to the project's folder, whatever the
// files that decide about it say.
func FuzzWorker(f *testing.F) {
	f.Add("", "", workerSettings, workerModule)
	f.Add(viteManifest, "", `{"assets":{"directory":"../.."}}`, "")
	f.Add(`{"main":"../x.js","dependencies":{"hono":"4"}}`, `{"rootDirectory":"a"}`, "", "import x from 'hono'; export default x")
	f.Add(`{"scripts":{"build":"wrangler deploy"},"dependencies":{"nuxt":"4"}}`, `{"outputDirectory":"dist"}`, `{"main":`, "")
	f.Fuzz(func(t *testing.T, manifest, settings, wrangler, module string) {
		files := memory{}
		for name, content := range map[string]string{
			"package.json": manifest, "slipway.json": settings, "wrangler.jsonc": wrangler, "src/index.js": module,
			"a/package.json": manifest, "a/wrangler.jsonc": wrangler, "a/src/index.js": module,
		} {
			if content != "" {
				files[name] = content
			}
		}
		plan, err := framework.Detect(files)
		if err != nil {
			require.Equal(t, models.ClassUser, models.CodeOf(err).Class(), "%v", err)
			return
		}
		places := append([]string{plan.Root, plan.InstallDir}, plan.OutputDirs...)
		if plan.Worker == nil {
			require.NotEmpty(t, plan.OutputDirs)
		} else {
			require.True(t, plan.NeedsSandbox())
			places = append(places, plan.Worker.Settings)
			for _, output := range plan.Worker.Outputs {
				places = append(places, output.Main, output.Assets)
			}
		}
		for _, place := range places {
			require.False(t, strings.HasPrefix(place, "/") || strings.Contains("/"+place+"/", "/../"), "%q leaves the project", place)
		}
	})
}
