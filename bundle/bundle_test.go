package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// built is a project after its build, and what Run made of it.
type built struct {
	t         *testing.T
	workspace string
	log       string
	err       error
}

// build runs the bundler on these files; wrangler.jsonc and wrangler.toml are
// found as detection would.
func build(t *testing.T, files map[string]string, change ...func(*Request)) built {
	t.Helper()
	workspace, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	writeFiles(t, workspace, files)
	req := Request{Root: ".", LatestDate: "2026-11-17"}
	for _, name := range []string{"wrangler.json", "wrangler.jsonc", "wrangler.toml"} {
		if _, ok := files[name]; ok {
			req.Settings = name
		}
	}
	for _, c := range change {
		c(&req)
	}
	var log bytes.Buffer
	err = Run(workspace, req, &log)
	return built{t, workspace, log.String(), err}
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
}

// read is what the host would make of it, with the paths of files for digests.
func (b built) read() *Result {
	b.t.Helper()
	require.NoError(b.t, b.err, b.log)
	description, err := os.ReadFile(filepath.Join(b.workspace, Dir, DescriptionFile))
	require.NoError(b.t, err)
	var files []models.File
	for _, sub := range []string{"modules", "maps"} {
		entries, err := os.ReadDir(filepath.Join(b.workspace, Dir, sub))
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(b.t, err)
		for _, entry := range entries {
			info, err := entry.Info()
			require.NoError(b.t, err)
			name := sub + "/" + entry.Name()
			files = append(files, models.File{Path: name, Size: info.Size(), Digest: filepath.Join(b.workspace, Dir, name)})
		}
	}
	result, err := Read(description, files)
	require.NoError(b.t, err)
	return result
}

// modules are the names and kinds of the modules, the main one first.
func (b built) modules() []string {
	b.t.Helper()
	var list []string
	for _, m := range b.read().Worker.Modules {
		list = append(list, string(m.Type)+" "+m.Name)
	}
	return list
}

// module is the content of one module.
func (b built) module(i int) string {
	b.t.Helper()
	content, err := os.ReadFile(filepath.Join(b.workspace, Dir, "modules", strconv.Itoa(i)))
	require.NoError(b.t, err)
	return string(content)
}

// assets are the files that would be served.
func (b built) assets() []string {
	b.t.Helper()
	var list []string
	root := filepath.Join(b.workspace, AssetsDir)
	require.NoError(b.t, filepath.WalkDir(root, func(file string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(root, file)
			list = append(list, name)
		}
		return err
	}))
	return list
}

// refused is the message that the owner reads.
func (b built) refused() string {
	b.t.Helper()
	require.Error(b.t, b.err, b.log)
	require.Equal(b.t, models.CodeBuildFailed, models.CodeOf(b.err), b.err.Error())
	return models.MessageOf(b.err)
}

const hello = `export default { fetch() { return new Response("hello") } }`

func settings(more string) string {
	return `{ "name": "w", "main": "src/index.ts", "compatibility_date": "2026-10-01" ` + more + `}`
}

func TestRun_plainWorkerBecomesOneModule(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(""), "src/index.ts": "const s: string = 'x';" + hello})
	require.Equal(t, []string{"esModule index.js"}, b.modules())
	w := b.read().Worker
	require.Equal(t, "2026-10-01", w.CompatibilityDate)
	require.NotEmpty(t, w.Modules[0].SourceMap)
	sourceMap, err := os.ReadFile(w.Modules[0].SourceMap)
	require.NoError(t, err)
	var sources struct{ Sources []string }
	require.NoError(t, json.Unmarshal(sourceMap, &sources))
	require.Equal(t, []string{"src/index.ts"}, sources.Sources, "paths are the project's")
	require.Equal(t, "Bundling src/index.ts.\n", b.log)
}

