package framework

import (
	"regexp"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// rule is what is known about one framework.
type rule struct {
	framework string
	title     string
	// packages: one of them among the dependencies means this framework.
	packages []string
	// configs: one of them at the root means it too, where no package does.
	configs []string
	// scripts of package.json that build it, likeliest first; nil means build.
	scripts []string
	// scriptMakesFiles, when set, is what a script must look like to make files
	// to serve; otherwise command runs.
	scriptMakesFiles *regexp.Regexp
	// command builds it when no script does. Its first word is also how a
	// script shows which of several frameworks it builds.
	command []string
	outputs []string
	// serverDirs are folders that only a build for a server writes. Where the
	// server's folder lies within an output it is a folder inside it, since a
	// site may well have a page named server.
	serverDirs []string
	notFound   string
	env        map[string]string
	noOutput   string
	// refine adds what only the framework's own configuration says.
	refine func(p project, plan *Plan) error
}

const static = "static"

// rules is the table, the more particular before what it is made with: most
// frameworks also have vite among their dependencies.
var rules = []rule{
	{
		framework: "next", title: "Next.js",
		packages: []string{"next"}, configs: []string{"next.config.js", "next.config.mjs", "next.config.ts"},
		command: []string{"next", "build"}, outputs: []string{"out"},
		notFound: NotFoundPage,
		noOutput: `Next.js wrote no static export: set output: "export" in next.config; pages rendered on a server are not supported yet.`,
	},
	{
		framework: "nuxt", title: "Nuxt",
		packages: []string{"nuxt", "nuxt3", "nuxt-edge"}, configs: []string{"nuxt.config.ts", "nuxt.config.js", "nuxt.config.mjs"},
		scripts: []string{"generate", "build"}, scriptMakesFiles: regexp.MustCompile(`\b(nuxt|nuxi|nuxt-cli)\s+(generate|build\s.*--prerender)`),
		command: []string{"nuxt", "generate"}, outputs: []string{".output/public", "dist"}, serverDirs: []string{".output/server"},
		notFound: NotFoundPage,
		noOutput: "Nuxt wrote no static files: build with nuxt generate; pages rendered on a server are not supported yet.",
	},
	{
		framework: "sveltekit", title: "SvelteKit",
		packages: []string{"@sveltejs/kit"},
		command:  []string{"vite", "build"}, outputs: []string{"build"}, serverDirs: []string{"build/server/chunks"},
		notFound: NotFoundPage,
		noOutput: "SvelteKit wrote no static files: use @sveltejs/adapter-static in svelte.config.js; pages rendered on a server are not supported yet.",
		refine:   refineSvelteKit,
	},
	{
		framework: "react-router", title: "React Router",
		packages: []string{"@react-router/dev"}, configs: []string{"react-router.config.ts", "react-router.config.js"},
		command: []string{"react-router", "build"}, outputs: []string{"build/client"}, serverDirs: []string{"build/server"},
		notFound: NotFoundSPA,
		noOutput: "React Router wrote no static files: set ssr: false in react-router.config; pages rendered on a server are not supported yet.",
	},
	{
		framework: "remix", title: "Remix",
		packages: []string{"@remix-run/dev", "@remix-run/react", "@remix-run/server-runtime", "remix"},
		configs:  []string{"remix.config.js"},
		command:  []string{"remix", "vite:build"}, outputs: []string{"build/client"}, serverDirs: []string{"build/server"},
		notFound: NotFoundSPA,
		noOutput: "Remix wrote no static files: set ssr: false in its Vite plugin; pages rendered on a server are not supported yet.",
	},
	{
		framework: "astro", title: "Astro",
		packages: []string{"astro"}, configs: []string{"astro.config.mjs", "astro.config.ts", "astro.config.js", "astro.config.mts"},
		command: []string{"astro", "build"}, outputs: []string{"dist"}, serverDirs: []string{"dist/server/chunks"},
		notFound: NotFoundPage,
		noOutput: "Astro wrote no static files: remove the server adapter from astro.config, or set outputDirectory in slipway.json when outDir is set there.",
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
		configs:  []string{"vite.config.ts", "vite.config.js", "vite.config.mjs", "vite.config.mts", "vite.config.cjs", "vite.config.cts"},
		command:  []string{"vite", "build"}, outputs: []string{"dist"},
		notFound: NotFoundSPA,
		noOutput: "Vite wrote no dist folder: when build.outDir is set in its configuration, set outputDirectory in slipway.json to the same.",
	},
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
// the one whose configuration is there. Nil means none.
func (p project) chooseRule(asked string) (*rule, error) {
	if asked != "" {
		r := ruleNamed(asked)
		if r.framework != static && p.manifest == nil {
			return nil, models.Errorf(models.CodeValidation, "slipway.json: framework %q needs a package.json%s.", asked, p.where())
		}
		return r, nil
	}
	if p.manifest == nil {
		return nil, nil
	}
	var found []*rule
	for i := range rules {
		if p.manifest.dependsOnOneOf(rules[i].packages) {
			found = append(found, &rules[i])
		}
	}
	for _, r := range found {
		for _, script := range r.buildScripts() {
			if mentions(p.manifest.Scripts[script], r.command[0]) {
				return r, nil
			}
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	for i := range rules {
		for _, config := range rules[i].configs {
			if p.has(config) {
				return &rules[i], nil
			}
		}
	}
	return nil, nil
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
