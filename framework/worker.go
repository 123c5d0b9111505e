package framework

import (
	"path"
	"regexp"

	"github.com/slipwayhq/slipway/bundle"
	"github.com/slipwayhq/slipway/models"
)

// WorkerPlan is where the server code of a project is found after its build.
// The bundler looks first for the redirect that build tools leave in
// .wrangler/deploy/config.json, then takes Settings, then the first of Outputs
// that is there.
type WorkerPlan struct {
	// Settings is the project's own wrangler file, relative to Plan.Root:
	// wrangler.jsonc, wrangler.json or wrangler.toml; "" when there is none.
	Settings string `json:"settings,omitempty"`
	// Outputs are where a framework's adapter puts a worker, for when no settings
	// file names one, likeliest first.
	Outputs []WorkerOutput `json:"outputs,omitempty"`
	// Required says that without a worker there is nothing to serve. Otherwise a
	// build that made only files is a site of files.
	Required bool `json:"required,omitempty"`
}

// WorkerOutput is a worker as a framework's adapter writes it. Paths are
// relative to Plan.Root.
type WorkerOutput struct {
	// Main is the worker's main module, such as .svelte-kit/cloudflare/_worker.js;
	// a folder of that name has an index.js.
	Main string `json:"main"`
	// Assets is the folder of the files served beside the worker; "" for none.
	Assets string `json:"assets,omitempty"`
}

// workerRule is how a framework makes a worker.
type workerRule struct {
	// packages: with one of them among the dependencies the build makes a worker.
	packages []string
	// required: and then nothing that could be served without it.
	required bool
	outputs  []WorkerOutput
	// files are where the files are when it made no worker after all.
	files []string
	// command makes the worker, where that is not what builds the site.
	command []string
	env     map[string]string
}

const noWorkerAdvice = "Name the worker's first file as main in wrangler.jsonc; it exports a default with a fetch handler."

// planWorker says where a worker is looked for. What wrangler.jsonc names is
// deployed whatever the framework; the settings decide how it is served.
func (p project) planWorker(plan *Plan, r *rule) {
	emits := p.manifest != nil && p.manifest.dependsOnOneOf(r.worker.packages)
	if !emits && p.wrangler == nil {
		return
	}
	plan.Worker = &WorkerPlan{}
	if p.wrangler != nil {
		plan.Worker.Settings = p.wranglerName
		plan.Worker.Required = p.wrangler.Main != ""
	}
	if emits {
		plan.takeWorker(r.worker)
	}
}

// takeWorker adds what a build tool makes to what the settings say.
func (p *Plan) takeWorker(made workerRule) {
	if p.Worker == nil {
		p.Worker = &WorkerPlan{}
	}
	p.Worker.Outputs = append(p.Worker.Outputs, made.outputs...)
	p.Worker.Required = p.Worker.Required || made.required
	p.OutputDirs = append(append([]string(nil), made.files...), p.OutputDirs...)
	for name, value := range made.env {
		p.Env[name] = value
	}
}

// planStaticWorker is about files that are not built: how wrangler's settings
// want them served, and whether there is a worker beside them, the _worker.js of
// Cloudflare Pages (https://developers.cloudflare.com/pages/functions/advanced-mode/).
func (p project) planStaticWorker(plan *Plan) {
	for _, dir := range plan.OutputDirs {
		if main := path.Join(dir, "_worker.js"); p.has(main) || p.has(path.Join(main, "index.js")) {
			plan.Worker = &WorkerPlan{Settings: p.wranglerName, Outputs: []WorkerOutput{{Main: main, Assets: dir}}, Required: true}
			plan.NoOutput = noWorkerAdvice
			return
		}
	}
	w := p.wrangler
	switch {
	case w == nil:
	case w.PagesOutput != "" || p.has(path.Join(plan.OutputDirs[0], ".assetsignore")):
		plan.Worker = &WorkerPlan{Settings: p.wranglerName} // the bundler knows how
	case w.Assets != nil:
		plan.Notes = append(plan.Notes, w.Notes...)
		plan.HTMLHandling = w.Assets.HTMLHandling
		plan.NotFoundHandling = NotFoundNone // as on Cloudflare
		if w.Assets.NotFoundHandling != "" {
			plan.NotFoundHandling = w.Assets.NotFoundHandling
		}
	}
}

