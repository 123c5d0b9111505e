package framework

import (
	"encoding/json"
	"path"
	"regexp"
	"sort"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// refineNodeBuild lets a build that works in place (a stylesheet compiled beside
// an index.html) serve the root when no output folder appears.
func refineNodeBuild(p project, plan *Plan) error {
	if p.has("index.html") {
		plan.OutputDirs = append(plan.OutputDirs, ".")
	}
	return nil
}

var (
	// A fallback page named index.html is SvelteKit's way to say single page.
	svelteFallback = regexp.MustCompile(`fallback\s*:\s*['"]index\.html['"]`)
	svelteAdapter  = regexp.MustCompile(`['"]@sveltejs/adapter-(\w+)['"]`)
)

// refineSvelteKit goes by the adapter that the configuration imports, where it
// shows one, since several may be among the dependencies.
func refineSvelteKit(p project, plan *Plan) error {
	config, err := p.readAll("svelte.config.js", "svelte.config.ts", "svelte.config.mjs", "vite.config.js", "vite.config.ts")
	if err != nil {
		return err
	}
	if svelteFallback.Match(config) {
		plan.NotFoundHandling = NotFoundSPA
	}
	adapter := firstMatch(svelteAdapter, config)
	if adapter != "" && adapter != "cloudflare" && adapter != "auto" {
		p.withoutAdapter(plan)
		return nil
	}
	brings := p.manifest.dependsOnOneOf([]string{"@sveltejs/adapter-cloudflare"})
	if plan.Worker != nil && (adapter == "auto" || !brings) {
		// It chooses its adapter by the variables of the platform it runs on.
		plan.Env["CF_PAGES"] = "1"
		if !brings {
			plan.Notes = append(plan.Notes, "adapter-auto fetches @sveltejs/adapter-cloudflare in every build: use that adapter itself for faster builds of fixed versions.")
		}
	}
	return nil
}

// withoutAdapter leaves of the worker only what wrangler.jsonc says.
func (p project) withoutAdapter(plan *Plan) {
	if plan.Worker == nil {
		return
	}
	plan.Worker.Outputs, plan.Worker.Required = nil, p.isWorker()
	if plan.Worker.Settings == "" {
		plan.Worker = nil
	}
}

// nitroPreset is the variable that says for what Nitro builds.
const nitroPreset = "NITRO_PRESET"

var (
	nitroGenerates = regexp.MustCompile(`\b(?:nuxt|nuxi|nuxt-cli)\s+generate\b|\s--prerender\b`)
	// nitroStatic are the presets that make files only; others would make a
	// program for another platform.
	nitroStatic = regexp.MustCompile(`preset\s*:\s*['"](?:static|[\w-]+[-_]static|git(?:hub|lab)[-_]pages)['"]`)
)

// refineNitro builds for a server unless the project asks for files: the
// project's own preset is set aside when it is for another platform.
func refineNitro(p project, plan *Plan) error {
	config, err := p.readAll("nuxt.config.ts", "nuxt.config.js", "nuxt.config.mjs", "nitro.config.ts", "nitro.config.js", "nitro.config.mjs")
	if err != nil {
		return err
	}
	if nitroGenerates.MatchString(p.buildLine(plan)) || nitroStatic.Match(config) {
		delete(plan.Env, nitroPreset)
		p.withoutAdapter(plan)
	}
	return nil
}

// buildLine is the text of what builds the project, as its owner wrote it.
func (p project) buildLine(plan *Plan) string {
	if p.settings.build.set {
		return p.settings.build.line
	}
	if len(plan.Build) == 3 && plan.Build[1] == "run" && p.hasScript(plan.Build[2]) {
		return p.manifest.Scripts[plan.Build[2]]
	}
	return strings.Join(plan.Build, " ")
}

var honoBuild = regexp.MustCompile(`['"]@hono/vite-(?:build/cloudflare|cloudflare-pages)`)

// refineVite knows the plugins that make a worker without leaving a redirect.
func refineVite(p project, plan *Plan) error {
	if p.manifest.dependsOnOneOf([]string{"nitro"}) {
		plan.takeWorker(nitroWorker(nil))
		plan.OutputDirs = prefer(".output/public", plan.OutputDirs)
		return nil
	}
	config, err := p.readAll(viteConfigs...)
	if err == nil && honoBuild.Match(config) {
		plan.takeWorker(workerRule{outputs: []WorkerOutput{{Main: "dist/index.js", Assets: "dist"}, {Main: "dist/_worker.js", Assets: "dist"}}})
	}
	return err
}

// readAll gives the text of all of the files that are there.
func (p project) readAll(names ...string) ([]byte, error) {
	var all []byte
	for _, name := range names {
		content, err := p.read(name)
		if err != nil {
			return nil, err
		}
		all = append(append(all, content...), '\n')
	}
	return all, nil
}

// The folder in a build command is where VitePress keeps its output too.
var vitePressFolder = regexp.MustCompile(`\bvitepress\s+build\s+([A-Za-z0-9_./-]+)`)

func refineVitePress(p project, plan *Plan) error {
	for _, name := range []string{"docs:build", "build"} {
		match := vitePressFolder.FindStringSubmatch(p.manifest.Scripts[name])
		if match == nil || strings.HasPrefix(match[1], "-") {
			continue
		}
		if dir, problem := cleanDir(match[1]); problem == "" {
			plan.OutputDirs = prefer(path.Join(dir, ".vitepress/dist"), plan.OutputDirs)
		}
		return nil
	}
	// Without a script the command needs to know the folder: docs is usual.
	if plan.Build != nil && p.has("docs/index.md") && !p.has("index.md") && !p.hasScript("docs:build", "build") {
		plan.Build = append(plan.Build, "docs")
	}
	return nil
}

func (p project) hasScript(names ...string) bool {
	for _, name := range names {
		if p.manifest.Scripts[name] != "" {
			return true
		}
	}
	return false
}

// angularWorkspace is the part of angular.json that says where output goes. It
// is {base, browser} or just the base.
type angularWorkspace struct {
	DefaultProject string `json:"defaultProject"`
	Projects       map[string]struct {
		ProjectType string `json:"projectType"`
		Architect   map[string]struct {
			Builder string `json:"builder"`
			Options struct {
				OutputPath json.RawMessage `json:"outputPath"`
			} `json:"options"`
		} `json:"architect"`
	} `json:"projects"`
}

// refineAngular finds dist/<project>/browser. The application builder writes
// there; the older browser builder writes to the output path itself.
func refineAngular(p project, plan *Plan) error {
	content, err := p.read("angular.json")
	if err != nil || content == nil {
		return err
	}
	var workspace angularWorkspace
	if err := json.Unmarshal(trimBOM(content), &workspace); err != nil {
		return models.Wrap(models.CodeValidation, err, "angular.json is not valid JSON: "+err.Error())
	}
	name := workspace.application()
	base, browser := path.Join("dist", name), "browser"
	target := workspace.Projects[name].Architect["build"]
	var plain string
	var parts struct {
		Base    string  `json:"base"`
		Browser *string `json:"browser"`
	}
	switch {
	case json.Unmarshal(target.Options.OutputPath, &plain) == nil && plain != "":
		base = plain
	case json.Unmarshal(target.Options.OutputPath, &parts) == nil && parts.Base != "":
		base = parts.Base
		if parts.Browser != nil {
			browser = *parts.Browser
		}
	}
	base, problem := cleanDir(base)
	if problem != "" {
		return models.Errorf(models.CodeValidation, "angular.json: the outputPath of %q %s.", name, problem)
	}
	if _, problem := cleanDir(path.Join("x", browser)); problem != "" || strings.Contains(browser, "..") {
		return models.Errorf(models.CodeValidation, "angular.json: the browser folder in the outputPath of %q leaves the output folder.", name)
	}
	plan.OutputDirs = []string{path.Join(base, browser)}
	if browser != "" {
		plan.OutputDirs = append(plan.OutputDirs, base)
	}
	plan.ServerDirs = []string{path.Join(base, "server")}
	plan.NoOutput = `Angular wrote no static files: set "outputMode": "static" in angular.json when it renders on a server, or outputDirectory in slipway.json.`
	return nil
}

// application is the project that ng build builds: the default one, else the
// only application, else the first by name.
func (w angularWorkspace) application() string {
	if _, known := w.Projects[w.DefaultProject]; known {
		return w.DefaultProject
	}
	var names []string
	for name, project := range w.Projects {
		if project.ProjectType != "library" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// prefer puts dir first, once.
func prefer(dir string, dirs []string) []string {
	kept := []string{dir}
	for _, other := range dirs {
		if other != dir {
			kept = append(kept, other)
		}
	}
	return kept
}
