package bundle

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/slipwayhq/slipway/models"
)

// defaultRules are wrangler's
// (https://developers.cloudflare.com/workers/wrangler/bundling/#including-non-javascript-modules).
var defaultRules = []Rule{
	{Type: models.ModuleText, Globs: []string{"**/*.txt", "**/*.html", "**/*.sql"}},
	{Type: models.ModuleData, Globs: []string{"**/*.bin"}},
	{Type: models.ModuleWasm, Globs: []string{"**/*.wasm", "**/*.wasm?module"}},
}

// pagesRules are added for a folder of modules, which a build tool bundled.
var pagesRules = []Rule{{Type: models.ModuleES, Globs: []string{"**/*.js", "**/*.mjs"}}}

// compiledRule is one pattern with the kind it gives.
type compiledRule struct {
	kind    models.ModuleType
	pattern *regexp.Regexp
}

// compileRules puts the project's rules before the defaults. A rule without
// fallthrough ends the list for its kind, as in wrangler.
func compileRules(own []Rule) ([]compiledRule, error) {
	var compiled []compiledRule
	ended := map[models.ModuleType]bool{}
	for _, rule := range append(slices.Clone(own), defaultRules...) {
		if ended[rule.Type] {
			continue
		}
		ended[rule.Type] = !rule.Fallthrough
		for _, glob := range rule.Globs {
			pattern, err := compileGlob(glob)
			if err != nil {
				return nil, err
			}
			compiled = append(compiled, compiledRule{rule.Type, pattern})
		}
	}
	return compiled, nil
}

func kindOf(rules []compiledRule, name string) (models.ModuleType, bool) {
	for _, rule := range rules {
		if rule.pattern.MatchString(name) {
			return rule.kind, true
		}
	}
	return "", false
}

// collectModules takes files as they are: the main one and those that the rules
// name in its folder.
func (p *plan) collectModules(c *code) error {
	main, rules, all := p.main, p.Rules, p.findsModules()
	if stat, err := os.Stat(main); err == nil && stat.IsDir() {
		all = true
		main, rules = filepath.Join(main, "index.js"), append(slices.Clone(rules), pagesRules...)
	}
	base, err := p.moduleBase(main)
	if err != nil {
		return err
	}
	first, err := readModule(base, main, models.ModuleES)
	if err != nil {
		return err
	}
	if kind, ok := kindOfMain(p.Rules, first.name); ok {
		first.kind = kind
	}
	switch filepath.Ext(main) {
	case ".ts", ".tsx", ".mts", ".cts", ".jsx":
		return p.errorf("main is %s and no_bundle is set, so that nothing would turn it into JavaScript. Remove no_bundle, or name what the build makes of it", p.show(main))
	}
	if err := p.checkMain(first); err != nil {
		return err
	}
	if err := c.add(first); err != nil || !all {
		return err
	}
	return p.additionalModules(c, base, main, rules)
}

// kindOfMain lets a rule say that the main module is CommonJS.
func kindOfMain(own []Rule, name string) (models.ModuleType, bool) {
	for _, rule := range own {
		for _, glob := range rule.Globs {
			if pattern, err := compileGlob(glob); err == nil && pattern.MatchString(name) {
				return rule.Type, rule.Type == models.ModuleCommonJS
			}
		}
	}
	return "", false
}

// moduleBase is the folder that the names of modules are relative to.
func (p *plan) moduleBase(main string) (string, error) {
	base := filepath.Dir(main)
	if p.BaseDir != "" {
		base = p.path(p.BaseDir)
	}
	if name, err := filepath.Rel(base, main); err != nil || !filepath.IsLocal(name) {
		return "", p.errorf("base_dir is %q, and main is not below it", p.BaseDir)
	}
	return base, nil
}

// additionalModules adds what the rules match below base.
func (p *plan) additionalModules(c *code, base, main string, own []Rule) error {
	rules, err := compileRules(own)
	if err != nil {
		return err
	}
	return filepath.WalkDir(base, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case ".git", ".wrangler", ".slipway":
				return fs.SkipDir
			case "node_modules":
				// A bundled output may carry one; the project's own is its sources.
				if file == filepath.Join(p.root, "node_modules") {
					return fs.SkipDir
				}
			}
			return nil
		}
		name, err := filepath.Rel(base, file)
		if err != nil || file == main || !isFile(file) {
			return err
		}
		kind, ok := kindOf(rules, filepath.ToSlash(name))
		if !ok {
			return nil
		}
		m, err := readModule(base, file, kind)
		if err != nil {
			return err
		}
		return c.add(m)
	})
}

// readModule reads a file with the source map beside it.
func readModule(base, file string, kind models.ModuleType) (module, error) {
	name, err := filepath.Rel(base, file)
	if err != nil {
		return module{}, err
	}
	m := module{name: filepath.ToSlash(name), kind: kind}
	stat, err := os.Stat(file)
	if err != nil {
		return m, err
	}
	if stat.Size() > MaxModuleBytes {
		return m, fmt.Errorf("has the module %s of %d MiB, more than the %d it may have in all", clip(m.name), stat.Size()>>20, MaxModuleBytes>>20)
	}
	if m.content, err = os.ReadFile(file); err != nil {
		return m, err
	}
	if kind == models.ModuleES || kind == models.ModuleCommonJS {
		m.sourceMap = readSourceMap(file, m.content)
	}
	return m, nil
}

var sourceMapComment = regexp.MustCompile(`(?m)^//[#@] ?sourceMappingURL=([^\s'"]+)\s*$`)

// readSourceMap reads the map that a file's last lines name; nil when there is
// none that is a file beside it.
func readSourceMap(file string, content []byte) []byte {
	const end = 4 << 10
	matches := sourceMapComment.FindAllSubmatch(content[max(0, len(content)-end):], -1)
	if len(matches) == 0 {
		return nil
	}
	name := string(matches[len(matches)-1][1])
	if path.Base(name) != name {
		return nil
	}
	name = filepath.Join(filepath.Dir(file), name)
	if stat, err := os.Stat(name); err != nil || !stat.Mode().IsRegular() || stat.Size() > maxOneMap {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return data
}

// maxOneMap is what the host collects as one file at most.
const maxOneMap = 60 << 20

var (
	listensToFetch = regexp.MustCompile(`\baddEventListener\s*\(\s*["'` + "`" + `]fetch["'` + "`" + `]`)
	moduleSyntax   = regexp.MustCompile(`(?m)(^|[;}\s])(import|export)\b`)
)

const serviceWorkerAdvice = "is written in service worker syntax (addEventListener), which is not supported. Export an object with a fetch method: export default { async fetch(request, env, ctx) { … } }"

// checkMain refuses a main module that nobody could send a request to. esbuild
// only parses here: names that come from "export *" are not known.
func (p *plan) checkMain(m module) error {
	if m.kind != models.ModuleES || moduleSyntax.Match(m.content) {
		return nil
	}
	if listensToFetch.Match(m.content) {
		return p.errorf("the worker %s", serviceWorkerAdvice)
	}
	if bytes.Contains(m.content, []byte("module.exports")) {
		return p.errorf(`the main module is CommonJS. Add { "type": "CommonJS", "globs": [%q] } to rules, or let it be bundled`, m.name)
	}
	return nil
}
