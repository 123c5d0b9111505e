package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestParseSettings_namesWhatItCannotHonour(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"w.jsonc", `{"durable_objects":{"bindings":[{"name":"ROOM","class_name":"Room"}]}}`, `the setting "durable_objects" (ROOM) is not supported: Durable Objects are not available here`},
		{"w.toml", "[[d1_databases]]\nbinding = 'DB'\ndatabase_id = 'x'", `"d1_databases" (DB) is not supported: D1 databases are not available here`},
		{"w.toml", "[[r2_buckets]]\nbinding='A'\n[[r2_buckets]]\nbinding='B'", `"r2_buckets" (A, B) is not supported`},
		{"w.json", `{"queues":{"producers":[{"binding":"Q","queue":"q"}],"consumers":[]}}`, `"queues" (Q) is not supported`},
		{"w.json", `{"triggers":{"crons":["* * * * *"]}}`, `"triggers" is not supported: workers are not started by a clock here`},
		{"w.json", `{"services":[{"binding":"API","service":"api"}]}`, `"services" (API) is not supported`},
		{"w.json", `{"name":"me","services":[{"binding":"ME","service":"me"},{"binding":"API","service":"me","entrypoint":"Api"}]}`, `"services" (API) is not supported but for a worker's own name`},
		{"w.json", `{"ai":{"binding":"AI"}}`, `"ai" (AI) is not supported`},
		{"w.json", `{"site":{"bucket":"./public"}}`, `name the folder in assets.directory`},
		{"w.json", `{"compat_date":"2026-01-01"}`, `the setting "compat_date" is not known here`},
		{"w.json", `{"assets":{"directory":"x","serve_directly":true}}`, `"assets.serve_directly" is not known here`},
		{"w.json", `{"assets":{"directory":"x","html_handling":"never"}}`, `"assets.html_handling" must be one of auto-trailing-slash`},
		{"w.json", `{"assets":{"directory":"x","run_worker_first":["api/*"]}}`, `"assets.run_worker_first" has the pattern "api/*"; it must begin with "/" or "!/"`},
		{"w.json", `{"assets":{"directory":"x","run_worker_first":["!/api/*"]}}`, `has only patterns with "!"`},
		{"w.json", `{"main":5}`, `"main" must not be a JSON number`},
		{"w.json", `{"main":"a\u0000b"}`, `"main" is no path`},
		{"w.json", `{"compatibility_date":"yesterday"}`, `"compatibility_date" is "yesterday" and must be a date`},
		{"w.json", `{"compatibility_flags":["no spaces"]}`, `"compatibility_flags" has the flag "no spaces"`},
		{"w.json", `{"vars":{"a-b":1}}`, `"vars" has the name "a-b"`},
		{"w.json", `{"kv_namespaces":[{"id":"x"}]}`, `"kv_namespaces" needs a "binding" in every entry`},
		{"w.json", `{"kv_namespaces":[{"binding":"A","id":"a/b"}]}`, `"kv_namespaces" has the id "a/b" for A`},
		{"w.json", `{"vars":{"A":1},"kv_namespaces":[{"binding":"A","id":"x"}]}`, `the name "A" is used twice, in "vars" and in "kv_namespaces"`},
		{"w.json", `{"rules":[{"type":"Cobol","globs":["*"]}]}`, `"rules" has the type "Cobol"; known are CommonJS`},
		{"w.json", `{"rules":[{"type":"Text","globs":["{a"]}]}`, `"rules" has the pattern "{a", which lacks a closing brace`},
		{"w.json", "{\n  \"main\": oops\n}", `w.json: line 2, column 11: invalid character`},
		{"w.toml", "main = 'x'\nmain = oops", `w.toml: line 2, column `},
		{"w.json", `[1]`, `must hold one object`},
		{"w.json", `null`, `must hold one object`},
		{"w.json", `{"x":"` + strings.Repeat("y", maxSettingsBytes) + `"}`, `is larger than 1024 KiB`},
	} {
		_, err := ParseSettings(c.name, []byte(c.content))
		require.Error(t, err, c.content[:min(len(c.content), 200)])
		require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
		require.Contains(t, models.MessageOf(err), c.want)
	}
}

func TestParseSettings_everythingEmptyIsFine(t *testing.T) {
	s, err := ParseSettings("wrangler.json", []byte(`{"$schema":"x","durable_objects":{"bindings":[]},"workflows":[],"migrations":[],"cloudchamber":{},
		"queues":{"producers":[],"consumers":[]},"triggers":{"crons":[]},"unsafe":{"bindings":[],"metadata":{}},"brand_new_thing":[],"logpush":false,"main":null}`))
	require.NoError(t, err)
	require.Empty(t, s.Notes)
}

func TestParseSettings_takesAWorkersBindingToItself(t *testing.T) {
	s, err := ParseSettings("wrangler.json", []byte(`{"services":[{"binding":"ME","service":"me"}],"name":"me"}`))
	require.NoError(t, err)
	require.Equal(t, []string{"ME"}, s.Self)
}

