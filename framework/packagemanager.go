package framework

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// The package managers of the toolchain.
const (
	NPM  = "npm"
	PNPM = "pnpm"
	Yarn = "yarn"
	Bun  = "bun"
)

// lockfiles are looked for in this order where a project has several and its
// packageManager field does not decide: npm's last, because a stray npm install
// in a project of another package manager leaves one behind.
var lockfiles = []struct{ name, manager string }{
	{"bun.lock", Bun},
	{"bun.lockb", Bun},
	{"pnpm-lock.yaml", PNPM},
	{"yarn.lock", Yarn},
	{"npm-shrinkwrap.json", NPM},
	{"package-lock.json", NPM},
}

// planInstall chooses package manager, lockfile and install command.
func (p project) planInstall(plan *Plan) error {
	named, berry := p.namedManager()
	plan.PackageManager = named
	dir, found := p.findLockfiles()
	var present []string
	for _, lockfile := range found {
		present = append(present, lockfile.name)
		if plan.Lockfile == "" && (lockfile.manager == named || !manages(found, named)) {
			plan.PackageManager = lockfile.manager
			plan.Lockfile = path.Join(dir, lockfile.name)
		}
	}
	if len(present) > 1 {
		plan.Notes = append(plan.Notes, "There are several lockfiles ("+strings.Join(present, ", ")+"): "+path.Base(plan.Lockfile)+" is used.")
	}
	if named != "" && named != plan.PackageManager {
		plan.Notes = append(plan.Notes, "package.json names "+named+" as packageManager, but the lockfile is "+path.Base(plan.Lockfile)+": "+plan.PackageManager+" is used.")
	}
	if plan.PackageManager == "" {
		plan.PackageManager = NPM
	}
	plan.InstallDir = dir
	plan.Workspace = dir != p.root || p.manifest.Workspaces || p.has("pnpm-workspace.yaml")

	if plan.Lockfile == "" {
		if len(p.manifest.Dependencies) == 0 && !plan.Workspace {
			return nil
		}
		plan.Notes = append(plan.Notes, "There is no lockfile: the newest matching versions are installed, which may differ next time. Commit the lockfile to get the same ones again.")
	} else if err := p.readLockfile(plan, &berry); err != nil {
		return err
	}
	if plan.PackageManager == Yarn && berry {
		if plan.Env == nil {
			plan.Env = map[string]string{}
		}
		plan.Env["SLIPWAY_YARN"] = "berry"
		// Plug'n'Play keeps packages outside the project, where an install
		// cannot be kept for the next build.
		plan.Env["YARN_NODE_LINKER"] = "node-modules"
	}
	plan.Install = installCommand(plan.PackageManager, plan.Frozen, berry)
	return p.planReuse(plan)
}

// namedManager reads the packageManager field: name@version.
func (p project) namedManager() (name string, berry bool) {
	name, version, _ := strings.Cut(p.manifest.PackageManager, "@")
	switch name {
	case NPM, PNPM, Bun:
		return name, false
	case Yarn:
		major, _, _ := strings.Cut(version, ".")
		number, err := strconv.Atoi(major)
		return name, err == nil && number >= 2
	}
	return "", false
}

type lockfile struct{ name, manager string }

// findLockfiles looks in the root and then, as package managers do, in the
// folders above it.
func (p project) findLockfiles() (dir string, found []lockfile) {
	for dir = p.root; ; dir = path.Dir(dir) {
		for _, candidate := range lockfiles {
			if p.files.Has(path.Join(dir, candidate.name)) {
				found = append(found, lockfile(candidate))
			}
		}
		if len(found) > 0 {
			return dir, found
		}
		if dir == "." {
			return p.root, nil
		}
	}
}

func manages(found []lockfile, manager string) bool {
	for _, lockfile := range found {
		if lockfile.manager == manager {
			return true
		}
	}
	return false
}

var (
	pnpmLockVersion = regexp.MustCompile(`(?m)^lockfileVersion:\s*['"]?([0-9.]+)`)
	yarnLockVersion = regexp.MustCompile(`(?m)^__metadata:\s*\n\s+version:\s*['"]?([0-9]+)`)
)