func TestRun_settingsReachTheWorker(t *testing.T) {
	b := build(t, map[string]string{"wrangler.toml": `
main = "index.js"
compatibility_date = 2026-10-01
compatibility_flags = ["nodejs_compat"]
kv_namespaces = [{ binding = "KV", id = "abc", preview_id = "x" }, { binding = "SESSION" }]
[vars]
TEXT = "a"
LIST = [1, 2.5]
[assets]
directory = "public"
binding = "ASSETS"
html_handling = "none"
not_found_handling = "404-page"
run_worker_first = ["/api/*", "!/api/docs"]
`, "index.js": hello, "public/a.txt": "a", "public/deep/b.txt": "b"})
	r := b.read()
	require.Equal(t, "2026-10-01", r.Worker.CompatibilityDate)
	require.Equal(t, []string{"nodejs_compat"}, r.Worker.CompatibilityFlags)
	require.Equal(t, []models.KVBinding{{Binding: "KV", Namespace: "abc"}, {Binding: "SESSION"}}, r.Worker.KV)
	require.JSONEq(t, `{"TEXT":"a","LIST":[1,2.5]}`, string(mustJSON(t, r.Worker.Vars)))
	require.Equal(t, &models.WorkerAssets{Binding: "ASSETS", RunWorkerFirst: []string{"/api/*", "!/api/docs"}}, r.Worker.Assets)
	require.Equal(t, "none", r.HTMLHandling)
	require.Equal(t, "404-page", r.NotFoundHandling)
	require.True(t, r.Assets)
	require.Equal(t, []string{"a.txt", "deep/b.txt"}, b.assets())
}

func mustJSON(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	require.NoError(t, err)
	return data
}

func TestRun_importsOfOtherKindsBecomeModules(t *testing.T) {
	b := build(t, map[string]string{
		"wrangler.jsonc": settings(""),
		"src/index.ts": `
import wasm from "./add.wasm"; import again from "./add.wasm?module"; import text from "../a.txt"; import page from "./p.html";
import sql from "./q.sql"; import data from "./d.bin"; import conf from "./c.json"; import { greet } from "pkg"; import words from "pkg/words.txt";
export default { fetch() { return Response.json([wasm, again, text, page, sql, data, conf, greet, words]) } }`,
		"src/add.wasm": "\x00asm\x01\x00\x00\x00", "a.txt": "text", "src/p.html": "<p>", "src/q.sql": "select 1", "src/d.bin": "\x00\x01",
		"src/c.json": `{"from":"json"}`, "node_modules/pkg/words.txt": "words",
		"node_modules/pkg/package.json": `{"name":"pkg","exports":{".":{"node":"./node.js","workerd":"./workerd.js","default":"./other.js"},"./words.txt":"./words.txt"}}`,
		"node_modules/pkg/workerd.js":   `export const greet = "for workerd";`,
	})
	modules := b.modules()
	require.Len(t, modules, 7)
	kinds := map[string]int{}
	for _, m := range b.read().Worker.Modules {
		kinds[string(m.Type)]++
	}
	require.Equal(t, map[string]int{"esModule": 1, "wasm": 1, "text": 4, "data": 1}, kinds)
	require.Contains(t, b.module(0), "for workerd")
	require.Contains(t, b.module(0), `from: "json"`)
}

func TestRun_equalSourcesGiveEqualWorkers(t *testing.T) {
	files := map[string]string{"wrangler.jsonc": settings(""), "src/index.ts": `import a from "./a.txt"; import b from "./b.txt"; import c from "./c.bin"; export default { a, b, c }`,
		"src/a.txt": "a", "src/b.txt": "b", "src/c.bin": "c"}
	first := build(t, files)
	for range 5 {
		again := build(t, files)
		require.Equal(t, first.modules(), again.modules())
		require.Equal(t, first.module(0), again.module(0))
	}
}

func TestRun_missingImportIsShownWithItsPlace(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(""), "src/index.ts": "import x from 'left-pad';\nimport './nope';\nconsole.log(x);\n" + hello})
	require.Equal(t, "The worker cannot be bundled: esbuild found 2 errors.", b.refused())
	require.ErrorIs(t, b.err, ErrNotBundled)
	require.Contains(t, b.log, `src/index.ts:1:15: error: Could not resolve "left-pad"`)
	require.Contains(t, b.log, `src/index.ts:2:8: error: Could not resolve "./nope"`)
}

func TestRun_nodeBuiltinNeedsTheFlag(t *testing.T) {
	source := map[string]string{"wrangler.jsonc": settings(`, "compatibility_flags": ["no_nodejs_compat"]`), "src/index.ts": "import path from 'path'; import { readFile } from 'node:fs/promises';\nexport default { path, readFile }"}
	b := build(t, source)
	require.Equal(t, `wrangler.jsonc: the worker uses parts of Node.js (node:fs/promises, path). Add "nodejs_compat" to compatibility_flags.`, b.refused())
	source["wrangler.jsonc"] = settings("") // since August 2026 without a flag
	b = build(t, source)
	require.Equal(t, []string{"esModule index.js"}, b.modules())
	require.Contains(t, b.module(0), `"node:path"`)
	require.Contains(t, b.module(0), `"node:fs/promises"`)
}

