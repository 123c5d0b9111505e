package framework

import (
	"regexp"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// The phases of a build, as models.Diagnosis names them.
const (
	PhaseInstall = "install"
	PhaseBuild   = "build"
	PhaseCollect = "collect"
)

// Failure is how a phase failed.
type Failure struct {
	// Step is PhaseInstall, PhaseBuild or PhaseCollect.
	Step     string
	Command  string
	ExitCode int
	// Tail is the last lines of output, oldest first. Terminal colours are allowed.
	Tail []string
	// LimitHit names the limit that ended the command: memory, pids, disk,
	// timeout; "" when none is known.
	LimitHit string
	// Plan is what was being carried out.
	Plan Plan
}

// limitAdvice is for failures whose cause the sandbox knows.
var limitAdvice = map[string]struct{ cause, advice string }{
	"memory":  {"out_of_memory", outOfMemory},
	"pids":    {"too_many_processes", tooManyProcesses},
	"disk":    {"disk_full", diskFull},
	"timeout": {"timeout", "It took longer than a build may: look in the log for the step it hangs in; a command that watches files or waits for an answer never ends."},
}

const (
	outOfMemory      = "It needed more memory than a build may use: process less at once (large images, source maps), or lower NODE_OPTIONS=--max-old-space-size when it is set."
	tooManyProcesses = "It started more processes than a build may: lower the number of parallel workers."
	diskFull         = "It wrote more than a build may: remove large dependencies and files from the project, or write less."
)

// symptom is one usual cause and how it looks in the output. $1, $2 in the
// advice are what the pattern captured; {pm} is the package manager and {lock}
// its lockfile.
type symptom struct {
	cause   string
	step    string // "" in any
	pattern *regexp.Regexp
	advice  string
}

func look(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?i)` + pattern) }

// symptoms are tried in order; the first that any line shows is the cause, so
// what is certain and particular comes before what may just follow from it.
var symptoms = []symptom{
	{"out_of_memory", "", look(`JavaScript heap out of memory|Reached heap limit|Cannot allocate memory|\bENOMEM\b|std::bad_alloc`), outOfMemory},
	{"disk_full", "", look(`\bENOSPC\b|\bEFBIG\b|No space left on device|Disk quota exceeded`), diskFull},
	{"too_many_processes", "", look(`spawn \S+ EAGAIN|fork: (retry: )?Resource temporarily unavailable|can't fork|pthread_create: Resource temporarily unavailable|failed to spawn thread`), tooManyProcesses},

	{"lockfile_out_of_sync", PhaseInstall, look(`can only install packages when your package\.json and package-lock\.json.*are in sync|ERR_PNPM_OUTDATED_LOCKFILE|Your lockfile needs to be updated|lockfile had changes, but lockfile is frozen|YN0028|lockfile would have been (modified|created)`),
		"The lockfile does not match package.json: run {pm} install and deploy again with the changed {lock}."},
	{"lockfile_missing", PhaseInstall, look(`can only install with an existing package-lock|ERR_PNPM_NO_LOCKFILE|lockfile not found`),
		"There is no lockfile to install from: run {pm} install and deploy the lockfile it writes."},
	{"lockfile_broken", PhaseInstall, look(`ERR_PNPM_BROKEN_LOCKFILE|Unknown token: .*yarn\.lock|InvalidLockfile|failed to parse lockfile`),
		"The lockfile cannot be read: make it again with {pm} install and deploy it."},
	{"peer_conflict", PhaseInstall, look(`(?:ERR!|error) (?:code )?ERESOLVE`),
		"Two packages want different versions of a third: bring them to matching versions (the lines above name them), or add a .npmrc with legacy-peer-deps=true."},
	{"integrity", PhaseInstall, look(`\bEINTEGRITY\b|ERR_PNPM_TARBALL_INTEGRITY|Integrity check failed`),
		"A package is not the one the lockfile was made with: delete {lock} and node_modules, run {pm} install, and deploy the new lockfile."},
	{"install_download", PhaseInstall, look(`(https?://\S+/releases/download/\S+|https?://nodejs\.org/(?:dist|download/release)/\S+)|(?:ENOTFOUND|EAI_AGAIN) (github\.com|nodejs\.org)`),
		"A package's install script downloads from elsewhere$(: $1), which builds cannot reach: use a version of that package which has its binary in the package registry."},
	{"package_not_found", PhaseInstall, look(`404 Not Found - GET \S+/([^/\s]+) |'([^']+@[^']+)' is not in this registry|No matching version found for (\S+[^.\s])|ERR_PNPM_(?:FETCH_404|NO_MATCHING_VERSION)|\bETARGET\b|error: (?:GET \S+ - 404|No version matching)`),
		"A package or version does not exist in the registry$(: $1): check its name and version in package.json, and that it is not private."},
	{"registry_refused", PhaseInstall, look(`\bE40[13]\b|ERR_PNPM_FETCH_40[13]|401 Unauthorized|403 Forbidden|tunnel(ing|ling)? .*(403|could not be established)|HTTP Tunneling|ProxyConnectFailed|Bad response: 40[13]`),
		"A download was refused: builds reach only the allowed package registries, no other addresses, and private packages need a token in .npmrc that comes from a variable of the project."},
	{"registry_unreachable", PhaseInstall, look(`\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|UND_ERR_CONNECT_TIMEOUT|ERR_PNPM_META_FETCH_FAIL)\b|ConnectionRefused|network (request|connectivity)`),
		"The package registry could not be reached: only the allowed registries can be, so look for other hosts in .npmrc, in the lockfile and in dependencies given by address; otherwise deploy again."},
	{"git_dependency", PhaseInstall, look(`git ls-remote|Could not resolve host: |spawn git ENOENT|ERR_PNPM_GIT`),
		"A dependency comes from a git address, which builds cannot reach: use a published version of it."},
	{"native_addon", PhaseInstall, look(`\bgyp ERR!|node-pre-gyp ERR!|prebuild-install (warn|ERR)`),
		"A dependency has to be compiled and could not be: use a version that ships a prebuilt binary for Node 22 on Linux."},
	{"wrong_platform", PhaseInstall, look(`\bEBADPLATFORM\b|ERR_PNPM_UNSUPPORTED_PLATFORM`),
		"A dependency is for another operating system or processor: make it an optional dependency."},
	{"wrong_node", "", look(`(?:ERR!|error) code EBADENGINE|ERR_PNPM_UNSUPPORTED_ENGINE|The engine "node" is incompatible|requires (?:a )?Node(?:\.js)? (?:version )?\S+`),
		"It asks for another version of Node: builds run with Node 22."},

	{"adapter_missing", PhaseBuild, look(`\[?NoAdapterInstalled|Cannot use server-rendered pages without an adapter|no-adapter-installed`),
		"Pages rendered on a server need an adapter: add @astrojs/cloudflare to the dependencies and to astro.config, or leave prerender = false and output: \"server\" out."},
	{"adapter_missing", PhaseBuild, look(`Could not detect a supported production environment`),
		"adapter-auto knows no adapter to use: use @sveltejs/adapter-cloudflare in svelte.config.js, or @sveltejs/adapter-static for a site of files."},
	{"worker_settings_missing", PhaseBuild, look("No `(?:open-next\\.config\\.ts|wrangler\\.\\(toml.json.jsonc\\))` "),
		"OpenNext needs open-next.config.ts and wrangler.jsonc beside package.json: run npx opennextjs-cloudflare migrate at home, and deploy what it writes."},
	{"worker_settings", PhaseBuild, look("You must (?:specify|remove) .*`(assets\\.directory|assets\\.binding|main|site)` key"),
		`SvelteKit's adapter does not agree with $1 in wrangler.jsonc: main is .svelte-kit/cloudflare/_worker.js, and assets is {"directory": ".svelte-kit/cloudflare", "binding": "ASSETS"}; or leave the file out.`},
	{"worker_main_missing", PhaseBuild, look(`Wrangler config main field \((?:\S*/)?([^)/]+)\) doesn't point to an existing file`),
		"The main in wrangler.jsonc, $1, is not there: check that it was sent, and that upper and lower case match."},
	{"worker_runtime", PhaseBuild, look(`Workers runtime failed to start|MiniflareCoreError|ERR_RUNTIME_FAILURE`),
		"The Workers runtime that the build starts by itself, to make pages in advance, did not run: bring wrangler and the adapter to their newest versions, or render those pages on the server (prerender = false)."},

	{"missing_script", PhaseBuild, look(`Missing script: "?([^"\s]+)"?|ERR_PNPM_NO_SCRIPT\S*\s+Missing script: (\S+)|Command "([^"]+)" not found|Couldn't find a script named "([^"]+)"|error: Script not found "([^"]+)"`),
		`package.json has no script named "$1": add it under scripts, or set buildCommand in slipway.json.`},
	{"command_not_found", "", look(`(?:sh|bash)(?:: line)?(?::? ?\d+)?: ([^\s:]+): (?:command )?not found|command not found: (\S+)|npx canceled due to missing packages|ERR_PNPM_RECURSIVE_EXEC_FIRST_FAIL\S*\s+Command "(\S+)" not found|error: could not determine executable`),
		"A command that the build runs is not installed$(: $1): add the package that has it to the dependencies, and deploy package.json with its lockfile."},
	{"lint_warnings", PhaseBuild, look(`Treating warnings as errors because process\.env\.CI`),
		"Lint warnings count as errors here: fix them, or set the variable CI to false."},
	{"module_not_found", "", look(`(?:Cannot find (?:module|package)|Can't resolve|Could not resolve|Failed to resolve import|Rollup failed to resolve import|Module not found: Error: Can't resolve|Cannot resolve) ["']([^"']+)["']`),
		`"$1" cannot be found: if it is a package, add it to the dependencies and deploy the lockfile with it; if it is a file, check that it was sent and that upper and lower case match.`},
	{"openssl", PhaseBuild, look(`ERR_OSSL_EVP_UNSUPPORTED|error:0308010C`),
		"A build tool is too old for Node 22: update it, or set the variable NODE_OPTIONS to --openssl-legacy-provider."},
	{"type_error", PhaseBuild, look(`([^\s(]+\.(?:tsx?|mts|cts|vue|svelte|astro))[(:]\d+[,:]\d+\)?\s*(?:-|:)?\s*error TS\d+|\berror TS\d+:|Type error: `),
		"The project has a type error$(in $1): the lines above say where; npx tsc --noEmit shows the same at home."},
	{"syntax_error", PhaseBuild, look(`SyntaxError: |PARSE_ERROR|Parse error|Transform failed with \d+ error|Unexpected token`),
		"A file cannot be parsed: the lines above say which and where."},
	{"network_in_build", PhaseBuild, look(`\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)\b|fetch failed|getaddrinfo`),
		"The build asked the network for something, and builds reach package registries only: fetch it before deploying and put it among the files."},
	{"missing_file", "", look(`\bENOENT\b.*open '([^']+)'|ENOENT: no such file or directory`),
		"A file that it needs is not there$(: $1): check that it was sent, and that upper and lower case match."},
	{"read_only", "", look(`\b(EROFS|EACCES|EPERM)\b`),
		"It tried to write or read where a build may not: keep to the project's folder and /tmp."},
}

