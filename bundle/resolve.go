package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/slipwayhq/slipway/models"
)

// requireSpace holds small modules that turn a require of something outside the
// bundle into an import: code in a bundle has no require of its own.
const requireSpace = "slipway-require"

// How an import comes back to the plugin that asked esbuild about it.
type (
	askedPlain struct{} // esbuild alone decides
	askedAlias struct{} // everything but aliases decides
)

func (b *bundler) setup(build api.PluginBuild) {
	build.OnResolve(api.OnResolveOptions{Filter: `.*`}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
		return b.resolve(build, args)
	})
	build.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: requireSpace}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
		contents := requireModule(args.Path)
		return api.OnLoadResult{Contents: &contents, Loader: api.LoaderJS}, nil
	})
}

// requireModule is the code of a module that stands for a required one.
func requireModule(name string) string {
	switch {
	case name == "node:async_hooks" || !strings.Contains(name, ":"):
		return fmt.Sprintf("import value from %q;\nmodule.exports = value;\n", name)
	case !strings.HasPrefix(name, "node:"):
		return fmt.Sprintf("import * as value from %q;\nmodule.exports = value;\n", name)
	}
	// Only when it is reached: code that can do without wraps a require in try,
	// and an import of a module that an older date lacks would end the worker.
	return fmt.Sprintf(`import process from "node:process";
const value = process.getBuiltinModule(%[1]q);
if (value === undefined) throw Object.assign(new Error("Cannot find module '%[1]s'"), { code: "MODULE_NOT_FOUND" });
module.exports = value;
`, name)
}

func (b *bundler) resolve(build api.PluginBuild, args api.OnResolveArgs) (api.OnResolveResult, error) {
	if _, plain := args.PluginData.(askedPlain); plain || args.Kind == api.ResolveEntryPoint {
		return api.OnResolveResult{}, nil
	}
	if args.Namespace == requireSpace {
		return api.OnResolveResult{Path: args.Path, External: true}, nil
	}
	if to, ok := b.Alias[args.Path]; ok {
		if _, aliased := args.PluginData.(askedAlias); !aliased {
			return b.ask(build, to, b.dir, args, askedAlias{}), nil
		}
	}
	if outside := b.outside(args.Path); outside != "" {
		return external(outside, args.Kind), nil
	}
	bare, _, _ := strings.Cut(args.Path, "?")
	if kind, ok := kindOf(b.rules, args.Path); ok && kind != models.ModuleES && kind != models.ModuleCommonJS {
		found := b.ask(build, bare, args.ResolveDir, args, askedPlain{})
		if len(found.Errors) > 0 || found.External {
			return found, nil
		}
		name, err := b.keep(found.Path, kind)
		if err != nil {
			return api.OnResolveResult{}, err
		}
		return external(b.importName(name), args.Kind), nil
	}
	if len(b.kept) > 0 && strings.HasPrefix(args.Path, ".") {
		file := filepath.Join(args.ResolveDir, filepath.FromSlash(args.Path))
		if name, err := filepath.Rel(b.base, file); err == nil && b.kept[file] {
			return external(b.importName(filepath.ToSlash(name)), args.Kind), nil
		}
	}
	return api.OnResolveResult{}, nil
}

// ask lets esbuild resolve a name from a folder.
func (b *bundler) ask(build api.PluginBuild, name, dir string, args api.OnResolveArgs, as any) api.OnResolveResult {
	found := build.Resolve(name, api.ResolveOptions{Importer: args.Importer, ResolveDir: dir, Kind: args.Kind, PluginData: as})
	return api.OnResolveResult{
		Errors: found.Errors, Warnings: found.Warnings, Path: found.Path, External: found.External,
		Namespace: found.Namespace, Suffix: found.Suffix,
	}
}

// outside is the name of a module that the runtime has; "" for all others.
func (b *bundler) outside(name string) string {
	switch {
	case strings.HasPrefix(name, "cloudflare:"), strings.HasPrefix(name, "workerd:"), name == "__STATIC_CONTENT_MANIFEST":
		return name
	case !isNodeBuiltin(name):
		return ""
	case b.nodeCompat(), b.hasFlag("nodejs_als") && strings.TrimPrefix(name, "node:") == "async_hooks":
		return "node:" + strings.TrimPrefix(name, "node:")
	}
	return ""
}

func external(name string, kind api.ResolveKind) api.OnResolveResult {
	if kind == api.ResolveJSRequireCall || kind == api.ResolveJSRequireResolve {
		return api.OnResolveResult{Path: name, Namespace: requireSpace}
	}
	return api.OnResolveResult{Path: name, External: true}
}

// keep makes a module of an imported file and returns its name. Names carry a
// hash of the content, since two folders may have files of one name.
func (b *bundler) keep(file string, kind models.ModuleType) (string, error) {
	m, err := readModule(filepath.Dir(file), file, kind)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(m.content)
	m.name = path.Join(path.Dir(b.mainName), hex.EncodeToString(sum[:8])+"-"+path.Base(m.name))
	if b.PreserveFileNames {
		if name, err := filepath.Rel(b.base, file); err == nil && filepath.IsLocal(name) {
			m.name = filepath.ToSlash(name)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.imported[m.name] {
		b.imported[m.name] = true
		b.found = append(b.found, m)
	}
	return m.name, nil
}

// importName is how the main module imports a module.
func (b *bundler) importName(name string) string {
	relative, err := filepath.Rel(path.Dir(b.mainName), name)
	if err != nil || strings.HasPrefix(relative, "../") {
		return relative
	}
	return "./" + relative
}