func TestParseSettings_whatHasNoEffectIsNoted(t *testing.T) {
	s, err := ParseSettings("wrangler.toml", []byte("routes = ['a.example/*']\nworkers_dev = true\naccount_id = 'x'\n[env.staging]\nname = 'y'\n[limits]\ncpu_ms = 50\n"))
	require.NoError(t, err)
	require.Equal(t, []string{
		`wrangler.toml: "env" has no effect here: named environments are not chosen between, the top level counts.`,
		`wrangler.toml: "limits" has no effect here: the limits of this installation hold.`,
		`wrangler.toml: "routes" has no effect here: add the project's custom domains instead.`,
	}, s.Notes)
}

func TestKeys_eachIsTreatedInOneWay(t *testing.T) {
	for name, k := range keys {
		ways := 0
		for _, set := range []bool{k.read != nil, k.note != "", k.refused != "", k.silent != ""} {
			if set {
				ways++
			}
		}
		require.Equal(t, 1, ways, name)
	}
}

// The files are those that @cloudflare/vite-plugin 1.x wrote for projects of the
// frameworks they are named after.
func TestParseSettings_readsGeneratedFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/generated/*.json")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		s, err := parseSettings(file, content, true)
		require.NoError(t, err, file)
		require.NotNil(t, s.Assets, file)
		if filepath.Base(file) == "vite-assets.json" {
			require.Empty(t, s.Main)
			continue
		}
		require.NotEmpty(t, s.Main, file)
		require.True(t, s.NoBundle, file)
		require.Equal(t, []Rule{{Type: models.ModuleES, Globs: []string{"**/*.js", "**/*.mjs"}}}, s.Rules, file)
	}
}

func FuzzParseSettings(f *testing.F) {
	f.Add("wrangler.jsonc", []byte(`{ "main": "a.ts", /* x */ "vars": {"A": 1}, "assets": {"directory": "x", "run_worker_first": ["/*"]}, }`))
	f.Add("wrangler.toml", []byte("main = 'a'\ncompatibility_date = 2026-01-01\n[[kv_namespaces]]\nbinding = 'A'\n[vars]\nx = 1.5\ny = nan\n"))
	f.Add("wrangler.json", []byte(`{"rules":[{"type":"Text","globs":["**/*.{txt,md}","[","\\"]}],"durable_objects":{"bindings":[{"name":"X"}]}}`))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		s, err := ParseSettings(name, content)
		if err != nil {
			require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
			require.Less(t, len(models.MessageOf(err)), 16<<10)
			return
		}
		require.Empty(t, checkVars(s.Vars))
		require.Empty(t, checkKV(s.KV))
		require.Empty(t, checkFlags(s.CompatibilityFlags))
		_, err = compileRules(s.Rules)
		require.NoError(t, err)
		_, err = json.Marshal(s.Vars)
		require.NoError(t, err)
	})
}

func TestCompileGlob_matchesWholePaths(t *testing.T) {
	for _, c := range []struct {
		glob    string
		yes, no []string
	}{
		{"**/*.js", []string{"a.js", "b/a.js", "./b/c/a.js", "../a.js"}, []string{"a.jsx", "ajs"}},
		{"*.wasm?module", []string{"x.wasm?module"}, []string{"x.wasm", "x.wasmmodule", "a/x.wasm?module"}},
		{"./lang/{de,en}/*.js", []string{"lang/de/x.js", "./lang/en/x.js"}, []string{"lang/fr/x.js"}},
		{"src/**", []string{"src/a", "src/a/b"}, []string{"a/src/b"}},
		{"a**b", []string{"ab", "axb"}, []string{"a/b"}},
		{"ü.*", []string{"ü.txt"}, []string{"u.txt"}},
	} {
		pattern, err := compileGlob(c.glob)
		require.NoError(t, err)
		for _, name := range c.yes {
			require.True(t, pattern.MatchString(name), "%s %s", c.glob, name)
		}
		for _, name := range c.no {
			require.False(t, pattern.MatchString(name), "%s %s", c.glob, name)
		}
	}
}

func TestIgnoreList_readsGitsSyntax(t *testing.T) {
	list := parseIgnore("a.txt\n/b.txt\ndir/\nx/*.log\n**/deep\nfoo/**\n*.[oa]\n!keep.o\nq?.md\n\\#file\nend \n[\n!\n/\n")
	for name, want := range map[string]bool{
		"a.txt": true, "s/a.txt": true, "b.txt": true, "s/b.txt": false, "x/1.log": true, "x/y/1.log": false, "s/x/1.log": false,
		"s/deep": true, "deep": true, "foo/bar/baz": true, "foo": false, "m.o": true, "s/m.a": true, "keep.o": false, "q1.md": true, "q.md": false,
		"#file": true, "end": true, "dir": false,
	} {
		require.Equal(t, want, list.match(name, false), name)
	}
	require.True(t, list.match("dir", true))
	require.True(t, list.match("s/dir", true))
	ignored := Ignored([]byte("dir/\n!dir/kept.txt\n*.log\n_*"))
	for name, want := range map[string]bool{IgnoreFile: true, "dir/kept.txt": true, "a/dir/b/c": true, "a.log": true, "dirt/x": false, "index.html": false, "_headers": false, "_redirects": false, "a/_headers": true} {
		require.Equal(t, want, ignored(name), name)
	}
}

func FuzzIgnoreList(f *testing.F) {
	f.Add("a/**/b\n!c\n[a-z]*\n\\", "a/x/b")
	f.Fuzz(func(t *testing.T, content, name string) {
		parseIgnore(content).match(name, true)
		Ignored([]byte(content))(name)
	})
}
