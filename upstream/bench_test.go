package upstream_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/slipwayhq/slipway/upstream"
)

// BenchmarkForward compares a request through this client with one through
// net/http's own proxy, tuned as far as it goes: the same server in front, the
// same bytes behind.
func BenchmarkForward(b *testing.B) {
	for name, size := range map[string]int{"1KiB": 1 << 10, "100KiB": 100 << 10} {
		head := "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(size) + "\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\n"
		listener := say(b, head+strings.Repeat("x", size))
		client := upstream.New(upstream.Options{Dial: dialer(listener)})
		b.Cleanup(client.Close)
		b.Run(name+"/ours", func(b *testing.B) {
			benchmark(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := client.Forward(w, r, upstream.Forwarding{Target: r.RequestURI, Host: r.Host}); err != nil {
					panic(err)
				}
			}), size)
		})
		transport := &http.Transport{
			MaxIdleConnsPerHost: 64, DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer(listener)(ctx) },
		}
		b.Cleanup(transport.CloseIdleConnections)
		proxy := &httputil.ReverseProxy{
			Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "upstream"}) },
			Transport:  transport,
			BufferPool: buffers{pool: &sync.Pool{New: func() any { return make([]byte, 32<<10) }}},
		}
		b.Run(name+"/ReverseProxy", func(b *testing.B) { benchmark(b, proxy, size) })
	}
}

type buffers struct{ pool *sync.Pool }

func (b buffers) Get() []byte  { return b.pool.Get().([]byte) }
func (b buffers) Put(p []byte) { b.pool.Put(p) } //nolint:staticcheck // the interface deals in slices

// benchmark makes requests over connections that stay open.
func benchmark(b *testing.B, handler http.Handler, size int) {
	server := httptest.NewServer(handler)
	defer server.Close()
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		in := bufio.NewReaderSize(conn, 64<<10)
		for pb.Next() {
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"); err != nil {
				b.Error(err)
				return
			}
			if _, err := readHead(in); err != nil {
				b.Error(err)
				return
			}
			if _, err := in.Discard(size); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
