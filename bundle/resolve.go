package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"slices"
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
		contents := fmt.Sprintf("import value from %q;\nmodule.exports = value;\n", args.Path)
		if strings.HasPrefix(args.Path, "cloudflare:") || strings.HasPrefix(args.Path, "workerd:") {
			contents = fmt.Sprintf("import * as value from %q;\nmodule.exports = value;\n", args.Path)
		}
		return api.OnLoadResult{Contents: &contents, Loader: api.LoaderJS}, nil
	})
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
		Namespace: found.Namespace, Suffix: found.Suffix, PluginData: found.PluginData,
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

func (b *bundler) nodeCompat() bool {
	return b.hasFlag("nodejs_compat") || b.hasFlag("nodejs_compat_v2")
}

func (b *bundler) hasFlag(flag string) bool { return slices.Contains(b.CompatibilityFlags, flag) }

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

// isNodeBuiltin says whether a name means a module of Node.js, with or without
// the prefix "node:".
func isNodeBuiltin(name string) bool {
	bare, prefixed := strings.CutPrefix(name, "node:")
	return prefixed || slices.Contains(nodeBuiltins, bare)
}

// nodeBuiltins are the modules that Node 22 knows without the prefix
// (https://nodejs.org/docs/latest-v22.x/api/module.html#modulebuiltinmodules).
var nodeBuiltins = []string{
	"_http_agent", "_http_client", "_http_common", "_http_incoming", "_http_outgoing", "_http_server",
	"_stream_duplex", "_stream_passthrough", "_stream_readable", "_stream_transform", "_stream_wrap", "_stream_writable",
	"_tls_common", "_tls_wrap", "assert", "assert/strict", "async_hooks", "buffer", "child_process", "cluster", "console",
	"constants", "crypto", "dgram", "diagnostics_channel", "dns", "dns/promises", "domain", "events", "fs", "fs/promises",
	"http", "http2", "https", "inspector", "inspector/promises", "module", "net", "os", "path", "path/posix", "path/win32",
	"perf_hooks", "process", "punycode", "querystring", "readline", "readline/promises", "repl", "stream",
	"stream/consumers", "stream/promises", "stream/web", "string_decoder", "sys", "timers", "timers/promises", "tls",
	"trace_events", "tty", "url", "util", "util/types", "v8", "vm", "wasi", "worker_threads", "zlib",
}
