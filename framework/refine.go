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

// A fallback page named index.html is SvelteKit's way to say single page.
var svelteFallback = regexp.MustCompile(`fallback\s*:\s*['"]index\.html['"]`)

func refineSvelteKit(p project, plan *Plan) error {
	for _, name := range []string{"svelte.config.js", "svelte.config.ts", "svelte.config.mjs"} {
		config, err := p.read(name)
		if err != nil {
			return err
		}
		if svelteFallback.Match(config) {
			plan.NotFoundHandling = NotFoundSPA
		}
	}
	return nil
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