// readLockfile sets LockfileVersion and whether the pinned package manager can
// go by the lockfile without rewriting it.
func (p project) readLockfile(plan *Plan, berry *bool) error {
	plan.Frozen = true
	if strings.HasSuffix(plan.Lockfile, ".lockb") {
		return nil // binary
	}
	content, err := readFile(p.files, plan.Lockfile)
	if err != nil {
		return err
	}
	name := path.Base(plan.Lockfile)
	if bytes.Contains(content, []byte("\n<<<<<<< ")) {
		return models.Errorf(models.CodeValidation, "%s has unresolved merge conflicts: resolve them, run %s install, and deploy again.", name, plan.PackageManager)
	}
	switch plan.PackageManager {
	case NPM:
		var lock struct {
			LockfileVersion json.Number `json:"lockfileVersion"`
		}
		if err := json.Unmarshal(trimBOM(content), &lock); err != nil {
			return models.Wrap(models.CodeValidation, err, name+" is not valid JSON: make it again with npm install.")
		}
		plan.LockfileVersion = lock.LockfileVersion.String()
	case PNPM:
		plan.LockfileVersion = firstMatch(pnpmLockVersion, content)
		if major, _, _ := strings.Cut(plan.LockfileVersion, "."); major != "9" {
			plan.thaw("is of format " + orUnknown(plan.LockfileVersion) + ", which pnpm 10 does not read (it reads 9)")
		}
	case Yarn:
		plan.LockfileVersion = firstMatch(yarnLockVersion, content)
		*berry = plan.LockfileVersion != ""
		if *berry && plan.LockfileVersion != "8" {
			plan.thaw("is of format " + plan.LockfileVersion + ", which Yarn 4 converts to 8 first")
		}
		if !*berry {
			plan.LockfileVersion = "1"
		}
	case Bun:
		plan.LockfileVersion = firstMatch(bunLockVersion, content)
	}
	return nil
}

var bunLockVersion = regexp.MustCompile(`"lockfileVersion":\s*([0-9]+)`)

// thaw gives up going strictly by the lockfile and says why.
func (p *Plan) thaw(why string) {
	p.Frozen = false
	p.Notes = append(p.Notes, path.Base(p.Lockfile)+" "+why+": versions may differ from it. Update it with a newer "+p.PackageManager+".")
}

func firstMatch(pattern *regexp.Regexp, content []byte) string {
	match := pattern.FindSubmatch(content)
	if match == nil {
		return ""
	}
	return string(match[1])
}

func orUnknown(version string) string {
	if version == "" {
		return "unknown"
	}
	return version
}

// installCommand asks for development dependencies by name: a NODE_ENV of
// "production" among the project's variables would leave the build tools out.
func installCommand(manager string, frozen, berry bool) []string {
	switch manager {
	case PNPM:
		return []string{PNPM, "install", pick(frozen, "--frozen-lockfile", "--no-frozen-lockfile"), "--prod=false"}
	case Yarn:
		if berry {
			return []string{Yarn, "install", pick(frozen, "--immutable", "--no-immutable")}
		}
		return append([]string{Yarn, "install", "--non-interactive", "--production=false"}, only(frozen, "--frozen-lockfile")...)
	case Bun:
		return append([]string{Bun, "install"}, only(frozen, "--frozen-lockfile")...)
	default:
		return []string{NPM, pick(frozen, "ci", "install"), "--include=dev", "--no-audit", "--no-fund"}
	}
}

func pick(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func only(condition bool, flag string) []string {
	if condition {
		return []string{flag}
	}
	return nil
}

// runScript runs a script of package.json.
func runScript(manager, name string) []string { return []string{manager, "run", name} }

// runTool runs a program of node_modules/.bin, never one fetched for the purpose.
func runTool(manager string, command []string) []string {
	var prefix []string
	switch manager {
	case PNPM:
		prefix = []string{PNPM, "exec"}
	case Yarn:
		prefix = []string{Yarn, "run"}
	case Bun:
		prefix = []string{Bun, "x", "--no-install"}
	default:
		prefix = []string{NPM, "exec", "--no", "--"}
	}
	return append(prefix, command...)
}