func TestRun_nodeBuiltinThatTheDateLacksIsRefused(t *testing.T) {
	b := build(t, map[string]string{
		"wrangler.jsonc": `{"main":"i.js","compatibility_date":"2025-01-01","compatibility_flags":["nodejs_compat"]}`,
		"i.js":           `import os from "os"; import fs from "node:fs"; import path from "path"; export default { os, fs, path }`,
	})
	require.Equal(t, "wrangler.jsonc: the worker imports node:fs, node:os, which the runtime has for a compatibility_date of 2025-09-15 or later only, and it is 2025-01-01.", b.refused())
}

// Such an error has no place in the code, and was named in the log alone.
func TestRun_missingTsconfigIsNamed(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(`, "tsconfig": "nope.json"`), "src/index.ts": hello})
	require.Equal(t, `The worker cannot be bundled: Cannot find tsconfig file "nope.json".`, b.refused())
}

func TestRun_serviceWorkerSyntaxIsRefused(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(""), "src/index.ts": `addEventListener("fetch", (e) => e.respondWith(new Response("old")))`})
	require.Contains(t, b.refused(), "service worker syntax")
	b = build(t, map[string]string{"wrangler.jsonc": `{"main":"i.js","no_bundle":true}`, "i.js": `addEventListener("fetch", (e) => e.respondWith(new Response("old")))`})
	require.Contains(t, b.refused(), "service worker syntax")
}

func TestRun_mainWithoutDefaultExportIsRefused(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(""), "src/index.ts": `export const fetch = 1`})
	require.Contains(t, b.refused(), "has no default export in src/index.ts")
}

func TestRun_missingMainIsNamed(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings("")})
	require.Equal(t, `wrangler.jsonc: main is "src/index.ts", which is not there after the build. Set it to the worker's first file.`, b.refused())
}

func TestRun_typescriptIsNotTakenAsItIs(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(`, "no_bundle": true`), "src/index.ts": hello})
	require.Contains(t, b.refused(), "Remove no_bundle")
}

func TestRun_projectBelowTheWorkspaceKeepsItsPaths(t *testing.T) {
	b := build(t, map[string]string{
		"apps/web/wrangler.jsonc": settings(`, "assets": { "directory": "../web/public/" }`), "apps/web/src/index.ts": "import { x } from 'lib';" + hello + "; console.log(x)",
		"apps/web/public/a.txt": "a", "node_modules/lib/index.js": "export const x = 'hoisted'",
	}, func(r *Request) { r.Root, r.Settings = "apps/web", "wrangler.jsonc" })
	require.Equal(t, []string{"esModule index.js"}, b.modules())
	require.Contains(t, b.module(0), "hoisted")
	require.Equal(t, []string{"a.txt"}, b.assets())
}

func TestRun_assetsOutsideTheProjectAreRefused(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(`, "assets": { "directory": "../../etc" }`), "src/index.ts": hello})
	require.Contains(t, b.refused(), "outside the project")
}

// The worker went live without the files its settings ask for.
func TestRun_assetsThatAreNotThereAreRefused(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": settings(`, "assets": { "directory": "public" }`), "src/index.ts": hello})
	require.Contains(t, b.refused(), "the folder of the assets, public, is not there after the build; set assets.directory")
}

func TestRun_assetsNeverShowTheServersSide(t *testing.T) {
	b := build(t, map[string]string{
		"wrangler.jsonc": `{"main":"site/server.js","assets":{"directory":"site"}}`, "site/server.js": hello,
		"site/_worker.js/index.js": hello, "site/wrangler.toml": "x=1", "site/.dev.vars": "S=1", "site/.env.local": "S=1", "site/deep/.env": "S=1",
		"site/node_modules/a/b.js": "1", "site/.git/config": "1", "site/index.html": "<p>", "site/_headers": "/*", "site/_redirects": "", "site/_routes.json": "{}",
		"site/drafts/a.html": "", "site/drafts/keep.html": "", "site/logs/x.log": "", "site/.well-known/x": "",
		"site/.assetsignore": "# what stays\n/drafts/*\n!/drafts/keep.html\n_headers\n_redirects\n*.log\nlogs/\n",
	})
	require.Equal(t, []string{".well-known/x", "_headers", "_redirects", "_routes.json", "drafts/keep.html", "index.html"}, b.assets())
}