// Killed by SIGKILL without a limit known is nearly always memory.
const exitKilled = 137

// Diagnose says what a failure most likely means and what to do. Cause and
// advice are never empty; an unusual failure gets a general advice.
func Diagnose(f Failure) models.Diagnosis {
	diagnosis := models.Diagnosis{Step: f.Step, Command: f.Command, ExitCode: f.ExitCode, Tail: plainLines(f.Tail)}
	diagnosis.Cause, diagnosis.Advice = f.cause(diagnosis.Tail)
	return diagnosis
}

func (f Failure) cause(lines []string) (cause, advice string) {
	if limit, known := limitAdvice[f.LimitHit]; known {
		return limit.cause, limit.advice
	}
	if f.Step == PhaseCollect {
		return "no_output", f.Plan.noOutputAdvice()
	}
	for _, symptom := range symptoms {
		if symptom.step != "" && symptom.step != f.Step {
			continue
		}
		if shown, captured := symptom.in(lines); shown {
			return symptom.cause, f.fill(symptom.advice, captured)
		}
	}
	switch f.ExitCode {
	case exitKilled:
		return "out_of_memory", outOfMemory
	case 127:
		return "command_not_found", f.fill("A command that the build runs is not installed: add the package that has it to the dependencies.", "")
	case 126:
		return "command_not_executable", "A command that the build runs is not executable: check the file's mode and its first line."
	}
	return "command_failed", "The command failed; the last lines of its output above say why, and running it at home should show the same."
}

