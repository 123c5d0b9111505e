package framework

import (
	"path"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// FindOutput says where the build put the site, relative to the top of the
// project. exists answers for such a path whether it is a folder with something
// in it. When there is none, or when the build made a program for a server, the
// error is CodeBuildFailed and its message says what to do.
func FindOutput(plan Plan, exists func(dir string) bool) (string, error) {
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

func (p Plan) noOutputAdvice() string {
	if p.NoOutput != "" {
		return p.NoOutput
	}
	return "Set outputDirectory in slipway.json to the folder that the build writes."
}

// Published says whether a file is part of the site, by its path within the
// output folder. When that folder is the project's root, what makes the project
// but not the site is left out: dot files (except .well-known), node_modules,
// package.json, lockfiles and slipway.json.
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
	SettingsFile: true, "package.json": true, "package-lock.json": true, "npm-shrinkwrap.json": true,
	"pnpm-lock.yaml": true, "pnpm-workspace.yaml": true, "yarn.lock": true, "bun.lock": true, "bun.lockb": true,
}
