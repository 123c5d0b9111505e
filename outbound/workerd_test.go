package outbound

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/toolchain/workerdtest"
)

const workerdConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-11-01",
      bindings = [(name = "TLS", text = "%s"), (name = "ECHO", text = "%s")],
      globalOutbound = "outbound")),
    (name = "outbound", external = (address = "unix:%s", http = (style = proxy,
      injectRequestHeaders = [(name = "Host", value = "outbound")]))),
  ],
  sockets = [(name = "http", service = "main")]
);`

const workerdScript = `import { connect } from "cloudflare:sockets";
const text = (bytes) => new TextDecoder().decode(bytes);
const tests = {
  async fetch(env) {
    const r = await fetch(env.TLS + "/path%2Fa|b?q=1", { method: "POST", body: "hello", headers: { "X-Mine": "1", host: "forged.test" } });
    return r.status + " " + await r.text();
  },
  async expect(env) {
    const r = await fetch(env.TLS + "/echo", { method: "POST", body: "hello", headers: { Expect: "100-continue" } });
    return r.status + " " + await r.text();
  },
  async leak(env) {
    const sockets = await Promise.allSettled([...Array(2000).keys()].map(() => connect(env.ECHO).opened));
    const open = sockets.filter((s) => s.status === "fulfilled").length;
    const r = await fetch(env.TLS + "/");
    return open + " " + r.status + " " + r.headers.get("Proxy-Status");
  },
  async stream(env) {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    const sent = (async () => { for (const c of "abc") await writer.write(new TextEncoder().encode(c)); await writer.close(); })();
    const r = await fetch(env.TLS + "/echo", { method: "POST", body: readable });
    const got = await r.text();
    await sent;
    return got;
  },
  async websocket(env) {
    const r = await fetch(env.TLS + "/ws", { headers: { Upgrade: "websocket" } });
    const message = new Promise((resolve) => r.webSocket.addEventListener("message", (e) => resolve(e.data)));
    r.webSocket.accept();
    r.webSocket.send("hello");
    return r.status + " " + await message;
  },
  async connect(env) {
    const socket = connect(env.ECHO);
    const info = await socket.opened;
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode("hello"));
    const { value } = await socket.readable.getReader().read();
    await socket.close();
    return text(value);
  },
  async refused() {
    const r = await fetch("http://169.254.169.254/latest/meta-data");
    return r.status + " " + r.headers.get("Proxy-Status") + " " + await r.text();
  },
  async redirected(env) {
    const r = await fetch(env.TLS + "/redirect");
    return r.status + " " + r.redirected + " " + r.headers.get("Proxy-Status");
  },
  async connectRefused() { await connect("[fd00:ec2::254]:80").opened; return "open"; },
  async connectMail(env) { await connect("mail.test:25").opened; return "open"; },
  async connectTLS(env) {
    await connect(env.ECHO, { secureTransport: "on" }).opened;
    return "open";
  },
};
export default {
  async fetch(request, env) {
    try {
      return new Response(await tests[new URL(request.url).pathname.slice(1)](env));
    } catch (e) {
      return new Response("threw " + e);
    }
  },
};`

func TestProxy_isUnderstoodByWorkerd(t *testing.T) {
	port, roots := origin(t, true, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		case "/redirect":
			http.Redirect(w, r, "http://10.0.0.1/", http.StatusFound)
		case "/ws":
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			kind, message, _ := conn.Read(r.Context())
			_ = conn.Write(r.Context(), kind, append(message, '!'))
			_ = conn.Close(websocket.StatusNormalClosure, "")
		default:
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s%s %s %s", r.Proto, r.Method, r.Host, r.RequestURI, r.Header.Get("X-Mine"), body)
		}
	})
	echoPort := echo(t)
	_, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, RootCAs: roots})
	client := workerdtest.Serve(t, fmt.Sprintf(workerdConfig, "https://example.com:"+port, "echo.test:"+echoPort, socket),
		map[string]string{"worker.js": workerdScript})
	for name, want := range map[string]string{
		"fetch":          "200 HTTP/2.0 POST example.com:" + port + "/path%2Fa|b?q=1 1 hello",
		"expect":         "200 hello",
		"stream":         "abc",
		"websocket":      "101 hello!",
		"connect":        "hello",
		"refused":        "403 slipway; error=destination_ip_prohibited Slipway did not connect this worker to \"169.254.169.254\": workers reach public addresses only, and 169.254.169.254 is link-local or cloud metadata (RFC 3927).\n",
		"redirected":     "403 true slipway; error=destination_ip_prohibited",
		"connectMail":    "threw Error: proxy request failed",
		"connectRefused": "threw Error: proxy request failed",
		"connectTLS":     "threw Error: proxy request failed",
	} {
		_, body := get(t, client, "http://worker/"+name)
		if prefix, threw := strings.CutPrefix(want, "threw "); threw {
			require.Contains(t, body, "threw ", name)
			require.Contains(t, body, prefix, name)
			continue
		}
		require.Equal(t, want, body, name)
	}
}

func TestProxy_aWorkerThatLeaksSocketsHurtsNobodyElse(t *testing.T) {
	port, roots := origin(t, true, func(http.ResponseWriter, *http.Request) {})
	echoPort := echo(t)
	proxy, socket := serve(t, Options{AllowPrivate: loopback, Resolve: toLoopback, RootCAs: roots, MaxPerRelease: 64})
	leaking := workerdtest.Serve(t, fmt.Sprintf(workerdConfig, "https://example.com:"+port, "echo.test:"+echoPort, socket),
		map[string]string{"worker.js": workerdScript})
	neighbor := through(t, listen(t, proxy, "org_1", "rel_2"))
	leaked := make(chan string)
	go func() {
		answer, err := leaking.Get("http://worker/leak")
		if err != nil {
			leaked <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		leaked <- string(body)
	}()
	for {
		answer, _ := get(t, neighbor, "https://example.com:"+port+"/")
		require.Equal(t, http.StatusOK, answer.StatusCode)
		select {
		case result := <-leaked:
			require.Equal(t, "64 429 slipway; error=connection_limit_reached", result)
			return
		default:
		}
	}
}
