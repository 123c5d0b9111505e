package kv_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/kv"
	"github.com/slipwayhq/slipway/toolchain/workerdtest"
)

const workerdConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-11-01",
      bindings = [(name = "KV", kvNamespace = "kv-0")])),
    (name = "kv-0", external = (address = "unix:%s", http = ())),
  ],
  sockets = [(name = "http", service = "main")]
);`

const workerdScript = `const assert = (ok, what) => { if (!ok) throw new Error("assertion failed: " + what); };
const same = (got, want) => assert(JSON.stringify(got) === JSON.stringify(want), JSON.stringify(got) + " is not " + JSON.stringify(want));
const key = "a/b c+ü%?#\u0000😀";
const failure = async (promise) => { try { await promise; return "none"; } catch (e) { return e.message; } };
const tests = {
  async types({ KV }) {
    same(await KV.get(key), null);
    await KV.put(key, '{"a":[1,"ü"]}');
    same(await KV.get(key), '{"a":[1,"ü"]}');
    same(await KV.get(key, "json"), { a: [1, "ü"] });
    same([...new Uint8Array(await KV.get(key, { type: "arrayBuffer", cacheTtl: 60 }))].length, 14);
    same(await new Response(await KV.get(key, "stream")).text(), '{"a":[1,"ü"]}');
    await KV.put(key, new Uint8Array([0, 255, 10]));
    same([...new Uint8Array(await KV.get(key, "arrayBuffer"))], [0, 255, 10]);
    await KV.put(key, "");
    same(await KV.get(key), "");
    await KV.put("large", new Uint8Array(20 * 1024 * 1024).fill(7));
    const large = new Uint8Array(await KV.get("large", "arrayBuffer"));
    same([large.length, large[large.length - 1]], [20 * 1024 * 1024, 7]);
    await KV.put("copy", await KV.get("large", "stream"));
    same((await KV.get("copy", "arrayBuffer")).byteLength, 20 * 1024 * 1024);
    await KV.delete(key);
    same(await KV.get(key), null);
    await KV.delete(key);
  },
  async metadata({ KV }) {
    const metadata = { text: "ü\n€ \"😀\"", n: [1, null, true] };
    const expiration = Math.floor(Date.now() / 1000) + 3600;
    await KV.put("m", "v", { metadata, expiration });
    same(await KV.getWithMetadata("m"), { value: "v", metadata, cacheStatus: null });
    same((await KV.list({ prefix: "m" })).keys, [{ name: "m", expiration, metadata }]);
    const began = Date.now() / 1000;
    await KV.put("m", "w", { expirationTtl: 60 });
    same((await KV.getWithMetadata("m")).metadata, null);
    const ends = (await KV.list({ prefix: "m" })).keys[0].expiration - 60;
    assert(ends > began - 1 && ends < Date.now() / 1000 + 1, "a minute after " + ends + ", from " + began);
    await KV.put("s", "v", { metadata: "just text" });
    same((await KV.getWithMetadata("s")).metadata, "just text");
    same((await KV.list({ prefix: "s" })).keys[0].metadata, "just text");
    same(await KV.getWithMetadata("none"), { value: null, metadata: null, cacheStatus: null });
  },
  async list({ KV }) {
    for (let i = 0; i < 25; i++) await KV.put("p/" + String(i).padStart(2, "0"), "v");
    await KV.put("q", "v");
    const names = [];
    let cursor, pages = 0;
    do {
      const page = await KV.list({ prefix: "p/", limit: 10, cursor });
      names.push(...page.keys.map((k) => k.name));
      same(page.list_complete, page.cursor === undefined);
      cursor = page.cursor;
      pages++;
    } while (cursor);
    same([names.length, names[0], names[24], pages], [25, "p/00", "p/24", 3]);
    same((await KV.list({ prefix: "nothing" })).keys, []);
  },
  async bulk({ KV }) {
    await KV.put("b1", '{"x":"</script>"}', { metadata: { m: 1 } });
    await KV.put("b2", "2");
    same([...await KV.get(["b1", "b2", "b3"])], [["b1", '{"x":"</script>"}'], ["b2", "2"], ["b3", null]]);
    same([...await KV.get(["b1", "b2"], { type: "json", cacheTtl: 60 })], [["b1", { x: "</script>" }], ["b2", 2]]);
    same([...await KV.getWithMetadata(["b1", "b2", "b3"])],
      [["b1", { value: '{"x":"</script>"}', metadata: { m: 1 } }], ["b2", { value: "2", metadata: null }], ["b3", null]]);
    await KV.put("7", "seven");
    same([...await KV.get(["7", "b2"])], [["b2", "2"]]); // workerd leaves out what looks like an index
    assert((await failure(KV.get(["q-text", "b1"], "arrayBuffer"))).includes("400 \"arrayBuffer\" is not a valid type"), "type");
  },
  async errors({ KV }) {
    same(await failure(KV.put("k", "v", { expirationTtl: 30 })), "KV PUT failed: 400 Invalid expiration_ttl of 30. Expiration TTL must be at least 60.");
    same(await failure(KV.put("k", "v", { expirationTtl: -1 })), "KV PUT failed: 400 Invalid expiration_ttl of -1. Please specify an integer greater than 0.");
    same(await failure(KV.put("k", "v", { metadata: "x".repeat(1023) })), "KV PUT failed: 413 Metadata length of 1025 exceeds limit of 1024.");
    same(await failure(KV.put("k", new Uint8Array(26214401))), "KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400.");
    same(await failure(KV.list({ limit: 1001 })), "KV GET failed: 400 Invalid key_count_limit of 1001. Please specify an integer less than or equal to 1000.");
    same(await failure(KV.put("k".repeat(513), "v")), "KV PUT failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.");
    same(await KV.get("k"), null);
    await KV.put("k", "the binding works on");
    same(await KV.get("k"), "the binding works on");
  },
  async many({ KV }) {
    await Promise.all([...Array(200).keys()].map((i) => KV.put("many" + i, "value " + i)));
    const values = await Promise.all([...Array(200).keys()].map((i) => KV.get("many" + i)));
    same(values, [...Array(200).keys()].map((i) => "value " + i));
  },
};
export default {
  async fetch(request, env) {
    try {
      await tests[new URL(request.url).pathname.slice(1)](env);
      return new Response("ok");
    } catch (e) {
      return new Response(e.stack);
    }
  },
};`

func TestHandler_isUnderstoodByWorkerd(t *testing.T) {
	store, organization := openStore(t)
	socket := serve(t, newServer(kv.Options{Store: store}).Handler(organization, "ns"))
	client := workerdtest.Serve(t, fmt.Sprintf(workerdConfig, socket), map[string]string{"worker.js": workerdScript})
	for _, name := range strings.Fields("types metadata list bulk errors many") {
		answer, err := client.Get("http://worker/" + name)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.Equal(t, "ok", string(body), name)
	}
}
