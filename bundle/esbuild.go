package bundle

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/slipwayhq/slipway/models"
)

// bundle makes one module of the worker's sources, as wrangler does, and one of
// every file they import that is no JavaScript.
func (p *plan) bundle(c *code, log io.Writer) error {
	base, err := p.moduleBase(p.main)
	if err != nil {
		return err
	}
	b := &bundler{plan: p, base: base, imported: map[string]bool{}, kept: map[string]bool{}}
	if b.rules, err = compileRules(p.Rules); err != nil {
		return err
	}
	main, err := filepath.Rel(base, p.main)
	if err != nil {
		return err
	}
	b.mainName = strings.TrimSuffix(filepath.ToSlash(main), filepath.Ext(main)) + ".js"
	if p.findsModules() {
		if err := p.additionalModules(&b.extra, base, p.main, p.Rules); err != nil {
			return err
		}
		for _, m := range b.extra.modules {
			b.kept[filepath.Join(base, filepath.FromSlash(m.name))] = true
		}
	}
	result := api.Build(b.options())
	printMessages(log, "warning", result.Warnings)
	if len(result.Errors) > 0 {
		return b.failed(log, result.Errors)
	}
	first, err := b.mainModule(result)
	if err != nil {
		return err
	}
	if err := c.add(first); err != nil {
		return err
	}
	// In the order of their names, since esbuild resolves in any order.
	slices.SortFunc(b.found, func(a, b module) int { return strings.Compare(a.name, b.name) })
	for _, m := range append(b.found, b.extra.modules...) {
		if err := c.add(m); err != nil {
			return err
		}
	}
	return nil
}

// bundler is one run of esbuild.
type bundler struct {
	*plan
	rules []compiledRule
	// base is the folder that names of modules are relative to, mainName the
	// name of the one made here.
	base, mainName string
	// mu guards found, the modules made of imported files, and imported, which
	// has their names: esbuild asks from many goroutines.
	mu       sync.Mutex
	found    []module
	imported map[string]bool
	// extra are the modules of find_additional_modules; kept has their files,
	// which stay imports.
	extra code
	kept  map[string]bool
}

func (b *bundler) options() api.BuildOptions {
	define := map[string]string{"process.env.NODE_ENV": `"production"`}
	maps.Copy(define, b.Define)
	options := api.BuildOptions{
		EntryPointsAdvanced: []api.EntryPoint{{InputPath: b.main, OutputPath: strings.TrimSuffix(path.Base(b.mainName), ".js")}},
		AbsWorkingDir:       b.root,
		// Nothing is written there; it makes the paths in source maps the
		// project's own.
		Outdir:         b.root,
		AllowOverwrite: true,
		Bundle:         true,
		Metafile:       true,
		LogLevel:       api.LogLevelSilent,
		Format:         api.FormatESModule,
		Platform:       api.PlatformBrowser,
		Conditions:     []string{"workerd", "worker", "browser"},
		Target:         api.ES2024,
		Charset:        api.CharsetUTF8,
		Sourcemap:      api.SourceMapExternal,
		Loader:         map[string]api.Loader{".js": api.LoaderJSX, ".mjs": api.LoaderJSX, ".cjs": api.LoaderJSX},
		Define:         define,
		KeepNames:      b.KeepNames,
		JSXFactory:     b.JSXFactory, JSXFragment: b.JSXFragment,
		MinifyWhitespace: b.Minify, MinifyIdentifiers: b.Minify, MinifySyntax: b.Minify,
		Plugins: []api.Plugin{{Name: "slipway", Setup: b.setup}},
	}
	if b.TSConfig != "" {
		options.Tsconfig = b.path(b.TSConfig)
	}
	return options
}

// mainModule takes the code and its map out of esbuild's result.
func (b *bundler) mainModule(result api.BuildResult) (module, error) {
	m := module{name: b.mainName, kind: models.ModuleES}
	for _, file := range result.OutputFiles {
		switch filepath.Ext(file.Path) {
		case ".js":
			m.content = file.Contents
		case ".map":
			if len(file.Contents) <= maxOneMap && strings.HasSuffix(file.Path, ".js.map") {
				m.sourceMap = file.Contents
			}
		default:
			b.note("%s, which the worker imports, is left out: put styles among the assets", path.Base(b.show(file.Path)))
		}
	}
	exports, imports, err := mainInterface(result.Metafile)
	if err != nil {
		return m, err
	}
	if err := b.checkBuiltins(imports); err != nil {
		return m, err
	}
	switch {
	case slices.Contains(exports, "default"):
		return m, nil
	case len(exports) == 0 && listensToFetch.Match(m.content):
		return m, fmt.Errorf("%s", serviceWorkerAdvice)
	}
	return m, fmt.Errorf("exports no fetch handler: it has no default export in %s. Export an object with a fetch method: export default { async fetch(request, env, ctx) { … } }", b.show(b.main))
}

// mainInterface is what the bundled main module exports, and what it imports
// when it starts.
func mainInterface(metafile string) (exports, imports []string, err error) {
	var meta struct {
		Outputs map[string]struct {
			EntryPoint string   `json:"entryPoint"`
			Exports    []string `json:"exports"`
			Imports    []struct {
				Path string `json:"path"`
				Kind string `json:"kind"`
			} `json:"imports"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		return nil, nil, fmt.Errorf("read esbuild's metafile: %w", err)
	}
	for _, out := range meta.Outputs {
		if out.EntryPoint == "" {
			continue
		}
		for _, i := range out.Imports {
			if i.Kind == "import-statement" {
				imports = append(imports, i.Path)
			}
		}
		return out.Exports, imports, nil
	}
	return nil, nil, nil
}

// failed says in the log what esbuild found, and what to do where we know it.
func (b *bundler) failed(log io.Writer, errors []api.Message) error {
	var builtins []string
	for i, message := range errors {
		name, ok := unresolved(message.Text)
		if !ok || !isNodeBuiltin(name) {
			continue
		}
		builtins = append(builtins, name)
		errors[i].Text = fmt.Sprintf("%q is part of Node.js, which the worker does not have without the compatibility flag nodejs_compat", name)
	}
	printMessages(log, "error", errors)
	if len(builtins) == len(errors) {
		slices.Sort(builtins)
		return b.errorf(`the worker uses parts of Node.js (%s). Add "nodejs_compat" to compatibility_flags`, clip(strings.Join(slices.Compact(builtins), ", ")))
	}
	what := "esbuild found " + count(len(errors), "error")
	if errors[0].Location == nil {
		what = clip(errors[0].Text) // about a setting, which nobody should have to look for in the log
	}
	return &models.Error{Code: models.CodeBuildFailed, Cause: ErrNotBundled,
		Message: fmt.Sprintf("The worker cannot be bundled: %s.", what)}
}

// unresolved is the name in esbuild's message for an import of nothing.
func unresolved(text string) (string, bool) {
	name, ok := strings.CutPrefix(text, `Could not resolve "`)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, `"`)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printMessages writes what esbuild says in the form that editors know. Its
// notes speak to people who call esbuild themselves, so they are left out.
func printMessages(log io.Writer, kind string, messages []api.Message) {
	const shown = 50
	for i, m := range messages {
		if i == shown {
			fmt.Fprintf(log, "… and %s more\n", count(len(messages)-shown, kind))
			return
		}
		where := ""
		if at := m.Location; at != nil {
			where = fmt.Sprintf("%s:%d:%d: ", at.File, at.Line, at.Column+1)
		}
		fmt.Fprintf(log, "%s%s: %s\n", where, kind, m.Text)
	}
}
