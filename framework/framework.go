// Package framework says what kind of project a folder holds, how it is
// installed and built, where its output will be, and what a failing build most
// likely means. It is pure: it reads a project's small text files through Files
// and runs nothing.
//
// What is known about each framework stands in one table (rules.go). A project
// overrides it in slipway.json (settings.go).
package framework

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/slipwayhq/slipway/bundle"
	"github.com/slipwayhq/slipway/models"
)

// Files is the project as Detect sees it. Paths are slash-separated and
// relative to the top of the project.
type Files interface {
	// Has says whether a regular file of that path is in the project.
	Has(path string) bool
	// Read gives the content of a file that Has knows. Detect reads only
	// slipway.json, package.json, lockfiles, a framework's own configuration,
	// wrangler's, and, where those say nothing, what may be a worker's main module.
	Read(path string) ([]byte, error)
}

// How unmatched paths are answered; the words of Workers Static Assets.
const (
	NotFoundNone = "none"
	NotFoundPage = "404-page"
	NotFoundSPA  = "single-page-application"
)

// HTMLAuto is the default html_handling: the slash follows from the file.
const HTMLAuto = "auto-trailing-slash"

// Plan is how a project becomes a site. Commands are argument lists, run with
// the pinned toolchain first on the PATH and Env in the environment.
type Plan struct {
	// Framework is a name of the table, or "custom" when slipway.json says
	// everything and nothing was recognized. Names are added, never renamed.
	Framework string `json:"framework"`
	// Title is the framework's name for people.
	Title string `json:"title"`

	// PackageManager is npm, pnpm, yarn or bun; "" when there is no package.json.
	PackageManager string `json:"packageManager,omitempty"`
	// Lockfile is the path of the lockfile that Install goes by, from the top of
	// the project; "" when there is none. LockfileVersion is what it says its
	// format is, "" when it does not.
	Lockfile        string `json:"lockfile,omitempty"`
	LockfileVersion string `json:"lockfileVersion,omitempty"`
	// Frozen says that Install fails rather than change the lockfile, so that
	// its result follows from the lockfile and package.json alone.
	Frozen bool `json:"frozen,omitempty"`
	// Workspace says that several packages are installed together, each with a
	// node_modules of its own.
	Workspace bool `json:"workspace,omitempty"`

	// Install brings the dependencies, run in InstallDir; nil means there is
	// nothing to install.
	Install []string `json:"install,omitempty"`
	// InstallDir is Root, or the folder above it that has the lockfile.
	InstallDir string `json:"installDir"`
	// Reusable says that the node_modules of an Install can stand in for the next
	// one that has the same InstallInputs (paths from the top), the same
	// toolchain and the same variables. InstallScripts are then still to be run,
	// in InstallDir, since they may look at any file of the project.
	Reusable       bool       `json:"reusable,omitempty"`
	InstallInputs  []string   `json:"installInputs,omitempty"`
	InstallScripts [][]string `json:"installScripts,omitempty"`
	// Build makes the output, run in Root; nil means the files are the site.
	Build []string `json:"build,omitempty"`
	// Root is the project's folder from the top, "." when it is the top.
	Root string `json:"root"`

	// OutputDirs are where the output may be, likeliest first, relative to Root.
	OutputDirs []string `json:"outputDirs"`
	// ServerDirs betray, when they exist after the build, that it made a
	// program for a server rather than files; relative to Root.
	ServerDirs []string `json:"serverDirs,omitempty"`
	// NoOutput is what to do when no output folder appeared: one sentence.
	NoOutput string `json:"noOutput,omitempty"`

	// Worker says where the build's server code is found; nil for sites of files
	// only.
	Worker *WorkerPlan `json:"worker,omitempty"`

	// Env is set for Install and Build. The project's own variables win.
	Env map[string]string `json:"env"`

	// HTMLHandling and NotFoundHandling are how the site's files are served,
	// unless the settings of a worker say otherwise.
	HTMLHandling     string `json:"htmlHandling"`
	NotFoundHandling string `json:"notFoundHandling"`
	// HTMLChosen and NotFoundChosen say that slipway.json decides them, whatever
	// the settings of a worker say.
	HTMLChosen     bool `json:"htmlChosen,omitempty"`
	NotFoundChosen bool `json:"notFoundChosen,omitempty"`

	// Notes are lines for the build log: choices the owner may want to know of.
	Notes []string `json:"notes,omitempty"`
}