func TestRun_linksAmongTheAssetsReachTheHostAsLinks(t *testing.T) {
	workspace := t.TempDir()
	writeFiles(t, workspace, map[string]string{"wrangler.json": `{"assets":{"directory":"web"}}`, "web/a": "a"})
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(workspace, "web/b")))
	require.NoError(t, Run(workspace, Request{Root: ".", Settings: "wrangler.json"}, io.Discard))
	stat, err := os.Lstat(filepath.Join(workspace, AssetsDir, "b"))
	require.NoError(t, err)
	require.NotZero(t, stat.Mode()&os.ModeSymlink)
}

func TestRun_workerOverALimitIsRefused(t *testing.T) {
	files := map[string]string{"wrangler.json": `{"main":"d/i.js","no_bundle":true}`, "d/i.js": hello}
	for i := range MaxModules {
		files[fmt.Sprintf("d/%d.txt", i)] = ""
	}
	require.Equal(t, "wrangler.json: the worker has more than the 5000 modules a worker may have.", build(t, files).refused())

	workspace := t.TempDir()
	writeFiles(t, workspace, map[string]string{"wrangler.json": `{"main":"d/i.js","no_bundle":true}`, "d/i.js": hello, "d/a.bin": "", "d/b.bin": ""})
	for _, name := range []string{"d/a.bin", "d/b.bin"} {
		require.NoError(t, os.Truncate(filepath.Join(workspace, name), MaxModuleBytes/2))
	}
	err := Run(workspace, Request{Root: ".", Settings: "wrangler.json"}, io.Discard)
	require.Equal(t, "wrangler.json: the worker is larger than the 64 MiB a worker's code may have.", models.MessageOf(err))
	require.NoError(t, os.Truncate(filepath.Join(workspace, "d/a.bin"), 1<<40))
	err = Run(workspace, Request{Root: ".", Settings: "wrangler.json"}, io.Discard)
	require.Equal(t, "wrangler.json: the worker has the module a.bin of 1048576 MiB, more than the 64 it may have in all.", models.MessageOf(err))
}

func TestDocs_nameEverySettingThatCounts(t *testing.T) {
	page, err := os.ReadFile("../docs/projects.md")
	require.NoError(t, err)
	for name, k := range keys {
		if k.read != nil {
			require.Contains(t, string(page), "`"+name, "docs/projects.md")
		}
	}
	require.Contains(t, string(page), DefaultCompatibilityDate)
	require.Contains(t, string(page), nodeCompatSince)
}

func TestRun_secondRunLeavesNothingOfTheFirst(t *testing.T) {
	b := build(t, map[string]string{"wrangler.json": `{"main":"i.js","assets":{"directory":"web"}}`, "i.js": "import t from './t.txt'; export default { t }", "t.txt": "t", "web/a": "a"})
	require.Len(t, b.modules(), 2)
	writeFiles(t, b.workspace, map[string]string{"wrangler.json": `{"main":"i.js"}`, "i.js": hello})
	b.err = Run(b.workspace, Request{Root: ".", Settings: "wrangler.json"}, io.Discard)
	require.Len(t, b.modules(), 1)
	require.NoFileExists(t, filepath.Join(b.workspace, Dir, "modules", "1"))
	require.NoDirExists(t, filepath.Join(b.workspace, AssetsDir))
}

func TestVersion_namesTheBundler(t *testing.T) {
	content, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	found := regexp.MustCompile(`github.com/evanw/esbuild v(\S+)`).FindSubmatch(content)
	require.NotNil(t, found)
	require.Contains(t, Version, "esbuild "+string(found[1])+",", "outputs of another esbuild may differ")
}