// refineWorker is for a project that is a worker and nothing else.
func refineWorker(p project, plan *Plan) error {
	if plan.Worker != nil {
		return nil
	}
	main := p.workerEntry()
	if main == "" {
		return models.Errorf(models.CodeValidation, "There is no worker to deploy%s. %s", p.where(), noWorkerAdvice)
	}
	plan.Worker = &WorkerPlan{Outputs: []WorkerOutput{{Main: main}}, Required: true}
	return nil
}

// isWorker says whether the settings name a worker.
func (p project) isWorker() bool { return p.wrangler != nil && p.wrangler.Main != "" }

// isHonoWorker leaves Hono on Node, and projects that only use it somewhere.
func (p project) isHonoWorker() bool { return p.isWorker() || p.workerEntry() != "" }

// isBuiltWithVite is false for a worker that has Vite only for its tests.
func (p project) isBuiltWithVite() bool {
	if !p.isWorker() || p.has("index.html") || mentions(p.manifest.Scripts["build"], "vite") {
		return true
	}
	for _, name := range viteConfigs {
		if p.has(name) {
			return true
		}
	}
	return false
}

// workerEntries are where the main module of a worker usually is.
var workerEntries = []string{
	"src/index.ts", "src/index.tsx", "src/index.js", "src/index.mjs", "src/worker.ts", "src/worker.js",
	"index.ts", "index.js", "index.mjs", "worker.ts", "worker.js", "_worker.js",
}

var (
	// fetchHandler is a worker in module syntax
	// (https://developers.cloudflare.com/workers/runtime-apis/handlers/fetch/).
	fetchHandler = regexp.MustCompile(`export\s+default\s*\{[\s\S]*\bfetch\b`)
	// honoApp is a worker as Hono's documentation has it.
	honoApp = regexp.MustCompile(`(?:from\s*|import\s*\(\s*)['"]hono(?:/[\w-]+)?['"][\s\S]*export\s+default\s+\w+`)
)

// workerEntry finds the main module of a worker without settings: the one that
// package.json names, or a usual one, when its text shows that it is a worker.
// It is "" when there is none, or when it cannot be read.
func (p project) workerEntry() string {
	candidates := workerEntries
	if p.manifest != nil {
		if named, problem := cleanDir(p.manifest.Main); problem == "" && named != "." {
			candidates = append([]string{named}, candidates...)
		}
	}
	for _, name := range candidates {
		content, err := p.read(name)
		if err != nil {
			return ""
		}
		if fetchHandler.Match(content) || (honoApp.Match(content) && p.manifest != nil && p.manifest.dependsOnOneOf([]string{"hono"})) {
			return name
		}
	}
	return ""
}

// wranglerNames in the order in which wrangler looks.
var wranglerNames = []string{"wrangler.json", "wrangler.jsonc", "wrangler.toml"}

// readWrangler reads the project's wrangler file. What it gets wrong, and what
// cannot be honoured here, is said before anything is installed.
func (p *project) readWrangler() error {
	if p.settings.framework == static {
		return nil
	}
	for _, name := range wranglerNames {
		content, err := p.read(name)
		if err != nil {
			return err
		}
		if content == nil {
			continue
		}
		p.wranglerName = name
		p.wrangler, err = bundle.ParseSettings(path.Join(p.root, name), content)
		return err
	}
	return nil
}

// wranglerFiles is the folder that the settings of a project without a worker
// name for its files; "" when they name none.
func (p project) wranglerFiles() string {
	if p.wrangler == nil || p.wrangler.Main != "" {
		return ""
	}
	named := p.wrangler.PagesOutput
	if p.wrangler.Assets != nil && p.wrangler.Assets.Directory != "" {
		named = p.wrangler.Assets.Directory
	}
	if named == "" {
		return ""
	}
	dir, problem := cleanDir(named)
	if problem != "" {
		return ""
	}
	return dir
}

// deploysByItself finds scripts that would leave the build for Cloudflare, or
// never end.
var deploysByItself = regexp.MustCompile(`\b(?:wrangler(?:@\S+)?\s+(?:deploy|publish|dev|pages|versions|triggers|secret|kv|d1|r2)|opennextjs-cloudflare\s+(?:deploy|upload|preview))\b`)
