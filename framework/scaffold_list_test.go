package framework_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/framework"
)

// scaffolds are the projects of testdata/scaffolds: the smallest real one of
// each framework, with exact versions. Each one's page says "hello from <name>".
var scaffolds = []struct {
	name, framework string
	// output is where the files appear; "" when a worker answers.
	output string
	// notFound is how the framework's unmatched paths are answered.
	notFound string
	// oracle is what @netlify/build-info calls it; differs says why the two
	// differ where they do.
	oracle, differs string
}{
	{"plain-html", "static", ".", framework.NotFoundPage, "", ""},
	{"node-build", "node-build", "dist", framework.NotFoundPage, "", ""},
	{"vite-vanilla", "vite", "dist", framework.NotFoundSPA, "vite", ""},
	{"vite-react", "vite", "dist", framework.NotFoundSPA, "vite", ""},
	{"vite-vue", "vite", "dist", framework.NotFoundSPA, "vite", ""},
	{"vite-svelte", "vite", "dist", framework.NotFoundSPA, "vite", ""},
	{"vite-solid", "vite", "dist", framework.NotFoundSPA, "solid-js", "it names Solid, we name the Vite that builds it"},
	{"vite-preact", "vite", "dist", framework.NotFoundSPA, "vite", ""},
	{"astro", "astro", "dist", framework.NotFoundPage, "astro", ""},
	{"next", "next", "out", framework.NotFoundPage, "next", ""},
	{"nuxt", "nuxt", ".output/public", framework.NotFoundPage, "nuxt", ""},
	{"sveltekit", "sveltekit", "build", framework.NotFoundPage, "svelte-kit", ""},
	{"react-router", "react-router", "build/client", framework.NotFoundSPA, "react-router", ""},
	{"remix", "remix", "build/client", framework.NotFoundSPA, "remix", ""},
	{"gatsby", "gatsby", "public", framework.NotFoundPage, "gatsby", ""},
	{"docusaurus", "docusaurus", "build", framework.NotFoundPage, "docusaurus", ""},
	{"vitepress", "vitepress", "docs/.vitepress/dist", framework.NotFoundPage, "vitepress", ""},
	{"eleventy", "eleventy", "_site", framework.NotFoundPage, "eleventy", ""},
	{"angular", "angular", "dist/hello/browser", framework.NotFoundSPA, "angular", ""},
	{"cra", "cra", "build", framework.NotFoundSPA, "create-react-app", ""},
	{"vue-cli", "vue-cli", "dist", framework.NotFoundSPA, "vue", ""},
	{"parcel", "parcel", "dist", framework.NotFoundPage, "parcel", ""},
	{"worker", "worker", "", framework.NotFoundNone, "", "it does not look for wrangler's settings"},
	{"hono", "hono", "", framework.NotFoundNone, "hono", ""},
	{"vite-worker", "vite", "", framework.NotFoundSPA, "vite", ""},
	{"astro-cloudflare", "astro", "", framework.NotFoundPage, "astro", ""},
	{"next-cloudflare", "next", "", framework.NotFoundPage, "next", ""},
	{"nuxt-server", "nuxt", "", framework.NotFoundPage, "nuxt", ""},
	{"sveltekit-cloudflare", "sveltekit", "", framework.NotFoundPage, "svelte-kit", ""},
	{"sveltekit-auto", "sveltekit", "", framework.NotFoundPage, "svelte-kit", ""},
	{"react-router-cloudflare", "react-router", "", framework.NotFoundSPA, "react-router", ""},
	{"tanstack-start", "tanstack-start", "", framework.NotFoundSPA, "tanstack-start", ""},
	{"nitro", "nitro", "", framework.NotFoundPage, "", "it does not know Nitro by itself"},
}

func scaffoldDir(name string) string { return filepath.Join("testdata", "scaffolds", name) }

// folder is a project on disk.
type folder string

func (f folder) Has(name string) bool {
	stat, err := os.Stat(filepath.Join(string(f), filepath.FromSlash(name)))
	return err == nil && stat.Mode().IsRegular()
}

func (f folder) Read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(f), filepath.FromSlash(name)))
}

func TestRules_eachHasAScaffold(t *testing.T) {
	var covered, listed []string
	for _, scaffold := range scaffolds {
		covered = append(covered, scaffold.framework)
		listed = append(listed, scaffold.name)
	}
	for _, name := range framework.Names() {
		require.Contains(t, covered, name, "a rule without a project that builds with it")
	}
	entries, err := os.ReadDir(filepath.Join("testdata", "scaffolds"))
	require.NoError(t, err)
	for _, entry := range entries {
		require.True(t, slices.Contains(listed, entry.Name()), "testdata/scaffolds/%s is not in the list", entry.Name())
	}
}

func TestDetect_scaffolds(t *testing.T) {
	for _, scaffold := range scaffolds {
		t.Run(scaffold.name, func(t *testing.T) {
			plan, err := framework.Detect(folder(scaffoldDir(scaffold.name)))
			require.NoError(t, err)
			require.Equal(t, scaffold.framework, plan.Framework)
			require.Equal(t, scaffold.notFound, plan.NotFoundHandling)
			require.Equal(t, framework.HTMLAuto, plan.HTMLHandling)
			if scaffold.output == "" {
				require.NotNil(t, plan.Worker)
				require.True(t, plan.NeedsSandbox())
				return
			}
			require.Nil(t, plan.Worker)
			require.Contains(t, plan.OutputDirs, scaffold.output)
		})
	}
}

func TestDetect_examples(t *testing.T) {
	for name, want := range map[string]struct {
		framework, manager, output string
		worker                     *framework.WorkerPlan
	}{
		"plain-html":     {"static", "", ".", nil},
		"vite-react":     {"vite", "npm", "dist", nil},
		"vue-pnpm":       {"vite", "pnpm", "dist", nil},
		"astro-bun":      {"astro", "bun", "dist", nil},
		"fails-to-build": {"vite", "npm", "dist", nil},
		"escapes":        {"node-build", "npm", "dist", nil},
		"worker-plain":   {"worker", "", "", &framework.WorkerPlan{Settings: "wrangler.jsonc", Required: true}},
		"hono-assets":    {"hono", "npm", "", &framework.WorkerPlan{Settings: "wrangler.jsonc", Required: true}},
		"astro-ssr": {"astro", "npm", "dist/client", &framework.WorkerPlan{
			Settings: "wrangler.jsonc", Outputs: []framework.WorkerOutput{{Main: "dist/_worker.js", Assets: "dist"}}, Required: true,
		}},
		"react-router-ssr": {"react-router", "npm", "build/client", &framework.WorkerPlan{Settings: "wrangler.jsonc", Required: true}},
	} {
		plan, err := framework.Detect(folder(filepath.Join("..", "examples", name)))
		require.NoError(t, err)
		require.Equal(t, want.framework, plan.Framework, name)
		require.Equal(t, want.manager, plan.PackageManager, name)
		require.Equal(t, want.worker, plan.Worker, name)
		if want.output != "" {
			require.Equal(t, want.output, plan.OutputDirs[0], name)
		}
		require.Empty(t, plan.Notes, name)
		require.Equal(t, plan.Lockfile != "", plan.Frozen, name)
	}
}