// NeedsSandbox says whether anything of the project has to run.
// Bundling a worker does: it is the project's code that decides what it takes.
func (p Plan) NeedsSandbox() bool { return p.Install != nil || p.Build != nil || p.Worker != nil }

// Detect says how the project is built and served. What the project gets wrong
// (a broken package.json, an unknown key in slipway.json, nothing to serve) is a
// CodeValidation error that says what to change; an error of Files is passed on.
func Detect(files Files) (Plan, error) {
	settings, err := readSettings(files)
	if err != nil {
		return Plan{}, err
	}
	p := project{files: files, root: settings.root, settings: settings}
	if p.manifest, err = p.readManifest(); err != nil {
		return Plan{}, err
	}
	if err = p.readWrangler(); err != nil {
		return Plan{}, err
	}

	plan, err := p.recognize()
	if err != nil {
		return Plan{}, err
	}
	plan.Root = p.root
	if plan.InstallDir == "" {
		plan.InstallDir = p.root
	}
	if plan.HTMLHandling == "" {
		plan.HTMLHandling = HTMLAuto
	}
	if plan.Env == nil {
		plan.Env = map[string]string{}
	}
	for name, value := range commonEnv {
		if _, set := plan.Env[name]; !set {
			plan.Env[name] = value
		}
	}
	settings.override(&plan)
	if len(plan.OutputDirs) == 0 && (plan.Worker == nil || !plan.Worker.Required) {
		return Plan{}, models.Errorf(models.CodeValidation,
			"slipway.json: set outputDirectory, because which folder the build writes could not be recognized")
	}
	return plan, nil
}

// commonEnv tells tools that nobody is there to answer, and not to report home:
// a build reaches package registries only, so reports would just wait and fail.
var commonEnv = map[string]string{
	"CI":                          "true",
	"SLIPWAY":                     "1",
	"CLOUDFLARE_CF_FETCH_ENABLED": "false",
	"WRANGLER_SEND_METRICS":       "false",
	"ASTRO_TELEMETRY_DISABLED":    "1",
	"DO_NOT_TRACK":                "1",
	"GATSBY_TELEMETRY_DISABLED":   "1",
	"NEXT_TELEMETRY_DISABLED":     "1",
	"NG_CLI_ANALYTICS":            "false",
	"NUXT_TELEMETRY_DISABLED":     "1",
}

// project is a folder being looked at.
type project struct {
	files    Files
	root     string
	settings settings
	manifest *manifest // nil when there is no package.json
	// wrangler is nil when there is no wrangler file.
	wrangler     *bundle.Settings
	wranglerName string
}

func (p project) has(name string) bool { return p.files.Has(path.Join(p.root, name)) }

// read gives a file of the root, nil when it is not there.
func (p project) read(name string) ([]byte, error) {
	return readFile(p.files, path.Join(p.root, name))
}

func readFile(files Files, name string) ([]byte, error) {
	if !files.Has(name) {
		return nil, nil
	}
	content, err := files.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}

