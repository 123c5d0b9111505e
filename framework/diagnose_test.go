package framework_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
)

func TestDiagnose_usualCauses(t *testing.T) {
	npm := framework.Plan{PackageManager: "npm", Lockfile: "package-lock.json"}
	cases := []struct {
		name, step, output string
		cause, advice      string
	}{
		{"npm missing script", "build", `npm error Missing script: "build"`, "missing_script", `no script named "build"`},
		{"pnpm missing script", "build", " ERR_PNPM_NO_SCRIPT  Missing script: build", "missing_script", `"build"`},
		{"yarn missing script", "build", `error Command "build" not found.`, "missing_script", `"build"`},
		{"bun missing script", "build", `error: Script not found "build"`, "missing_script", `"build"`},
		{"npm lockfile out of sync", "install", "npm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync. Please update your lock file", "lockfile_out_of_sync", "npm install and deploy again with the changed package-lock.json"},
		{"pnpm lockfile out of sync", "install", ` ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date`, "lockfile_out_of_sync", "does not match"},
		{"yarn lockfile out of sync", "install", "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.", "lockfile_out_of_sync", "does not match"},
		{"berry lockfile out of sync", "install", "➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.", "lockfile_out_of_sync", "does not match"},
		{"bun lockfile out of sync", "install", "error: lockfile had changes, but lockfile is frozen", "lockfile_out_of_sync", "does not match"},
		{"npm no lockfile", "install", "npm error The `npm ci` command can only install with an existing package-lock.json or", "lockfile_missing", "deploy the lockfile"},
		{"heap", "build", "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "out_of_memory", "memory"},
		{"disk", "build", "Error: ENOSPC: no space left on device, write", "disk_full", "more than a build may"},
		{"processes", "build", "sh: 1: fork: Resource temporarily unavailable", "too_many_processes", "processes"},
		{"dash command not found", "build", "sh: 1: vite: not found", "command_not_found", "not installed: vite"},
		{"bash command not found", "build", "bash: line 1: astro: command not found", "command_not_found", "not installed: astro"},
		{"bun command not found", "build", "/bin/bash: tsc: command not found", "command_not_found", "not installed: tsc"},
		{"npm exec", "build", "npm error npx canceled due to missing packages and no YES option: [\"vite@8.0.0\"]", "command_not_found", "not installed: add"},
		{"vite import", "build", `[vite]: Rollup failed to resolve import "lodash" from "/workspace/src/main.ts".`, "module_not_found", `"lodash" cannot be found`},
		{"node module", "build", "Error: Cannot find module 'left-pad'", "module_not_found", `"left-pad"`},
		{"webpack module", "build", "Module not found: Error: Can't resolve './Header' in '/workspace/src'", "module_not_found", `"./Header"`},
		{"typescript", "build", "src/App.tsx(12,7): error TS2322: Type 'string' is not assignable to type 'number'.", "type_error", "in src/App.tsx"},
		{"lint warnings", "build", "Treating warnings as errors because process.env.CI = true.", "lint_warnings", "CI to false"},
		{"peers", "install", "npm error code ERESOLVE", "peer_conflict", "legacy-peer-deps"},
		{"peers warned about", "install", "npm warn ERESOLVE overriding peer dependency", "command_failed", "last lines"},
		{"registry refused", "install", "npm error code E403", "registry_refused", "private packages need a token"},
		{"pnpm registry refused", "install", " ERR_PNPM_FETCH_403  GET https://example.com/x.tgz: Forbidden - 403", "registry_refused", "no other addresses"},
		{"yarn registry refused", "install", `error An unexpected error occurred: "https://example.com/x.tgz: tunneling socket could not be established, statusCode=403".`, "registry_refused", "no other addresses"},
		{"berry registry refused", "install", "➤ YN0001: │ RequestError: Bad response: 403", "registry_refused", "no other addresses"},
		{"bun registry refused", "install", "error: ProxyConnectFailed (403) downloading tarball x@https://example.com/x.tgz", "registry_refused", "no other addresses"},
		{"file too large", "build", "Error: EFBIG: file too large, ftruncate", "disk_full", "more than a build may"},
		{"registry away", "install", "npm error code ECONNREFUSED", "registry_unreachable", "allowed registries"},
		{"no such version", "install", "npm error notarget No matching version found for react@99.0.0.", "package_not_found", "registry: react@99.0.0: check"},
		{"install script's download", "install", "npm error sharp: Downloading https://github.com/lovell/sharp-libvips/releases/download/v8.14.5/libvips-8.14.5-linux-x64.tar.br", "install_download", "libvips-8.14.5"},
		{"git", "install", "npm error fatal: Could not resolve host: github.com", "git_dependency", "published version"},
		{"network in the build", "build", "TypeError: fetch failed", "network_in_build", "package registries only"},
		{"openssl", "build", "Error: error:0308010C:digital envelope routines::unsupported", "openssl", "openssl-legacy-provider"},
		{"astro adapter", "build", "\x1b[31m[NoAdapterInstalled]\x1b[39m Cannot use server-rendered pages without an adapter.", "adapter_missing", "@astrojs/cloudflare"},
		{"sveltekit adapter", "build", "Error: Could not detect a supported production environment. See https://svelte.dev/docs/kit/adapters", "adapter_missing", "@sveltejs/adapter-cloudflare"},
		{"opennext config", "build", "Error: No `open-next.config.ts` file was found in the project root.", "worker_settings_missing", "opennextjs-cloudflare migrate"},
		{"opennext without wrangler file", "build", "Error: No `wrangler.(toml|json|jsonc)` config file found.", "worker_settings_missing", "opennextjs-cloudflare migrate"},
		{"sveltekit settings", "build", "Error: You must specify the `assets.directory` key in /workspace/wrangler.jsonc. Consult https://developers.cloudflare.com", "worker_settings", "agree with assets.directory in"},
		{"vite plugin main", "build", "Error: The provided Wrangler config main field (/workspace/src/nowhere.js) doesn't point to an existing file", "worker_main_missing", "wrangler.jsonc, nowhere.js, is not there"},
		{"prerendering runtime", "build", "MiniflareCoreError [ERR_RUNTIME_FAILURE]: The Workers runtime failed to start.", "worker_runtime", "prerender = false"},
		{"coloured", "build", "\x1b[31msh: 1: \x1b[1mvite\x1b[0m: not found", "command_not_found", "vite"},
		{"unusual", "build", "it is raining", "command_failed", "last lines"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := framework.Diagnose(framework.Failure{
				Step: c.step, Command: "npm run build", ExitCode: 1, Plan: npm,
				Tail: []string{"> something before", c.output, "something after"},
			})
			require.Equal(t, c.cause, got.Cause)
			require.Contains(t, got.Advice, c.advice)
			require.NotRegexp(t, `[$]\(|[$]\d|\{pm\}|\{lock\}`, got.Advice)
			require.Len(t, got.Tail, 3)
			require.NotContains(t, strings.Join(got.Tail, ""), "\x1b")
		})
	}
}

