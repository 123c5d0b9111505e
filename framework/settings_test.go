package framework_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
	"github.com/slipwayhq/slipway/models"
)

func TestSettings_overrideWhatWasDetected(t *testing.T) {
	plan := detect(t, memory{
		"package.json":      viteManifest,
		"package-lock.json": `{"lockfileVersion":3}`,
		"slipway.json": `{
			"$schema": "https://slipway.example/schema.json",
			"installCommand": "npm ci --omit=optional",
			"buildCommand": "npm run build -- --mode staging && cp -r extra site",
			"outputDirectory": "./site/",
			"node": "22",
			"assets": {"html_handling": "drop-trailing-slash", "not_found_handling": "404-page"}
		}`,
	})
	require.Equal(t, "vite", plan.Framework)
	require.Equal(t, []string{"sh", "-c", "npm ci --omit=optional"}, plan.Install)
	require.Equal(t, []string{"sh", "-c", "npm run build -- --mode staging && cp -r extra site"}, plan.Build)
	require.Equal(t, []string{"site"}, plan.OutputDirs)
	require.Equal(t, "drop-trailing-slash", plan.HTMLHandling)
	require.Equal(t, "404-page", plan.NotFoundHandling)
	require.False(t, plan.Frozen, "an install of the project's own does not follow from the lockfile")
}

func TestSettings_emptyCommandRunsNothing(t *testing.T) {
	plan := detect(t, memory{"package.json": viteManifest, "slipway.json": `{"installCommand":"","buildCommand":"","outputDirectory":"."}`})
	require.False(t, plan.NeedsSandbox())
	require.Equal(t, []string{"."}, plan.OutputDirs)
}

func TestSettings_canDescribeAnUnknownProject(t *testing.T) {
	plan := detect(t, memory{"build.sh": "", "slipway.json": `{"buildCommand":"sh build.sh","outputDirectory":"out"}`})
	require.Equal(t, "custom", plan.Framework)
	require.Equal(t, []string{"sh", "-c", "sh build.sh"}, plan.Build)
	require.Nil(t, plan.Install)

	plan = detect(t, memory{"pages/a.txt": "", "slipway.json": `{"outputDirectory":"pages"}`})
	require.Equal(t, "static", plan.Framework)
	require.Equal(t, []string{"pages"}, plan.OutputDirs)
}

func TestSettings_frameworkCanBeForced(t *testing.T) {
	plan := detect(t, memory{"package.json": viteManifest, "index.html": "", "slipway.json": `{"framework":"static"}`})
	require.Equal(t, "static", plan.Framework)
	plan = detect(t, memory{"package.json": viteManifest, "slipway.json": `{"framework":"node-build","buildCommand":"make"}`})
	require.Equal(t, "node-build", plan.Framework)
	require.Contains(t, refusal(t, memory{"index.html": "", "slipway.json": `{"framework":"vite"}`}), "needs a package.json")
	require.Contains(t, refusal(t, memory{"slipway.json": `{"framework":"static"}`}), "outputDirectory")
}

func TestSettings_refuseWhatTheyDoNotKnow(t *testing.T) {
	for content, want := range map[string]string{
		`{"buildComand":"x"}`:                     `unknown key "buildComand"`,
		`{"assets":{"htmlHandling":"none"}}`:      `unknown key "assets.htmlHandling"`,
		`{"BuildCommand":"x"}`:                    `unknown key "BuildCommand"`,
		`{"framework":"rails"}`:                   `"framework" must be one of next, nuxt`,
		`{"assets":{"not_found_handling":"spa"}}`: `"assets.not_found_handling" must be one of none, 404-page, single-page-application`,
		`{"assets":[]}`:                           `"assets" must be an object`,
		`{"buildCommand":["npm","run","build"]}`:  `"buildCommand" must be a string`,
		`{"node":"18"}`:                           `"node" must be "22"`,
		`{"outputDirectory":7}`:                   `"outputDirectory" must be a string`,
		`{"outputDirectory":""}`:                  `"outputDirectory" must not be empty`,
		`{"outputDirectory":"../.."}`:             `"outputDirectory" must not contain '..' segments`,
		`{"outputDirectory":"dist/../../etc"}`:    `"outputDirectory" must not contain '..' segments`,
		`{"outputDirectory":"/etc"}`:              `"outputDirectory" must be relative`,
		`{"outputDirectory":".//etc"}`:            `"outputDirectory" must be relative`,
		`{"outputDirectory":"a\\..\\..\\b"}`:      `"outputDirectory" must use forward slashes`,
		`{"outputDirectory":"a\u0000b"}`:          `"outputDirectory" must not contain a NUL byte`,
		`{"rootDirectory":"../other"}`:            `"rootDirectory" must not contain '..' segments`,
		`{"buildCommand":"a\u0000b"}`:             `"buildCommand" must not contain a NUL byte`,
		`[]`:                                      "not a valid JSON object",
		`null`:                                    "must be a JSON object",
		`{"buildCommand":"x",}`:                   "not a valid JSON object",
		``:                                        "not a valid JSON object",
		strings.Repeat(" ", 64<<10) + `{}`:        "larger than 64 KiB",
		`{"buildCommand":"` + strings.Repeat("x", 5000) + `"}`: "4096 bytes or less",
	} {
		message := refusal(t, memory{"package.json": viteManifest, "slipway.json": content})
		require.Contains(t, message, want)
		require.Contains(t, message, "slipway.json")
	}
}

// FuzzSettings holds that whatever slipway.json says, Detect answers with a plan
// that stays inside the project, or with a validation error.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"framework":"vite","outputDirectory":"dist","rootDirectory":"."}`))
	f.Add([]byte(`{"outputDirectory":"../.."}`))
	f.Add([]byte(`{"rootDirectory":"a/b","assets":{"html_handling":"none"}}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		checkPlan(t, memory{"package.json": viteManifest, "index.html": "", "slipway.json": string(content)})
	})
}

// FuzzDetect holds the same for the other files that are read.
func FuzzDetect(f *testing.F) {
	f.Add([]byte(viteManifest), []byte(`{"lockfileVersion":3}`), []byte(`{}`))
	f.Add([]byte(`{"scripts":{"build":"vitepress build ../x"},"dependencies":{"vitepress":"1"}}`), []byte("lockfileVersion: '9.0'\n"), []byte(`{}`))
	f.Add([]byte(`{"dependencies":{"@angular/cli":"1"}}`), []byte("__metadata:\n  version: 8\n"), []byte(`{"projects":{"..":{"architect":{"build":{"options":{"outputPath":{"base":"x","browser":"../.."}}}}}}}`))
	f.Fuzz(func(t *testing.T, manifest, lockfile, angular []byte) {
		for _, name := range []string{"package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"} {
			checkPlan(t, memory{"package.json": string(manifest), name: string(lockfile), "angular.json": string(angular)})
		}
	})
}

func checkPlan(t *testing.T, files memory) {
	t.Helper()
	plan, err := framework.Detect(files)
	if err != nil {
		require.Equal(t, models.CodeValidation, models.CodeOf(err))
		return
	}
	_, err = json.Marshal(plan)
	require.NoError(t, err)
	require.NotEmpty(t, plan.Framework)
	require.NotEmpty(t, plan.OutputDirs)
	for _, dir := range append(append([]string{plan.Root, plan.InstallDir}, plan.OutputDirs...), plan.ServerDirs...) {
		require.False(t, dir == "" || strings.HasPrefix(dir, "/") || strings.Contains("/"+dir+"/", "/../"), "%q leaves the project", dir)
	}
}
