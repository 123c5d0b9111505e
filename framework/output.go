package framework

import (
	"path"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// FindOutput says where the build put a site of files, relative to the top of
// the project, once it is known that it left no worker. exists answers for such
// a path whether it is a folder with something in it. When there is none, when
// only a worker would do, or when the build made a program for a server, the
// error is CodeBuildFailed and its message says what to do.
func FindOutput(plan Plan, exists func(dir string) bool) (string, error) {
	if plan.Worker != nil && plan.Worker.Required {
		return "", models.Errorf(models.CodeBuildFailed, "The build ended well but left no worker%s. %s", plan.Worker.lookedFor(), plan.noOutputAdvice())
	}
	for _, dir := range plan.ServerDirs {
		if exists(path.Join(plan.Root, dir)) {
			return "", models.Errorf(models.CodeBuildFailed, "The build made a program for a server (%s). %s", dir, plan.noOutputAdvice())
		}
	}
	for _, dir := range plan.OutputDirs {
		if found := path.Join(plan.Root, dir); exists(found) {
			return found, nil
		}
	}
	return "", models.Errorf(models.CodeBuildFailed, "The build ended well but left no output: looked for %s. %s",
		strings.Join(plan.OutputDirs, ", "), plan.noOutputAdvice())
}

// lookedFor names the places, for a message.
func (w WorkerPlan) lookedFor() string {
	var places []string
	if w.Settings != "" {
		places = append(places, "what "+w.Settings+" names")
	}
	for _, output := range w.Outputs {
		places = append(places, output.Main)
	}
	if places == nil {
		return ""
	}
	return ": looked for " + strings.Join(places, ", ")
}

func (p Plan) noOutputAdvice() string {
	if p.NoOutput != "" {
		return p.NoOutput
	}
	return "Set outputDirectory in slipway.json to the folder that the build writes."
}

// Published says whether a file is part of the site, by its path within the
// output folder. When that folder is the project's root, what makes the project
// but not the site is left out: dot files (except .well-known), node_modules,
// package.json, lockfiles, slipway.json and wrangler's settings.
func Published(plan Plan, outputDir, name string) bool {
	if path.Clean(outputDir) != plan.Root {
		return true
	}
	first, _, nested := strings.Cut(name, "/")
	for _, segment := range strings.Split(name, "/") {
		if segment == "node_modules" {
			return false
		}
		if strings.HasPrefix(segment, ".") && segment != ".well-known" {
			return false
		}
	}
	return nested || !projectFiles[first]
}

// projectFiles are the files at a root that say how a project is built.
var projectFiles = map[string]bool{
	"wrangler.json": true, "wrangler.jsonc": true, "wrangler.toml": true, "_worker.js": true,
	SettingsFile: true, "package.json": true, "package-lock.json": true, "npm-shrinkwrap.json": true,
	"pnpm-lock.yaml": true, "pnpm-workspace.yaml": true, "yarn.lock": true, "bun.lock": true, "bun.lockb": true,
}
