package framework

import (
	"bytes"
	"path"
	"strings"
)

// installInputs are the files that, besides the toolchain and the environment,
// decide what an install brings.
var installInputs = []string{
	"package.json", ".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".yarnrc", ".yarnrc.yml", "bunfig.toml",
}

// ownInstallScripts are those of a project's own that an install runs at its
// end, in order.
var ownInstallScripts = []string{"preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare"}

// planReuse says whether the installed node_modules can stand in for the next
// install with the same inputs, and what remains to be run then.
func (p project) planReuse(plan *Plan) error {
	if plan.Install == nil {
		return nil
	}
	plan.InstallInputs = append(plan.InstallInputs, only(plan.Lockfile != "", plan.Lockfile)...)
	for _, name := range installInputs {
		if input := path.Join(plan.InstallDir, name); p.files.Has(input) {
			plan.InstallInputs = append(plan.InstallInputs, input)
		}
	}
	for _, name := range ownInstallScripts {
		if p.manifest.Scripts[name] != "" {
			plan.InstallScripts = append(plan.InstallScripts, runScript(plan.PackageManager, name))
		}
	}
	plugins, err := p.hasYarnPlugins(plan.InstallDir)
	if err != nil {
		return err
	}
	plan.Reusable = plan.Frozen && !plan.Workspace && !plugins && !p.manifest.usesOwnFiles() &&
		!p.files.Has(path.Join(plan.InstallDir, ".pnpmfile.cjs"))
	return nil
}

// usesOwnFiles says whether an install takes in files of the project that no
// list of inputs names: packages from folders, and patches.
func (m *manifest) usesOwnFiles() bool {
	for _, from := range m.Dependencies {
		for _, prefix := range []string{"file:", "link:", "portal:", "patch:", "workspace:", "exec:", ".", "/", "~/"} {
			if strings.HasPrefix(from, prefix) {
				return true
			}
		}
	}
	for _, name := range ownInstallScripts {
		// It changes what an earlier run of it has changed already.
		if strings.Contains(m.Scripts[name], "patch-package") {
			return true
		}
	}
	return m.Patches
}

// Plugins of Yarn are programs in the project that may do anything in an install.
func (p project) hasYarnPlugins(dir string) (bool, error) {
	config, err := readFile(p.files, path.Join(dir, ".yarnrc.yml"))
	return bytes.Contains(config, []byte("plugins:")), err
}
