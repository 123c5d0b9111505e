package edge

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	wayout "github.com/slipwayhq/slipway/outbound"
)

func TestWorker_thatOpensTenThousandSocketsIsBounded(t *testing.T) {
	var proxy *wayout.Proxy
	w := newWorld(t, func(o *Options) {
		proxy = wayout.New(wayout.Options{
			AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, MaxPerRelease: 64, OpensPerSecond: 10_000, Log: o.Log,
		})
		o.Outbound = func(r Release) http.Handler { return proxy.Handler(r.OrganizationID, r.ID) }
	})
	defer proxy.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() // its backlog has room for all that are let through
	leaks := w.deploy("leaks", `import { connect } from "cloudflare:sockets";
	export default { async fetch(request) {
		const address = "127.0.0.1:" + new URL(request.url).pathname.slice(1), open = [];
		let refused = 0;
		for (let i = 0; i < 50; i++) await Promise.all(Array.from({ length: 200 }, async () => {
			const socket = connect(address);
			socket.closed.catch(() => {});
			try { await socket.opened; open.push(socket); } catch { refused++; }
		}));
		return Response.json([open.length, refused]);
	} }`)
	fine := w.deploy("fine", hello)
	w.expect(fine, "/", "hello 1")
	answered := make(chan answer, 1)
	go func() { answered <- w.get(leaks, "/"+strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)) }()
	asked := 1
	for {
		select {
		case got := <-answered:
			require.NoError(t, got.err)
			assert.Equal(t, "[64,9936]", got.body)
			return
		default:
			asked++
			w.expect(fine, "/", fmt.Sprint("hello ", asked))
		}
	}
}