func TestRun_bundledOutputIsCollectedByTheRules(t *testing.T) {
	b := build(t, map[string]string{
		"wrangler.jsonc":               settings(""),
		".wrangler/deploy/config.json": `{"configPath":"../../dist/server/wrangler.json","auxiliaryWorkers":[]}`,
		"dist/server/wrangler.json":    `{"main":"index.mjs","no_bundle":true,"rules":[{"type":"ESModule","globs":["**/*.js","**/*.mjs"]}],"compatibility_date":"2026-11-21","assets":{"binding":"ASSETS","directory":"../client"},"durable_objects":{"bindings":[]},"d1_databases":[],"triggers":{},"userConfigPath":"/somewhere/wrangler.jsonc"}`,
		"dist/server/index.mjs":        "export { default } from './chunks/a.js';\n//# sourceMappingURL=index.mjs.map",
		"dist/server/index.mjs.map":    `{"version":3,"sources":["a.ts"],"mappings":""}`,
		"dist/server/chunks/a.js":      hello,
		"dist/server/w.wasm":           "\x00asm\x01\x00\x00\x00",
		"dist/server/notes.md":         "not a module",
		"dist/client/index.html":       "<p>",
		"dist/client/.assetsignore":    "wrangler.json\n.dev.vars\n*.map\n",
		"dist/client/app.js.map":       "{}",
	})
	require.Equal(t, []string{"esModule index.mjs", "esModule chunks/a.js", "wasm w.wasm"}, b.modules())
	w := b.read().Worker
	require.Equal(t, "2026-11-17", w.CompatibilityDate, "a date nobody chose is lowered")
	require.Contains(t, b.log, "compatibility_date is 2026-11-21")
	require.NotEmpty(t, w.Modules[0].SourceMap)
	require.Equal(t, []string{"index.html"}, b.assets())
}

func TestRun_whatAToolAsksForByDefaultIsANoteOnly(t *testing.T) {
	b := build(t, map[string]string{
		".wrangler/deploy/config.json": `{"configPath":"../../dist/server/wrangler.json"}`,
		"dist/server/wrangler.json":    `{"main":"entry.mjs","no_bundle":true,"compatibility_date":"2026-10-12","kv_namespaces":[{"binding":"SESSION"}],"images":{"binding":"IMAGES"},"previews":{"images":{"binding":"IMAGES"}}}`,
		"dist/server/entry.mjs":        hello,
	})
	require.Equal(t, []string{"esModule entry.mjs"}, b.modules())
	require.Contains(t, b.log, `"images" (IMAGES) has no effect here`)
	b = build(t, map[string]string{"wrangler.jsonc": settings(`, "images": {"binding": "IMAGES"}`), "src/index.ts": hello})
	require.Contains(t, b.refused(), "no images binding", "what the owner asks for is refused")
}

func TestRun_chosenDateInTheFutureIsRefused(t *testing.T) {
	b := build(t, map[string]string{"wrangler.json": `{"main":"i.js","compatibility_date":"2027-01-01"}`, "i.js": hello})
	require.Contains(t, b.refused(), "knows dates up to 2026-11-17")
	b = build(t, map[string]string{"wrangler.json": `{"main":"i.js"}`, "i.js": hello})
	require.Equal(t, DefaultCompatibilityDate, b.read().Worker.CompatibilityDate)
	require.Contains(t, b.log, "there is no compatibility_date")
}

func TestRun_folderOfModulesForPagesIsKeptAsItIs(t *testing.T) {
	b := build(t, map[string]string{
		"dist/_worker.js/index.js": "import { page } from './pages/p.mjs'; export default { fetch() { return new Response(page) } }", "dist/_worker.js/pages/p.mjs": "export const page = 1",
		"dist/index.html": "<p>", "dist/_routes.json": `{"version":1,"include":["/*"],"exclude":["/_astro/*"]}`, "dist/wrangler.json": "{}",
	}, func(r *Request) {
		r.Outputs = []Output{{Main: "nowhere/_worker.js"}, {Main: "dist/_worker.js/index.js", Assets: "dist"}}
	})
	require.Equal(t, []string{"esModule index.js", "esModule pages/p.mjs"}, b.modules())
	require.Equal(t, &models.WorkerAssets{Binding: "ASSETS", RunWorkerFirst: []string{"/*", "!/_astro/*"}}, b.read().Worker.Assets)
	require.Equal(t, []string{"index.html"}, b.assets())
}

func TestRun_projectForPagesIsServedAsThere(t *testing.T) {
	files := map[string]string{"wrangler.toml": "pages_build_output_dir = './dist'\ncompatibility_date = '2026-10-01'\n[vars]\nA = 'x'", "dist/index.html": "<p>"}
	b := build(t, files)
	require.Nil(t, b.read().Worker)
	require.Empty(t, b.read().NotFoundHandling, "the framework's rule decides")
	files["dist/_worker.js"] = hello
	b = build(t, files)
	require.Equal(t, []string{"esModule _worker.js"}, b.modules())
	require.Equal(t, &models.WorkerAssets{Binding: "ASSETS", RunWorkerFirst: []string{"/*"}}, b.read().Worker.Assets)
	require.Contains(t, b.read().Worker.Vars, "A")
	require.Equal(t, []string{"index.html"}, b.assets())
	files["functions/api.ts"] = "x"
	require.Contains(t, build(t, files).refused(), "Pages Functions")
}

