package edge

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipwayhq/slipway/models"
)

// Where things are in a worker's sandbox.
const (
	insideWorkerd = "/opt/workerd"
	insideModules = "/worker"
	insideSockets = "/sockets"
)

// The descriptors that workerd inherits, in the order of ServiceSpec.Files.
const (
	httpDescriptor = 3 + iota
	healthDescriptor
	controlDescriptor
	configDescriptor
)

// workerdArgs starts workerd on the inherited descriptors. --verbose is what
// makes it print the stacks of uncaught exceptions.
func workerdArgs() []string {
	return []string{
		insideWorkerd, "serve", "--verbose", "--import-path", insideModules,
		"--socket-fd", "http=" + strconv.Itoa(httpDescriptor),
		"--socket-fd", "health=" + strconv.Itoa(healthDescriptor),
		"--control-fd", strconv.Itoa(controlDescriptor),
		"/proc/self/fd/" + strconv.Itoa(configDescriptor), "config",
	}
}

// workerdConfig writes a release's configuration, whose schema is
// src/workerd/server/workerd.capnp. Modules are embedded from insideModules.
//
// The service named "internet" is what fetch and connect() reach; naming it so
// also keeps workerd from making its own, which would read the system's
// certificates. The health socket is answered by workerd's own file server, which
// needs no isolate: it is silent exactly when the event loop does not turn.
//
// V8 would let garbage grow until the heap is nearly full. A small heap to begin
// with halves what a worker under load holds (180 to 90 MiB after 40,000 requests),
// at no more processor time.
//
// With examined the modules of the examiner come first.
func workerdConfig(bundle *models.WorkerBundle, environment models.Environment, heapBytes int64, examined bool) string {
	var w strings.Builder
	w.WriteString(`using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "health", disk = (path = "/tmp")),
`)
	external := func(service, socket, options string) {
		fmt.Fprintf(&w, "    (name = %s, external = (address = %s, http = (%s))),\n",
			quote(service), quote("unix:"+insideSockets+"/"+socket), options)
	}
	// In the proxy style workerd sends no Host header, which servers insist on.
	external("internet", outboundSocket, `style = proxy, injectRequestHeaders = [(name = "Host", value = "outbound")]`)
	external("cache", cacheSocket, "")
	if hasAssets(bundle) {
		external("assets", assetsSocket, "style = proxy, injectRequestHeaders = [(name = \"Host\", value = \"assets\")]")
	}
	for i := range bundle.KV {
		external(kvSocket(i), kvSocket(i), "")
	}
	fmt.Fprintf(&w, `  ],
  sockets = [
    (name = "http", http = (forwardedProtoHeader = "X-Forwarded-Proto", cfBlobHeader = "X-Slipway-Cf"), service = "worker"),
    (name = "health", http = (), service = "health"),
  ],
  v8Flags = ["--max-heap-size=%d", "--initial-heap-size=8", "--max-semi-space-size=4"],
  logging = (structuredLogging = true, stdoutPrefix = "", stderrPrefix = "%s"),
);
const worker :Workerd.Worker = (
  modules = [
`, max(1, heapBytes>>20), stderrPrefix)
	if examined {
		for _, module := range examiner(bundle) {
			fmt.Fprintf(&w, "    (name = %s, esModule = %s),\n", quote(module.name), quote(module.source))
		}
	}
	for i, module := range bundle.Modules {
		fmt.Fprintf(&w, "    (name = %s, %s = embed %s),\n", quote(module.Name), module.Type, quote("/"+strconv.Itoa(i)))
	}
	fmt.Fprintf(&w, "  ],\n  compatibilityDate = %s,\n  compatibilityFlags = [", quote(bundle.CompatibilityDate))
	for _, flag := range bundle.CompatibilityFlags {
		w.WriteString(quote(flag) + ", ")
	}
	w.WriteString("],\n  bindings = [\n")
	writeBindings(&w, bundle, environment)
	w.WriteString("  ],\n  cacheApiOutbound = \"cache\",\n);\n")
	return w.String()
}

// writeBindings writes what is in env. Of two with one name the first wins:
// bindings, the project's variables, the settings file's.
func writeBindings(w *strings.Builder, bundle *models.WorkerBundle, environment models.Environment) {
	taken := map[string]bool{}
	bind := func(name, kind, value string) {
		if !taken[name] {
			taken[name] = true
			fmt.Fprintf(w, "    (name = %s, %s = %s),\n", quote(name), kind, value)
		}
	}
	if hasAssets(bundle) {
		bind(bundle.Assets.Binding, "service", quote("assets"))
	}
	for i, kv := range bundle.KV {
		bind(kv.Binding, "kvNamespace", quote(kvSocket(i)))
	}
	for _, name := range bundle.Self {
		bind(name, "service", quote("worker"))
	}
	for _, name := range sortedNames(environment) {
		bind(name, "text", quote(environment[name].Value))
	}
	for _, name := range sortedNames(bundle.Vars) {
		if text, ok := isText(bundle.Vars[name]); ok {
			bind(name, "text", quote(text))
		} else {
			bind(name, "json", quote(string(bundle.Vars[name])))
		}
	}
}

func hasAssets(bundle *models.WorkerBundle) bool {
	return bundle.Assets != nil && bundle.Assets.Binding != ""
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// quote writes a Cap'n Proto text literal (src/capnp/compiler/lexer.c++): bytes
// as they are but for what would end the literal or the line.
func quote(text string) string {
	var w strings.Builder
	w.Grow(len(text) + 2)
	w.WriteByte('"')
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			w.WriteByte('\\')
			w.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&w, `\x%02x`, c)
		default:
			w.WriteByte(c)
		}
	}
	w.WriteByte('"')
	return w.String()
}

// memoryFile is a file that exists in memory only: a worker's configuration holds
// its secrets, which are on no disk in the clear.
func memoryFile(content string) (*os.File, error) {
	fd, err := unix.MemfdCreate("config.capnp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "config.capnp")
	if _, err := file.WriteString(content); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