// recognize finds the rule for the project and what it says.
func (p project) recognize() (Plan, error) {
	settings := p.settings
	chosen, err := p.chooseRule(settings.framework)
	if err != nil {
		return Plan{}, err
	}
	switch {
	case chosen != nil && chosen.framework == static:
		return p.staticPlan()
	case chosen != nil:
		return p.plan(chosen)
	case settings.build.set && settings.output != "":
		return p.customPlan()
	case p.manifest != nil && p.manifest.Scripts["build"] != "":
		return p.plan(&nodeBuildRule)
	case settings.output != "" || p.staticDir() != "":
		return p.staticPlan()
	case p.workerEntry() != "":
		return p.plan(ruleNamed(plainWorker))
	case p.manifest != nil:
		return Plan{}, models.Errorf(models.CodeValidation,
			"There is nothing to deploy: package.json has no build script, and there is neither an index.html nor a wrangler.jsonc. Add a \"build\" script, or an index.html, or say in slipway.json how the project is built; a program for Node becomes a worker with a fetch handler and a wrangler.jsonc.")
	default:
		return Plan{}, models.Errorf(models.CodeValidation,
			"There is nothing to deploy: there is no package.json, no index.html and no wrangler.jsonc%s. Add one, or say in slipway.json where they are (rootDirectory, outputDirectory).", p.where())
	}
}

func (p project) where() string {
	if p.root == "." {
		return ""
	}
	return " in " + p.root
}

// plan is what a rule says about this project.
func (p project) plan(r *rule) (Plan, error) {
	plan := Plan{
		Framework: r.framework, Title: r.title,
		OutputDirs: append([]string(nil), r.outputs...), ServerDirs: append([]string(nil), r.serverDirs...),
		NoOutput: r.noOutput, NotFoundHandling: r.notFound, Env: map[string]string{},
	}
	for name, value := range r.env {
		plan.Env[name] = value
	}
	if p.manifest != nil {
		if err := p.planInstall(&plan); err != nil {
			return Plan{}, err
		}
	}
	p.planWorker(&plan, r)
	if p.manifest != nil && !p.settings.build.set {
		if err := p.planBuild(&plan, r); err != nil {
			return Plan{}, err
		}
	}
	if r.refine != nil {
		if err := r.refine(p, &plan); err != nil {
			return Plan{}, err
		}
	}
	return plan, nil
}

// planBuild runs the project's own script where it makes what we can serve,
// else the framework's command itself.
func (p project) planBuild(plan *Plan, r *rule) error {
	command := r.command
	if plan.Worker != nil && r.worker.command != nil {
		command = r.worker.command
	}
	for _, name := range r.buildScripts() {
		script := p.manifest.Scripts[name]
		switch {
		case script == "":
		case plan.Worker != nil && r.worker.command != nil && !mentions(script, command[0]):
		case (r.bare || command != nil) && deploysByItself.MatchString(script):
			plan.Notes = append(plan.Notes, fmt.Sprintf("The script %q of package.json calls wrangler (%s), which is not done here: it is not run.", name, script))
		default:
			plan.Build = runScript(plan.PackageManager, name)
			return nil
		}
	}
	switch {
	case command != nil:
		plan.Build = runTool(plan.PackageManager, command)
	case !r.bare:
		return models.Errorf(models.CodeValidation, "package.json has no %q script: add one, or set buildCommand in slipway.json.", r.buildScripts()[0])
	}
	return nil
}

// customPlan is for a project that is told everything by slipway.json.
func (p project) customPlan() (Plan, error) {
	plan := Plan{Framework: "custom", Title: "Custom build", NotFoundHandling: NotFoundPage}
	if p.manifest == nil {
		return plan, nil
	}
	return plan, p.planInstall(&plan)
}

func (p project) staticPlan() (Plan, error) {
	plan := Plan{Framework: static, Title: "Static files", NotFoundHandling: NotFoundPage}
	if dir := p.staticDir(); dir != "" {
		plan.OutputDirs = []string{dir}
	}
	if p.settings.framework != static && p.settings.output == "" {
		p.planStaticWorker(&plan)
	}
	return plan, nil
}

// staticDir is the folder with the start page of a project that is not built.
func (p project) staticDir() string {
	if dir := p.wranglerFiles(); dir != "" {
		return dir
	}
	for _, dir := range []string{".", "public", "dist", "build", "out", "_site", "site", "www", "docs"} {
		if p.has(path.Join(dir, "index.html")) {
			return dir
		}
	}
	return ""
}