func TestRun_nameOfTheFilesOfAPagesProjectIsItsOwn(t *testing.T) {
	for settings, by := range map[string]string{"[vars]\nASSETS = 'x'": "vars", "[[kv_namespaces]]\nbinding = 'ASSETS'\nid = 'x'": "kv_namespaces"} {
		files := map[string]string{"wrangler.toml": "pages_build_output_dir = './dist'\ncompatibility_date = '2026-10-01'\n" + settings, "dist/_worker.js": hello}
		require.Contains(t, build(t, files).refused(), `the name "ASSETS" in "`+by+`" is taken`)
	}
}

func TestRun_modulesAreNotLookedForWhenTheSettingsSayNo(t *testing.T) {
	b := build(t, map[string]string{"wrangler.json": `{"main":"d/i.js","no_bundle":true,"find_additional_modules":false}`, "d/i.js": hello, "d/a.txt": "x"})
	require.Equal(t, []string{"esModule i.js"}, b.modules())
}

func TestRun_settingsWithAssetsOnlyAreASiteOfFiles(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": `{ /* no main */ "assets": { "directory": "./out", "not_found_handling": "single-page-application" } }`, "out/index.html": "<p>"})
	r := b.read()
	require.Nil(t, r.Worker)
	require.True(t, r.Assets)
	require.Equal(t, "single-page-application", r.NotFoundHandling)
	require.Equal(t, []string{"index.html"}, b.assets())
}

func TestRun_withoutAnyWorkerSaysSo(t *testing.T) {
	require.ErrorIs(t, build(t, map[string]string{"index.html": "<p>"}).err, ErrNoWorker)
	require.ErrorIs(t, build(t, map[string]string{"wrangler.jsonc": `{"name":"x"}`}).err, ErrNoWorker)
}

func TestRun_buildCommandOfTheSettingsRunsFirst(t *testing.T) {
	b := build(t, map[string]string{"wrangler.jsonc": `{"main":"out/w.js","build":{"command":"mkdir -p ../out && cp w.js ../out/","cwd":"src","watch_dir":"src"}}`, "src/w.js": hello})
	require.Equal(t, []string{"esModule w.js"}, b.modules())
	b = build(t, map[string]string{"wrangler.jsonc": `{"main":"out/w.js","build":{"command":"echo broken; exit 3"}}`})
	require.Contains(t, b.refused(), "exit status 3")
	require.Contains(t, b.log, "broken")
}

func TestRun_additionalModulesStayImports(t *testing.T) {
	b := build(t, map[string]string{
		"wrangler.jsonc": settings(`, "find_additional_modules": true, "rules": [{"type":"ESModule","globs":["lang/*.js"]}]`),
		"src/index.ts":   `import { x } from "./x"; export default { fetch: async (r) => new Response((await import("./lang/" + r.url + ".js")).t + x) }`,
		"src/x.ts":       "export const x = 1", "src/lang/de.js": "export const t = 'hallo'",
	})
	require.Equal(t, []string{"esModule index.js", "esModule lang/de.js"}, b.modules())
}

func TestRun_aliasDefineAndTsconfigAreHonoured(t *testing.T) {
	b := build(t, map[string]string{
		"wrangler.jsonc": settings(`, "alias": {"fs": "./shim"}, "define": {"VERSION": "\"v9\""}, "tsconfig": "tsconfig.worker.json"`),
		"src/index.ts":   `import { x } from "fs"; import { y } from "@/y"; export default { x, y, v: VERSION, e: process.env.NODE_ENV }`,
		"shim.ts":        "export const x = 'shimmed'", "lib/y.ts": "export const y = 'mapped'",
		"tsconfig.worker.json": `{"compilerOptions":{"baseUrl":".","paths":{"@/*":["lib/*"]}}}`,
	})
	for _, want := range []string{"shimmed", "mapped", `"v9"`, `"production"`} {
		b.read()
		require.Contains(t, b.module(0), want)
	}
}
