package models

import (
	"encoding/json"
	"sort"
)

// MaxWorkerBundle bounds the JSON of a worker bundle, in bytes: what is greater is
// never made a release of.
const MaxWorkerBundle = 4 << 20

// ModuleType says how workerd loads a module; the words are those of its
// configuration (src/workerd/server/workerd.capnp, Worker.Module).
type ModuleType string

// The kinds of modules a worker may have.
const (
	ModuleES       ModuleType = "esModule"
	ModuleCommonJS ModuleType = "commonJsModule"
	ModuleText     ModuleType = "text"
	ModuleData     ModuleType = "data"
	ModuleJSON     ModuleType = "json"
	ModuleWasm     ModuleType = "wasm"
)

// WorkerModule is one module of a worker, by content.
type WorkerModule struct {
	// Name is what other modules import it by: a clean relative path.
	Name   string     `json:"name"`
	Type   ModuleType `json:"type"`
	Digest string     `json:"sha256"`
	Size   int64      `json:"size"`
	// SourceMap is the digest of the module's source map; "" for none. It is
	// for error reports and never loaded into the worker.
	SourceMap string `json:"sourceMap,omitempty"`
}

// KVBinding gives a worker a key-value namespace under a name in env.
type KVBinding struct {
	Binding string `json:"binding"`
	// Namespace is what the project calls it (wrangler's id). Namespaces belong
	// to the organization: two projects that use the same one share its keys. It
	// is "" in a build's output for one of the project's own, which ForProject
	// names: the same output may be that of another project.
	Namespace string `json:"namespace"`
}

// WorkerAssets is how a worker and the assets beside it share the paths. The
// fields are those of wrangler's "assets" that serving does not know already
// (https://developers.cloudflare.com/workers/static-assets/binding/).
type WorkerAssets struct {
	// Binding is the name in env under which the worker fetches assets; "" for none.
	Binding string `json:"binding,omitempty"`
	// RunWorkerFirst lists the path patterns for which the worker answers even
	// though an asset would; a pattern after "!" is an exception. wrangler's true
	// is ["/*"].
	RunWorkerFirst []string `json:"runWorkerFirst,omitempty"`
}

// WorkerBundle is the server code of a release: everything that decides how it
// runs but the project's variables. Stored as a JSON blob whose digest is the
// release's WorkerDigest.
type WorkerBundle struct {
	Version int `json:"version"`
	// Modules start with the main one.
	Modules            []WorkerModule `json:"modules"`
	CompatibilityDate  string         `json:"compatibilityDate"`
	CompatibilityFlags []string       `json:"compatibilityFlags,omitempty"`
	// Vars are the plain variables of the project's own settings file. A JSON
	// string becomes text, everything else JSON. The project's variables win.
	Vars   map[string]json.RawMessage `json:"vars,omitempty"`
	Assets *WorkerAssets              `json:"assets,omitempty"`
	KV     []KVBinding                `json:"kv,omitempty"`
	// Self are the names in env by which the worker calls itself: wrangler's
	// service bindings to the worker's own name.
	Self []string `json:"self,omitempty"`
}

// Bindings says of every name in env that is neither a variable's nor the settings
// file's vars what it is, for people.
func (b *WorkerBundle) Bindings() map[string]string {
	bindings := map[string]string{}
	if b.Assets != nil && b.Assets.Binding != "" {
		bindings[b.Assets.Binding] = "the files of the release (assets)"
	}
	for _, kv := range b.KV {
		bindings[kv.Binding] = "a key-value namespace (kv_namespaces)"
	}
	for _, name := range b.Self {
		bindings[name] = "the worker itself (services)"
	}
	return bindings
}

// Digests names every blob that the worker's code consists of.
func (b *WorkerBundle) Digests() []string {
	if b == nil {
		return nil
	}
	var all []string
	for _, m := range b.Modules {
		all = append(all, m.Digest)
		if m.SourceMap != "" {
			all = append(all, m.SourceMap)
		}
	}
	return all
}

// Bytes is the size of the code, source maps aside.
func (b *WorkerBundle) Bytes() int64 {
	var total int64
	if b != nil {
		for _, m := range b.Modules {
			total += m.Size
		}
	}
	return total
}

// ForProject gives the worker as a release of a project has it: with a name for
// every namespace.
func (b WorkerBundle) ForProject(projectID string) WorkerBundle {
	b.KV = append([]KVBinding(nil), b.KV...)
	for i, kv := range b.KV {
		if kv.Namespace == "" {
			b.KV[i].Namespace = projectID + "-" + kv.Binding
		}
	}
	return b
}

// Encode gives the canonical JSON: modules after the main one sorted by name,
// so that equal workers have equal digests.
func (b WorkerBundle) Encode() ([]byte, error) {
	b.Version = 1
	b.Modules = append([]WorkerModule{}, b.Modules...)
	if len(b.Modules) > 0 {
		rest := b.Modules[1:]
		sort.Slice(rest, func(i, j int) bool { return rest[i].Name < rest[j].Name })
	}
	return json.Marshal(b)
}

// DecodeWorkerBundle reads what Encode wrote; anything else is CodeStorage,
// because only we write them.
func DecodeWorkerBundle(data []byte) (*WorkerBundle, error) {
	var b WorkerBundle
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, Wrap(CodeStorage, err, "A stored worker bundle is damaged.")
	}
	if b.Version != 1 || len(b.Modules) == 0 {
		return nil, Errorf(CodeStorage, "A stored worker bundle has version %d and %d modules; this release of Slipway reads version 1.", b.Version, len(b.Modules))
	}
	return &b, nil
}
