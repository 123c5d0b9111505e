package edge

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestWorker_seesVariablesSecretsAndBindings(t *testing.T) {
	w := newWorld(t)
	strange := "a\"\\\n\x01é日$z'\t{}"
	w.env.values["r1"] = models.Environment{"SECRET": {Value: strange, Secret: true}, "BOTH": {Value: "project"}, "KV": {Value: "no binding"}}
	r := w.deploy("r1", `export default { async fetch(request, env) {
		const path = new URL(request.url).pathname;
		if (path === "/env") return Response.json({ ...env, KV: typeof env.KV, ASSETS: typeof env.ASSETS });
		if (path === "/kv") { await env.KV.put("a", "value"); return new Response(await env.KV.get("a") + "," + await env.KV.get("b")); }
		return env.ASSETS.fetch(request);
	} }`, func(b *models.WorkerBundle) {
		b.Vars = map[string]json.RawMessage{
			"TEXT": json.RawMessage(`"plain"`), "JSON": json.RawMessage(`{"a":[1,null]}`), "BOTH": json.RawMessage(`"file"`),
		}
		b.KV = []models.KVBinding{{Binding: "KV", Namespace: "space"}}
		b.Assets = &models.WorkerAssets{Binding: "ASSETS"}
	})
	got := w.get(r, "/env")
	require.NoError(t, got.err)
	var env map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.body), &env))
	assert.Equal(t, map[string]any{
		"TEXT": "plain", "JSON": map[string]any{"a": []any{1.0, nil}}, "BOTH": "project", "SECRET": strange,
		"KV": "object", "ASSETS": "object",
	}, env)
	w.expect(r, "/kv", "value,null")
	_, stored := w.kv.Load(w.organization + "/space/a")
	assert.True(t, stored)
	w.expect(r, "/some/file.txt", "asset /some/file.txt of r1")
}

