package edge

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slipwayhq/slipway/models"
)

func TestWorker_thatIsRefusedForALimitFindsItInItsLog(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Outbound = func(Release) http.Handler {
			return http.HandlerFunc(func(answer http.ResponseWriter, q *http.Request) {
				if q.URL.Path != "/theirs" {
					answer.Header().Set("Proxy-Status", "slipway; error=connection_limit_reached")
				}
				answer.WriteHeader(http.StatusTooManyRequests)
			})
		}
	})
	r := w.deploy("r1", `import { connect } from "cloudflare:sockets";
	export default { async fetch(request) {
		const path = new URL(request.url).pathname;
		if (path === "/theirs") return new Response(String((await fetch("http://example.com/theirs")).status));
		let refused = 0;
		for (let i = 0; i < 5; i++) {
			if ((await fetch("http://example.com/ours")).status === 429) refused++;
			try { await connect("example.com:5432").opened; } catch { refused++; }
		}
		return new Response(String(refused));
	} }`)
	w.expect(r, "/theirs", "429")
	said := func() (lines []string) {
		for _, line := range w.lines.of(r.ID) {
			if line.Kind == models.LogSystem && line.Level == "warn" {
				lines = append(lines, line.Message)
			}
		}
		return lines
	}
	assert.Empty(t, said(), "an origin's own limit is its own")
	w.expect(r, "/", "10")
	w.awaitLine(r, models.LogSystem, "are being refused")
	assert.Len(t, said(), 1, "once for many")
}

func TestWorker_whoseConnectFailsFindsTheReasonInItsLog(t *testing.T) {
	const reason = `Slipway did not connect this worker to "10.0.0.1:22": workers reach public addresses only.`
	w := newWorld(t, func(o *Options) {
		o.Outbound = func(Release) http.Handler {
			return http.HandlerFunc(func(answer http.ResponseWriter, q *http.Request) {
				answer.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(answer, reason+"\n")
			})
		}
	})
	r := w.deploy("r1", `import { connect } from "cloudflare:sockets";
	export default { async fetch(request) {
		if (new URL(request.url).pathname === "/fetch") return new Response(await (await fetch("http://10.0.0.1/")).text());
		try { await connect("10.0.0.1:22").opened; return new Response("open"); } catch { return new Response("failed"); }
	} }`)
	w.expect(r, "/fetch", reason+"\n")
	w.expect(r, "/", "failed")
	w.awaitLine(r, models.LogSystem, "connect() failed: "+reason)
}