// in says whether a line shows the symptom, and what the first line that names
// something names: a package manager's code often comes a line before the name.
func (s symptom) in(lines []string) (shown bool, captured string) {
	for _, line := range lines {
		match := s.pattern.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		shown = true
		if captured = firstCaptured(match); captured != "" {
			break
		}
	}
	return shown, captured
}

func firstCaptured(match []string) string {
	for _, group := range match[1:] {
		if group != "" {
			return group
		}
	}
	return ""
}

// An advice may have a part $(...) that stands only when something was captured.
var optional = regexp.MustCompile(`\$\(([^)]*)\)`)

func (f Failure) fill(advice, captured string) string {
	advice = optional.ReplaceAllStringFunc(advice, func(part string) string {
		if captured == "" {
			return ""
		}
		inner := part[2 : len(part)-1]
		if strings.HasPrefix(inner, ":") {
			return inner
		}
		return " " + inner
	})
	manager, lock := f.Plan.PackageManager, "lockfile"
	if manager == "" {
		manager = NPM
	}
	if f.Plan.Lockfile != "" {
		lock = f.Plan.Lockfile
	}
	// One pass, so that what a project's output put into the capture is not
	// itself filled in.
	return strings.NewReplacer("$1", shorten(captured), "{pm}", manager, "{lock}", lock).Replace(advice)
}

const maxCaptured = 120

func shorten(text string) string {
	runes := []rune(text)
	if len(runes) > maxCaptured {
		return string(runes[:maxCaptured]) + "…"
	}
	return text
}

// escapes are terminal control sequences (ECMA-48 CSI and OSC).
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\))")

// plainLines drops colours and control characters.
func plainLines(lines []string) []string {
	plain := make([]string, 0, len(lines))
	for _, line := range lines {
		line = escapes.ReplaceAllString(line, "")
		line = strings.Map(func(c rune) rune {
			if (c < 0x20 && c != '\t') || c == 0x7f {
				return -1
			}
			return c
		}, line)
		plain = append(plain, strings.ToValidUTF8(line, "�"))
	}
	return plain
}
