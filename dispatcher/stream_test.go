package dispatcher_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

// streams is a worker that streams in every way there is.
const streams = `
const text = new TextEncoder();
let left = 0, seen = 0;
export default { async fetch(request, env, ctx) {
  const url = new URL(request.url);
  switch (url.pathname) {
  case "/echo": return new Response(request.body);
  case "/count": {
    let n = 0;
    for await (const chunk of request.body) n += chunk.byteLength;
    return new Response(String(n));
  }
  case "/socket": {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", (e) => e.data === "bye" ? server.close(4001, "as asked") : server.send(e.data));
    return new Response(null, { status: 101, webSocket: client });
  }
  case "/events": {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    ctx.waitUntil((async () => {
      for (let i = 0; i < 3; i++) {
        const before = seen;
        await writer.write(text.encode("data: " + i + "\n\n"));
        while (seen === before) await scheduler.wait(5);
      }
      await writer.close();
    })().catch(() => {}));
    return new Response(readable, { headers: { "Content-Type": "text/event-stream" } });
  }
  case "/seen": return new Response(String(++seen));
  case "/endless": {
    request.signal.addEventListener("abort", () => { left++; });
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    ctx.waitUntil((async () => { for (;;) { await writer.write(text.encode("more ")); await scheduler.wait(20); } })().catch(() => { left++; }));
    return new Response(readable);
  }
  case "/left": return new Response(String(left));
  case "/empty": return new Response(null, { status: 204 });
  }
  return new Response(request.method + " " + url.pathname);
} };`

// workerdWorld serves the script by the real workerd, over plain HTTP and TLS.
func workerdWorld(t *testing.T, script string) (w *world, secure *http.Client, kill func()) {
	t.Helper()
	socket, process := startWorkerd(t, script)
	w, _ = newHybrid(t, socket, nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	return w, w.serveTLS(), func() { require.NoError(t, process.Kill()) }
}

// serveTLS serves the world over HTTPS too and gives a client that prefers HTTP/2
// and finds every host there.
func (w *world) serveTLS() *http.Client {
	w.t.Helper()
	borrowed := httptest.NewTLSServer(nil)
	certificates := borrowed.TLS.Certificates
	borrowed.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	server := w.d.Server()
	var running sync.WaitGroup
	running.Go(func() { _ = server.ServeTLS(listener, &tls.Config{Certificates: certificates}) })
	transport := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate names another host
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
		},
	}
	w.t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		running.Wait()
	})
	return &http.Client{Transport: transport, Timeout: patience}
}

// plain is a client over HTTP/1.1 that finds every host at the world.
func (w *world) plain() *http.Client {
	transport := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", w.addr)
	}}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestWorkerd_streamsThroughHTTP1AndHTTP2(t *testing.T) {
	w, secure, _ := workerdWorld(t, streams)
	for base, client := range map[string]*http.Client{"http://my-app.localhost": w.plain(), "https://my-app.localhost": secure} {
		t.Run(base[:5], func(t *testing.T) {
			response, err := client.Get(base + "/events")
			require.NoError(t, err)
			require.Equal(t, base[:5] == "https", response.ProtoMajor == 2)
			in := bufio.NewReader(response.Body)
			for i := range 3 {
				line, err := in.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("data: %d\n", i), line)
				_, _ = in.ReadString('\n')
				// The worker sends the next event only after this one was seen.
				told, err := client.Get(base + "/seen")
				require.NoError(t, err)
				_, _ = io.Copy(io.Discard, told.Body)
				_ = told.Body.Close()
			}
			_, err = in.ReadByte()
			require.ErrorIs(t, err, io.EOF)
			_ = response.Body.Close()

			reader, writer := io.Pipe()
			response, err = client.Post(base+"/echo", "text/plain", reader)
			require.NoError(t, err)
			in = bufio.NewReader(response.Body)
			for i := range 3 {
				_, err = fmt.Fprintf(writer, "%d\n", i)
				require.NoError(t, err)
				line, err := in.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("%d\n", i), line)
			}
			_ = writer.Close()
			_, err = in.ReadByte()
			require.ErrorIs(t, err, io.EOF)
			_ = response.Body.Close()

			response, err = client.Get(base + "/empty")
			require.NoError(t, err)
			_ = response.Body.Close()
			require.Equal(t, 204, response.StatusCode)
		})
	}
}

func TestWorkerd_webSocketsAreTunnelled(t *testing.T) {
	w, secure, _ := workerdWorld(t, streams)
	upgrading := secure.Transport.(*http.Transport).Clone()
	upgrading.ForceAttemptHTTP2 = false
	upgrading.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	upgrading.TLSClientConfig.NextProtos = []string{"http/1.1"}
	t.Cleanup(upgrading.CloseIdleConnections)
	for address, client := range map[string]*http.Client{
		"ws://my-app.localhost/socket":          {Transport: w.plain().Transport},
		"ws://localhost/dispatch/my-app/socket": {Transport: w.plain().Transport},
		"wss://my-app.localhost/socket":         {Transport: upgrading},
	} {
		t.Run(address, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			socket, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: client})
			require.NoError(t, err)
			defer func() { _ = socket.CloseNow() }()
			socket.SetReadLimit(2 << 20)
			for _, message := range []string{"hello", strings.Repeat("x", 1<<20), ""} {
				require.NoError(t, socket.Write(ctx, websocket.MessageText, []byte(message)))
				kind, got, err := socket.Read(ctx)
				require.NoError(t, err)
				require.Equal(t, websocket.MessageText, kind)
				require.Equal(t, message, string(got))
			}
			require.NoError(t, socket.Write(ctx, websocket.MessageText, []byte("bye")))
			_, _, err = socket.Read(ctx)
			var closed websocket.CloseError
			require.ErrorAs(t, err, &closed)
			require.Equal(t, "as asked", closed.Reason)
		})
	}
}

