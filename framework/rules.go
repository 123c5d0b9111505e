package framework

import (
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// rule is what is known about one framework.
type rule struct {
	framework string
	title     string
	// packages: one of them among the dependencies means this framework.
	packages []string
	// agrees, when set, must hold as well; without packages it decides alone.
	agrees func(p project) bool
	// configs: one of them at the root means it too, where no package does.
	configs []string
	// scripts of package.json that build it, likeliest first; nil means build.
	scripts []string
	// command builds it when no script does. Its first word is also how a
	// script shows which of several frameworks it builds.
	command []string
	outputs []string
	// bare says that it needs no build before its worker is bundled.
	bare bool
	// serverDirs are folders that only a build for a server writes. Where the
	// server's folder lies within an output it is a folder inside it, since a
	// site may well have a page named server.
	serverDirs []string
	// worker is how it makes a worker, where it can.
	worker   workerRule
	notFound string
	env      map[string]string
	noOutput string
	// refine adds what only the framework's own configuration says.
	refine func(p project, plan *Plan) error
}

const (
	static      = "static"
	plainWorker = "worker"
)

// rules is the table, the more particular before what it is made with: most
// frameworks also have vite among their dependencies.
var rules = []rule{
	{
		framework: "next", title: "Next.js",
		packages: []string{"next"}, configs: []string{"next.config.js", "next.config.mjs", "next.config.ts"},
		command: []string{"next", "build"}, outputs: []string{"out"},
		worker: workerRule{
			packages: []string{"@opennextjs/cloudflare"}, required: true,
			command: []string{"opennextjs-cloudflare", "build"},
			outputs: []WorkerOutput{{Main: ".open-next/worker.js", Assets: ".open-next/assets"}},
		},
		notFound: NotFoundPage,
		noOutput: `Next.js wrote no static export: set output: "export" in next.config. For pages rendered on a server, add @opennextjs/cloudflare and wrangler to the dependencies, run npx opennextjs-cloudflare migrate, and deploy what it adds.`,
	},
	{
		framework: "nuxt", title: "Nuxt",
		packages: []string{"nuxt", "nuxt3", "nuxt-edge"}, configs: []string{"nuxt.config.ts", "nuxt.config.js", "nuxt.config.mjs"},
		scripts: []string{"build", "generate"},
		command: []string{"nuxt", "build"}, outputs: []string{".output/public", "dist"}, serverDirs: []string{".output/server"},
		worker:   nitroWorker([]string{"nuxt", "nuxt3", "nuxt-edge"}),
		notFound: NotFoundPage,
		noOutput: "Nuxt wrote neither a worker nor static files: leave nitro.preset out of nuxt.config, or build with nuxt generate.",
		refine:   refineNitro,
	},
	{
		framework: "sveltekit", title: "SvelteKit",
		packages: []string{"@sveltejs/kit"},
		command:  []string{"vite", "build"}, outputs: []string{"build"}, serverDirs: []string{"build/server/chunks"},
		worker: workerRule{
			packages: []string{"@sveltejs/adapter-cloudflare", "@sveltejs/adapter-auto"}, required: true,
			outputs: []WorkerOutput{{Main: ".svelte-kit/cloudflare/_worker.js", Assets: ".svelte-kit/cloudflare"}},
		},
		notFound: NotFoundPage,
		noOutput: "SvelteKit wrote neither a worker nor static files: use @sveltejs/adapter-cloudflare in svelte.config.js for pages rendered on a server, or @sveltejs/adapter-static.",
		refine:   refineSvelteKit,
	},
	{
		framework: "react-router", title: "React Router",
		packages: []string{"@react-router/dev"}, configs: []string{"react-router.config.ts", "react-router.config.js"},
		command: []string{"react-router", "build"}, outputs: []string{"build/client"}, serverDirs: []string{"build/server"},
		worker:   workerRule{packages: vitePlugin},
		notFound: NotFoundSPA,
		noOutput: "React Router wrote no static files: set ssr: false in react-router.config. For pages rendered on a server, add @cloudflare/vite-plugin to the Vite configuration, and a wrangler.jsonc whose main is the server's entry.",
	},
	{
		framework: "remix", title: "Remix",
		packages: []string{"@remix-run/dev", "@remix-run/react", "@remix-run/server-runtime", "remix"},
		configs:  []string{"remix.config.js"},
		command:  []string{"remix", "vite:build"}, outputs: []string{"build/client"}, serverDirs: []string{"build/server"},
		notFound: NotFoundSPA,
		noOutput: "Remix wrote no static files: set ssr: false in its Vite plugin. For pages rendered on a server, use @remix-run/cloudflare with a wrangler.jsonc whose main is the server's entry, or move to React Router with @cloudflare/vite-plugin.",
	},
	{
		framework: "tanstack-start", title: "TanStack Start",
		packages: []string{"@tanstack/react-start", "@tanstack/solid-start"},
		command:  []string{"vite", "build"}, outputs: []string{"dist/client", ".output/public"}, serverDirs: []string{"dist/server", ".output/server"},
		worker:   workerRule{packages: vitePlugin},
		notFound: NotFoundSPA,
		noOutput: "TanStack Start renders on a server: add @cloudflare/vite-plugin to the Vite configuration, and a wrangler.jsonc whose main is @tanstack/react-start/server-entry.",
		refine:   refineVite,
	},
	{
		framework: "astro", title: "Astro",
		packages: []string{"astro"}, configs: []string{"astro.config.mjs", "astro.config.ts", "astro.config.js", "astro.config.mts"},
		command: []string{"astro", "build"}, outputs: []string{"dist"}, serverDirs: []string{"dist/server/chunks"},
		worker: workerRule{
			packages: []string{"@astrojs/cloudflare"}, files: []string{"dist/client"},
			outputs: []WorkerOutput{{Main: "dist/_worker.js", Assets: "dist"}}, // before version 13
		},
		notFound: NotFoundPage,
		noOutput: "Astro wrote no static files: use @astrojs/cloudflare as the adapter in astro.config for pages rendered on a server, remove the adapter for a site of files, or set outputDirectory in slipway.json when outDir is set there.",
	},
	{
		framework: "gatsby", title: "Gatsby",
		packages: []string{"gatsby"}, configs: []string{"gatsby-config.js", "gatsby-config.ts", "gatsby-config.mjs"},
		command: []string{"gatsby", "build"}, outputs: []string{"public"},
		notFound: NotFoundPage,
	},
	{
		framework: "docusaurus", title: "Docusaurus",
		packages: []string{"@docusaurus/core"}, configs: []string{"docusaurus.config.js", "docusaurus.config.ts", "docusaurus.config.mjs"},
		command: []string{"docusaurus", "build"}, outputs: []string{"build"},
		notFound: NotFoundPage,
	},
	{
		framework: "vitepress", title: "VitePress",
		packages: []string{"vitepress"},
		scripts:  []string{"docs:build", "build"},
		command:  []string{"vitepress", "build"}, outputs: []string{".vitepress/dist", "docs/.vitepress/dist"},
		notFound: NotFoundPage,
		refine:   refineVitePress,
	},
	{
		framework: "eleventy", title: "Eleventy",
		packages: []string{"@11ty/eleventy"}, configs: []string{".eleventy.js", "eleventy.config.js", "eleventy.config.mjs", "eleventy.config.cjs", "eleventy.config.ts"},
		command: []string{"eleventy"}, outputs: []string{"_site"},
		notFound: NotFoundPage,
	},
	{
		framework: "angular", title: "Angular",
		packages: []string{"@angular/cli", "@angular/build"}, configs: []string{"angular.json"},
		command: []string{"ng", "build"}, outputs: []string{"dist"},
		notFound: NotFoundSPA,
		refine:   refineAngular,
	},
	{
		framework: "cra", title: "Create React App",
		packages: []string{"react-scripts"},
		command:  []string{"react-scripts", "build"}, outputs: []string{"build"},
		notFound: NotFoundSPA,
		// With CI=true it makes an error of every lint warning, which surprises
		// owners whose build works at home.
		env: map[string]string{"CI": "false"},
	},
	{
		framework: "vue-cli", title: "Vue CLI",
		packages: []string{"@vue/cli-service"},
		command:  []string{"vue-cli-service", "build"}, outputs: []string{"dist"},
		notFound: NotFoundSPA,
	},
	{
		framework: "parcel", title: "Parcel",
		packages: []string{"parcel", "parcel-bundler"},
		command:  []string{"parcel", "build", "index.html"}, outputs: []string{"dist"},
		notFound: NotFoundPage,
	},
	{
		framework: "vite", title: "Vite",
		packages: []string{"vite", "rolldown-vite"},
		configs:  viteConfigs,
		agrees:   project.isBuiltWithVite,
		command:  []string{"vite", "build"}, outputs: []string{"dist"},
		worker:   workerRule{packages: vitePlugin, files: []string{"dist/client"}},
		notFound: NotFoundSPA,
		noOutput: "Vite wrote no dist folder: when build.outDir is set in its configuration, set outputDirectory in slipway.json to the same.",
		refine:   refineVite,
	},
	{
		framework: "nitro", title: "Nitro",
		packages: []string{"nitropack", "nitro"}, configs: []string{"nitro.config.ts", "nitro.config.js", "nitro.config.mjs"},
		command: []string{"nitro", "build"}, outputs: []string{".output/public"}, serverDirs: []string{".output/server"},
		worker:   nitroWorker([]string{"nitropack", "nitro"}),
		notFound: NotFoundPage,
		noOutput: "Nitro wrote neither a worker nor static files: leave preset out of nitro.config.",
		refine:   refineNitro,
	},
	{
		framework: "hono", title: "Hono",
		packages: []string{"hono"}, agrees: project.isHonoWorker, bare: true,
		worker:   workerRule{required: true},
		notFound: NotFoundNone,
		noOutput: noWorkerAdvice,
		refine:   refineWorker,
	},
	{
		framework: plainWorker, title: "Cloudflare Worker",
		agrees: project.isWorker, bare: true,
		worker:   workerRule{required: true},
		notFound: NotFoundNone,
		noOutput: noWorkerAdvice,
		refine:   refineWorker,
	},
}

var viteConfigs = []string{"vite.config.ts", "vite.config.js", "vite.config.mjs", "vite.config.mts", "vite.config.cjs", "vite.config.cts"}

// vitePlugin makes a worker of what Vite builds for a server, and leaves a
// redirect to its settings.
var vitePlugin = []string{"@cloudflare/vite-plugin"}

// nitroWorker is for what Nitro builds, which makes whatever its preset says.
func nitroWorker(packages []string) workerRule {
	return workerRule{
		packages: packages, required: true,
		env:     map[string]string{nitroPreset: "cloudflare_module"},
		outputs: []WorkerOutput{{Main: ".output/server/index.mjs", Assets: ".output/public"}},
	}
}

// nodeBuildRule is for a package.json with a build script of which nothing
// else is known.
var nodeBuildRule = rule{
	framework: "node-build", title: "package.json with a build script",
	outputs:  []string{"dist", "build", "out", "_site", "public", "www"},
	notFound: NotFoundPage,
	refine:   refineNodeBuild,
}

// staticRule is for a project that is not built; slipway.json may ask for it.
var staticRule = rule{framework: static, title: "Static files"}

// Names lists the frameworks there are, in the table's order.
func Names() []string {
	names := make([]string, 0, len(rules)+2)
	for i := range rules {
		names = append(names, rules[i].framework)
	}
	return append(names, nodeBuildRule.framework, static)
}

func ruleNamed(name string) *rule {
	for i := range rules {
		if rules[i].framework == name {
			return &rules[i]
		}
	}
	switch name {
	case nodeBuildRule.framework:
		return &nodeBuildRule
	case static:
		return &staticRule
	}
	return nil
}

func (r *rule) buildScripts() []string {
	if r.scripts == nil {
		return []string{"build"}
	}
	return r.scripts
}

// chooseRule finds the framework: the one asked for; else, of those whose
// packages are there, the one that the build script runs, or the first; else
// the one whose configuration is there; else the one that recognizes the project
// by something else. Nil means none.
func (p project) chooseRule(asked string) (*rule, error) {
	if asked != "" {
		r := ruleNamed(asked)
		if p.manifest == nil && r.framework != static && r.framework != plainWorker {
			return nil, models.Errorf(models.CodeValidation, "slipway.json: framework %q needs a package.json%s.", asked, p.where())
		}
		return r, nil
	}
	if p.manifest != nil {
		if r := p.ruleByManifest(); r != nil {
			return r, nil
		}
	}
	for i := range rules {
		if r := &rules[i]; r.packages == nil && r.agrees != nil && r.agrees(p) {
			return r, nil
		}
	}
	return nil, nil
}

func (p project) ruleByManifest() *rule {
	var found []*rule
	for i := range rules {
		if r := &rules[i]; p.manifest.dependsOnOneOf(r.packages) && (r.agrees == nil || r.agrees(p)) {
			found = append(found, r)
		}
	}
	for _, r := range found {
		for _, script := range r.buildScripts() {
			if len(r.command) > 0 && mentions(p.manifest.Scripts[script], r.command[0]) {
				return r
			}
		}
	}
	if len(found) > 0 {
		return found[0]
	}
	for i := range rules {
		for _, config := range rules[i].configs {
			if p.has(config) {
				return &rules[i]
			}
		}
	}
	return nil
}

// mentions says whether a shell command has a word as one of its own.
func mentions(command, word string) bool {
	words := strings.FieldsFunc(command, func(c rune) bool { return strings.ContainsRune(" \t\n&|;()'\"`$", c) })
	for _, candidate := range words {
		if candidate == word {
			return true
		}
	}
	return false
}