func TestWorker_reachesTheWorldThroughOutboundAlone(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", `import { connect } from "cloudflare:sockets";
	import net from "node:net";
	export default { async fetch(request) {
		const url = new URL(request.url), to = url.searchParams.get("to");
		try {
			if (url.pathname === "/fetch") return await fetch(to);
			if (url.pathname === "/net") return new Response(await new Promise((yes) => {
				const s = net.connect({ host: "192.0.2.9", port: 5432 });
				s.on("connect", () => s.write("ping")); s.on("data", (d) => yes(String(d))); s.on("error", (e) => yes("ERR " + e));
			}));
			const socket = connect(to, { secureTransport: url.searchParams.get("tls") ?? "off" });
			const writer = socket.writable.getWriter();
			await writer.write(new TextEncoder().encode("ping"));
			return new Response(socket.readable);
		} catch (error) { return new Response("ERR " + error); }
	} }`)
	w.expect(r, "/fetch?to=https://example.com/a%3Fb=1", "answer to https://example.com/a?b=1")
	w.expect(r, "/fetch?to=http://169.254.169.254/latest", "answer to http://169.254.169.254/latest")
	w.expect(r, "/connect?to=db.example.com:5432", "tunnel ping")
	w.expect(r, "/net", "tunnel ping")
	assert.Contains(t, w.get(r, "/connect?to=db.example.com:5432&tls=on").body, "ERR")
	assert.Equal(t, []string{
		"r1 GET https://example.com/a?b=1", "r1 GET http://169.254.169.254/latest",
		"r1 CONNECT //db.example.com:5432", "r1 CONNECT //192.0.2.9:5432",
	}, w.way.all()[:4])
}

func TestWorker_findsAnEmptyCache(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", `export default { async fetch(request) {
		const kept = new Response("x", { headers: { "Cache-Control": "max-age=60" } });
		await caches.default.put(request.url, kept);
		const named = await caches.open("mine");
		return Response.json([await caches.default.match(request.url) ?? null, await named.match(request.url) ?? null, await caches.default.delete(request.url)]);
	} }`)
	w.expect(r, "/", "[null,null,false]")
}

func TestWorker_loadsEveryKindOfModule(t *testing.T) {
	w := newWorld(t)
	// (module (func (export "seven") (result i32) i32.const 7))
	wasm := "\x00asm\x01\x00\x00\x00\x01\x05\x01\x60\x00\x01\x7f\x03\x02\x01\x00\x07\x09\x01\x05seven\x00\x00\x0a\x06\x01\x04\x00\x41\x07\x0b"
	r := w.deployModules("r1", []module{
		{name: "main.js", kind: models.ModuleES, content: `
			import text from "./note.txt"; import bytes from "./deep/data.bin"; import json from "./settings.json";
			import wasm from "./seven.wasm"; import common from "./common.cjs"; import { two } from "./deep/two.js";
			export default { fetch() {
				const seven = new WebAssembly.Instance(wasm).exports.seven();
				return Response.json([text, bytes.byteLength, json.a, seven, common.name, two]);
			} }`},
		{name: "note.txt", kind: models.ModuleText, content: "a \"note\"\n"},
		{name: "deep/data.bin", kind: models.ModuleData, content: "\x00\xff\x01"},
		{name: "settings.json", kind: models.ModuleJSON, content: `{"a":1}`},
		{name: "seven.wasm", kind: models.ModuleWasm, content: wasm},
		{name: "common.cjs", kind: models.ModuleCommonJS, content: `module.exports = { name: "common" }`},
		{name: "deep/two.js", kind: models.ModuleES, content: `export const two = 2;`},
	})
	w.expect(r, "/", `["a \"note\"\n",3,1,7,"common",2]`)
}

func TestWorker_seesNothingOfTheHost(t *testing.T) {
	w := newWorld(t)
	w.env.values["r1"] = models.Environment{"SECRET": {Value: "s3cr3t"}}
	r := w.deploy("r1", `import fs from "node:fs"; import process from "node:process";
	export default { fetch(request) {
		const seen = [];
		for (const path of ["/etc/passwd", "/proc/self/environ", "/sockets", "/worker"]) {
			try { seen.push(path + fs.readdirSync(path)); } catch {}
			try { seen.push(path + fs.readFileSync(path)); } catch {}
		}
		return Response.json([seen, request.cf ?? null, Object.keys(process.env).filter((k) => k !== "SECRET")]);
	} }`)
	w.expect(r, "/", "[[],null,[]]")
}

func TestWorker_thatOpensSocketsWithoutEndIsBounded(t *testing.T) {
	var most, now atomic.Int64
	w := newWorld(t, func(o *Options) {
		o.Outbound = func(Release) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
				for n := now.Add(1); ; {
					seen := most.Load()
					if n <= seen || most.CompareAndSwap(seen, n) {
						break
					}
				}
				defer now.Add(-1)
				<-q.Context().Done()
			})
		}
	})
	leaks := w.deploy("leaks", `import { connect } from "cloudflare:sockets";
	const all = [];
	let enough = false;
	export default { async fetch(request) {
		if (request.url.endsWith("/enough")) { enough = true; return new Response("thanks"); }
		for (let i = 0; i < 2000; i++) { const s = connect("db.example.com:" + (1 + i)); s.opened.catch(() => {}); s.closed.catch(() => {}); all.push(s); }
		while (!enough) await scheduler.wait(20);
		return new Response(String(all.length));
	} }`)
	fine := w.deploy("fine", hello)
	w.expect(fine, "/", "hello 1")
	answered := make(chan answer, 1)
	go func() { answered <- w.get(leaks, "/") }()
	w.eventually(func() bool { return now.Load() > 0 }, func() string { return "no socket was opened" })
	w.expect(fine, "/", "hello 2")
	w.expect(leaks, "/enough", "thanks")
	got := <-answered
	require.NoError(t, got.err)
	assert.Equal(t, "2000", got.body)
	assert.LessOrEqual(t, most.Load(), int64(maxWorkerConns))
}

// The way to the cache has room for so many connections; one worker that takes
// them all must not be in the way of another's.
func TestCache_ofOneWorkerIsNotHeldUpByAnother(t *testing.T) {
	w := newWorld(t)
	greedy := w.deploy("greedy", `
		const kept = [];
		export default { async fetch(request, env, ctx) {
			for (let i = 0; i < 330; i++) {
				const { readable, writable } = new TransformStream();
				const writer = writable.getWriter();
				kept.push(writer);
				writer.write(new Uint8Array(1)).catch(() => {});
				ctx.waitUntil(caches.default.put(new URL("/" + i, request.url), new Response(readable, { headers: { "Cache-Control": "max-age=100" } })));
			}
			await scheduler.wait(300);
			console.log("all taken");
			await scheduler.wait(60000);
		} }`)
	modest := w.deploy("modest", `export default { async fetch(request) {
		return Response.json(await caches.default.match(request.url) ?? null);
	} }`)
	var asking sync.WaitGroup
	asking.Go(func() { w.get(greedy, "/") })
	w.awaitLine(greedy, models.LogConsole, "all taken")
	w.expect(modest, "/", "null")
	w.stop()
	asking.Wait()
}
