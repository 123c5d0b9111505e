package bundle

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/toolchain"
)

// capnpKinds are the fields of Worker.Module in workerd.capnp.
var capnpKinds = map[models.ModuleType]string{
	models.ModuleES: "esModule", models.ModuleCommonJS: "commonJsModule", models.ModuleText: "text",
	models.ModuleData: "data", models.ModuleJSON: "json", models.ModuleWasm: "wasm",
}

// serve starts the bundled worker in workerd and gives what it answers to GET /.
func (b built) serve() string {
	t := b.t
	t.Helper()
	w := b.read().Worker
	var modules, flags strings.Builder
	for _, m := range w.Modules {
		file, err := filepath.Rel(b.workspace, m.Digest)
		require.NoError(t, err)
		fmt.Fprintf(&modules, "(name = %q, %s = embed %q),\n", m.Name, capnpKinds[m.Type], file)
	}
	for _, flag := range w.CompatibilityFlags {
		fmt.Fprintf(&flags, "%q,", flag)
	}
	socket := filepath.Join(t.TempDir(), "s")
	config := fmt.Sprintf(`using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [%s], compatibilityDate = %q, compatibilityFlags = [%s]))],
  sockets = [(name = "http", address = "unix:%s", http = (), service = "main")]
);`, modules.String(), w.CompatibilityDate, flags.String(), socket)
	file := filepath.Join(b.workspace, "config.capnp")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o644))

	dir, err := toolchain.DefaultDir()
	require.NoError(t, err)
	tools, err := toolchain.Install(t.Context(), dir, t.Output())
	require.NoError(t, err)
	command := exec.Command(tools.Tool("workerd"), "serve", file)
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	require.NoError(t, command.Start())
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	defer func() { _ = command.Process.Kill(); <-ended }()

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", socket) }}}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		select {
		case <-ended:
			require.Fail(t, "workerd ended", said.String())
		default:
		}
		answer, err := client.Get("http://worker/")
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return string(body)
	}
	require.Fail(t, "workerd did not answer", said.String())
	return ""
}

// addWasm exports add(a, b) = a + b.
const addWasm = "\x00asm\x01\x00\x00\x00\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\x00\x07\x07\x01\x03add\x00\x00\x0a\x09\x01\x07\x00\x20\x00\x20\x01\x6a\x0b"

// dates are the first with today's Node modules and the first with the runtime's
// new registry of modules, which resolves names by other code.
var dates = []string{"2024-09-23", "2026-11-17"}

func TestRun_bundleOfEveryKindLoadsInWorkerd(t *testing.T) {
	for _, date := range dates {
		loadEveryKind(t, date)
	}
}

func loadEveryKind(t *testing.T, date string) {
	b := build(t, map[string]string{
		"wrangler.jsonc": fmt.Sprintf(`{"main":"src/index.tsx","compatibility_date":%q,"compatibility_flags":["nodejs_compat"],"tsconfig":"tsconfig.json"}`, date),
		"tsconfig.json":  `{"compilerOptions":{"jsx":"react","jsxFactory":"h"}}`,
		"src/index.tsx": `
import wasm from "./add.wasm"; import text from "./a.txt"; import data from "./d.bin"; import lib from "cjs"; import path from "path";
import { DurableObject } from "cloudflare:workers";
const h = (tag: string, props: unknown, text: string) => "<" + tag + ">" + text + "</" + tag + ">";
export default { async fetch(): Promise<Response> {
  const { exports } = await WebAssembly.instantiate(wasm);
  const { later } = await import("./later");
  return new Response([exports.add(2, 3), text, new Uint8Array(data)[1], lib.join(), lib.text, path.join("a", "b"), later, typeof DurableObject, <b>x</b>].join("|"));
} }`,
		"src/later.ts": "export const later = 'later'", "src/add.wasm": addWasm, "src/a.txt": "text", "src/d.bin": "\x00\x07",
		"node_modules/cjs/package.json": `{"name":"cjs","main":"index.js"}`,
		"node_modules/cjs/index.js":     `const path = require("path"); const E = require("events"); new E(); exports.join = () => path.join("x", "y"); exports.text = require("./t.txt"); require("cloudflare:sockets").connect;`,
		"node_modules/cjs/t.txt":        "required",
	})
	require.Equal(t, "5|text|7|x/y|required|a/b|later|function|<b>x</b>", b.serve())
}

func TestRun_optionalRequireOfAMissingBuiltinDoesNotEndTheWorker(t *testing.T) {
	b := build(t, map[string]string{
		"wrangler.jsonc": `{"main":"i.js","compatibility_date":"2025-01-01","compatibility_flags":["nodejs_compat"]}`,
		"i.js":           `import lib from "./lib.cjs"; export default { fetch: () => new Response(lib.out) }`,
		"lib.cjs":        `try { exports.out = typeof require("fs") } catch (e) { exports.out = e.code } const E = require("events"); exports.out += typeof new E().on`,
	})
	require.Equal(t, "MODULE_NOT_FOUNDfunction", b.serve())
}

func TestNodeBuiltins_areInTheRuntimeFromTheirDates(t *testing.T) {
	dates := map[string]bool{}
	for _, since := range nodeBuiltins {
		if since != "" {
			day, err := time.Parse(time.DateOnly, since)
			require.NoError(t, err)
			dates[since], dates[day.AddDate(0, 0, -1).Format(time.DateOnly)] = true, true
		}
	}
	for _, date := range sortedKeys(dates) {
		var want []string
		for _, name := range sortedKeys(nodeBuiltins) {
			if nodeBuiltins[name] <= date {
				want = append(want, name)
			}
		}
		b := build(t, map[string]string{
			"wrangler.jsonc": fmt.Sprintf(`{"main":"i.js","no_bundle":true,"compatibility_date":%q,"compatibility_flags":["nodejs_compat"]}`, date),
			"i.js": fmt.Sprintf(`export default { async fetch() {
  const found = [];
  for (const name of %s) { try { await import("node:" + name); found.push(name) } catch {} }
  return Response.json(found);
} }`, mustJSON(t, sortedKeys(nodeBuiltins))),
		})
		require.JSONEq(t, string(mustJSON(t, want)), b.serve(), date)
	}
}

func TestRun_collectedModulesLoadInWorkerd(t *testing.T) {
	for _, date := range dates {
		loadCollected(t, date)
	}
}

func loadCollected(t *testing.T, date string) {
	b := build(t, map[string]string{
		"wrangler.json": `{"main":"dist/index.js","no_bundle":true,"compatibility_date":"` + date + `","rules":[{"type":"ESModule","globs":["**/*.js"]},{"type":"CommonJS","globs":["**/*.cjs"]}]}`,
		"dist/index.js": `import t from "./t.txt"; import c from "./sub/c.cjs"; export default { async fetch() { const m = await import("./sub/m.js"); return new Response(t + c.c + m.m) } }`,
		"dist/t.txt":    "t", "dist/sub/c.cjs": "module.exports = { c: 'c' }", "dist/sub/m.js": "export const m = 'm'",
	})
	require.Equal(t, "tcm", b.serve())
}