func TestWorkerd_hearsThatTheClientLeft(t *testing.T) {
	w, secure, _ := workerdWorld(t, streams)
	for base, client := range map[string]*http.Client{"http://my-app.localhost": w.plain(), "https://my-app.localhost": secure} {
		before := w.get("my-app.localhost", "/left").body
		response, err := client.Get(base + "/endless")
		require.NoError(t, err)
		_, err = io.ReadFull(response.Body, make([]byte, 5))
		require.NoError(t, err)
		_ = response.Body.Close()
		eventually(t, func() bool { return w.get("my-app.localhost", "/left").body != before })
	}
}

func TestWorkerd_crashCutsTheAnswerOff(t *testing.T) {
	w, secure, kill := workerdWorld(t, streams)
	var responses []*http.Response
	for base, client := range map[string]*http.Client{"http://my-app.localhost": w.plain(), "https://my-app.localhost": secure} {
		response, err := client.Get(base + "/endless")
		require.NoError(t, err)
		defer response.Body.Close()
		_, err = io.ReadFull(response.Body, make([]byte, 5))
		require.NoError(t, err)
		responses = append(responses, response)
	}
	kill()
	for _, response := range responses {
		_, err := io.Copy(io.Discard, response.Body)
		require.Error(t, err, "HTTP/%d shows that the answer is not whole", response.ProtoMajor)
	}
	require.Equal(t, 502, w.get("my-app.localhost", "/").status)
}

func TestWorkerd_largeUploadTakesLittleMemory(t *testing.T) {
	const size = 256 << 20
	socket, _ := startWorkerd(t, streams)
	w, _ := newHybrid(t, socket, func(o *dispatcher.Options) { o.Limits.RequestBytes = size })
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	// What is measured is what is held, not the garbage that the collector has not
	// come to, of which there may be as much again.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	var before runtime.MemStats
	runtime.GC() // what other tests left
	runtime.ReadMemStats(&before)
	most := make(chan uint64)
	done := make(chan struct{})
	go func() {
		var peak uint64
		for {
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			peak = max(peak, memory.HeapAlloc)
			select {
			case <-done:
				most <- peak
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	response, err := w.plain().Post("http://my-app.localhost/count", "application/octet-stream", io.LimitReader(zeros{}, size))
	require.NoError(t, err)
	counted, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	_ = response.Body.Close()
	close(done)
	peak := <-most
	require.Equal(t, fmt.Sprint(size), string(counted))
	require.Less(t, peak, before.HeapAlloc+64<<20, "bytes of heap at most")
}

// zeros is a reader without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestWorkerd_continueIsAskedForAndGiven(t *testing.T) {
	w, _, _ := workerdWorld(t, streams)
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	in := bufio.NewReader(conn)
	for range 2 {
		_, err = io.WriteString(conn, "POST /count HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		require.NoError(t, err)
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
		for line != "\r\n" {
			line, err = in.ReadString('\n')
			require.NoError(t, err)
		}
		_, err = io.WriteString(conn, "hello")
		require.NoError(t, err)
		response, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, "5", string(body))
	}
	// A worker that answers without reading ends the connection, not the client's wait.
	began := time.Now()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: my-app.localhost\r\nContent-Length: 500000\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(all, []byte("POST /")), "%s", all)
	if time.Since(began) < time.Second { // after that the client is asked all the same
		require.Equal(t, 1, bytes.Count(all, []byte("HTTP/1.1 ")))
	}
}

func TestWorkerd_slowUploadIsLetGo(t *testing.T) {
	socket, _ := startWorkerd(t, streams)
	w, _ := newHybrid(t, socket, func(o *dispatcher.Options) {
		o.Limits.SlowGrace = 200 * time.Millisecond
		o.Limits.BodyRate = 1 << 20
	})
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	secure := w.serveTLS()
	for base, client := range map[string]*http.Client{"http://my-app.localhost": w.plain(), "https://my-app.localhost": secure} {
		reader, writer := io.Pipe()
		response, err := client.Post(base+"/count", "text/plain", reader)
		if err == nil {
			require.Equal(t, 408, response.StatusCode, base)
			_ = response.Body.Close()
		}
		var late net.Error
		require.False(t, errors.As(err, &late) && late.Timeout(), "the client gave up first: %v", err)
		_ = writer.CloseWithError(errors.New("over"))
	}
	require.Equal(t, "GET /", w.get("my-app.localhost", "/").body)
}