func TestDiagnose_limitsComeFirst(t *testing.T) {
	for limit, cause := range map[string]string{"memory": "out_of_memory", "pids": "too_many_processes", "disk": "disk_full", "timeout": "timeout"} {
		got := framework.Diagnose(framework.Failure{Step: "build", LimitHit: limit, ExitCode: 1, Tail: []string{`npm error Missing script: "build"`}})
		require.Equal(t, cause, got.Cause)
		require.NotEmpty(t, got.Advice)
	}
}

func TestDiagnose_exitCodesSpeakWhenOutputDoesNot(t *testing.T) {
	for code, cause := range map[int]string{137: "out_of_memory", 127: "command_not_found", 126: "command_not_executable", 1: "command_failed"} {
		require.Equal(t, cause, framework.Diagnose(framework.Failure{Step: "build", ExitCode: code}).Cause)
	}
}

func TestDiagnose_noOutputUsesTheFrameworksOwnAdvice(t *testing.T) {
	plan := detect(t, memory{"package.json": `{"scripts":{"build":"next build"},"dependencies":{"next":"16"}}`})
	got := framework.Diagnose(framework.Failure{Step: "collect", Plan: plan})
	require.Equal(t, "no_output", got.Cause)
	require.Contains(t, got.Advice, `output: "export"`)
}

func FuzzDiagnose(f *testing.F) {
	f.Add("build", `npm error Missing script: "{pm}$1$(x)"`, 1)
	f.Add("install", "\x1b]8;;http://x\x07Could not resolve \"a\"", 137)
	f.Fuzz(func(t *testing.T, step, output string, code int) {
		got := framework.Diagnose(framework.Failure{Step: step, ExitCode: code, Tail: strings.Split(output, "\n")})
		require.NotEmpty(t, got.Cause)
		require.NotEmpty(t, got.Advice)
		require.LessOrEqual(t, len(got.Advice), 1024)
	})
}
