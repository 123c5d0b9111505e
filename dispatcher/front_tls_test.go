package dispatcher_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/slipwayhq/slipway/dispatcher"
)

// listenTLS has the world answer HTTPS too and gives the address.
func (w *world) listenTLS(protocols ...string) string {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"*.localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(w.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	var running sync.WaitGroup
	running.Go(func() {
		err := w.server.ServeTLS(listener, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: protocols})
		if !errors.Is(err, http.ErrServerClosed) {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() {
		_ = w.server.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

func (w *world) dialTLS(addr string, protocols ...string) *client {
	w.t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{w.t, conn, bufio.NewReader(conn)}
}

func TestFrontTLS_guardsHTTP1(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.HTTPS.HSTS = "max-age=60" })
	w.deploy("my-app", files{"/index.html": "start", "/large.bin": strings.Repeat("x", 300_000)})
	addr := w.listenTLS()
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		conn := w.dialTLS(addr, protocols...)
		for range 3 {
			for _, request := range []string{"GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n", slowly("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")} {
				conn.send(request)
				a := conn.read("GET")
				require.Equal(t, "start", a.body)
				require.Equal(t, []string{"max-age=60"}, a.header["Strict-Transport-Security"])
			}
			conn.send("GET /large.bin HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
			require.Len(t, conn.read("GET").body, 300_000)
		}
		conn.send("GET / HTTP/1.1\nHost: my-app.localhost\n\n")
		require.Equal(t, 400, conn.read("GET").status)
		conn.ended()
	}
	require.Empty(t, w.get("my-app.localhost", "/").header["Strict-Transport-Security"])
	plain, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = plain.Close() }()
	_, err = io.WriteString(plain, "GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	require.NoError(t, err)
	_, err = io.ReadAll(plain)
	require.NoError(t, err, "and ends")
}

func TestFrontTLS_aConnectionForAChallengeEndsWithItsHandshake(t *testing.T) {
	w := newWorld(t, nil)
	addr := w.listenTLS("acme-tls/1")
	conn := w.dialTLS(addr, "acme-tls/1")
	require.Equal(t, "acme-tls/1", conn.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol)
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestFrontTLS_slowHandshakesAreCutOff(t *testing.T) {
	t.Parallel()
	// As long as the handshake that is not slow may need.
	w := newWorld(t, func(o *dispatcher.Options) { o.Limits.HeaderTimeout = 3 * time.Second })
	w.deploy("my-app", files{"/index.html": "start"})
	addr := w.listenTLS()
	var slow []net.Conn
	for range 50 {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		slow = append(slow, conn)
	}
	conn := w.dialTLS(addr)
	conn.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	require.Equal(t, "start", conn.read("GET").body)
	for _, conn := range slow {
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		_ = conn.Close()
	}
}

// h2Client sends frames as it likes.
type h2Client struct {
	t      *testing.T
	framer *http2.Framer
	next   uint32
}

func newH2(t *testing.T, conn net.Conn) *h2Client {
	_, err := io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	c := &h2Client{t: t, framer: http2.NewFramer(conn, conn), next: 1}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, c.framer.WriteSettings())
	return c
}

// ask sends a request of these fields and gives the status, "reset" or "gone",
// which the connection may be before all was said.
func (c *h2Client) ask(fields ...string) string {
	c.t.Helper()
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(c.t, encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	id := c.next
	c.next += 2
	if c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}) != nil {
		return "gone"
	}
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return "gone"
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() && c.framer.WriteSettingsAck() != nil {
				return "gone"
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamID == id {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == id {
				return "reset"
			}
		}
	}
}

func TestFrontHTTP2_refusesWhatWouldReadDifferentlyOnHTTP1(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": "start"})
	addr := w.listenTLS()
	request := func(path string, more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "https", ":path", path, ":authority", "my-app.localhost"}, more...)
	}
	for name, dial := range map[string]func() net.Conn{
		"TLS":             func() net.Conn { return w.dialTLS(addr, "h2").Conn },
		"prior knowledge": func() net.Conn { return w.dial().Conn },
	} {
		t.Run(name, func(t *testing.T) {
			c := newH2(t, dial())
			require.Equal(t, "200", c.ask(request("/")...))
			require.Equal(t, "200", c.ask(request("/", "host", "my-app.localhost")...))
			for what, fields := range map[string][]string{
				"another host":        request("/", "host", "other.localhost"),
				"a space":             request("/a b"),
				"a request line":      request("/ HTTP/1.1"),
				"a line end":          request("/\r\nX: y"),
				"a fragment":          request("/#a"),
				"a broken escape":     request("/%zz"),
				"connection":          request("/", "connection", "close"),
				"transfer encoding":   request("/", "transfer-encoding", "chunked"),
				"upgrade":             request("/", "upgrade", "websocket"),
				"upper case":          request("/", "X-A", "b"),
				"line end in a value": request("/", "x-a", "b\r\nc: d"),
				"NUL in a value":      request("/", "x-a", "b\x00"),
				"two authorities":     request("/", ":authority", "b"),
				"a late pseudo field": request("/", "x-a", "b", ":scheme", "http"),
				"a length that lies":  request("/", "content-length", "5"),
				"no path":             {":method", "GET", ":scheme", "https", ":authority", "my-app.localhost"},
				"no slash":            request("index.html"),
				"no authority":        {":method", "GET", ":scheme", "https", ":path", "/"},
				"tunnel":              {":method", "CONNECT", ":authority", "my-app.localhost:80"},
				"extended tunnel":     append([]string{":protocol", "websocket"}, request("/")...),
			} {
				c := newH2(t, dial())
				got := c.ask(fields...)
				require.Contains(t, []string{"400", "405", "reset", "gone"}, got, what)
			}
		})
	}
}

func TestFrontHTTP2_boundsBodies(t *testing.T) {
	seen := make(chan error, 1)
	serving := func(grace time.Duration) (url string) {
		w := newWorld(t, func(o *dispatcher.Options) { o.Limits.RequestBytes, o.Limits.SlowGrace = 1000, grace })
		w.server.HandleBodies(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			seen <- err
		}))
		return "https://" + w.listenTLS() + "/"
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	send := func(url string, body io.Reader) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, "POST", url, body)
		require.NoError(t, err)
		response, err := client.Do(request)
		if err == nil {
			require.Equal(t, 2, response.ProtoMajor)
			_ = response.Body.Close()
		}
		return <-seen
	}
	patient, hasty := serving(patience), serving(200*time.Millisecond)
	require.NoError(t, send(patient, strings.NewReader(strings.Repeat("x", 1000))))
	var large *http.MaxBytesError
	require.ErrorAs(t, send(patient, io.MultiReader(strings.NewReader(strings.Repeat("x", 1001)))), &large)
	reader, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	go func() { _, _ = io.WriteString(writer, "a beginning") }()
	require.ErrorIs(t, send(hasty, reader), os.ErrDeadlineExceeded)
}

func TestShutdown_finishesAnswersAndClosesIdleConnections(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy("my-app", files{"/index.html": strings.Repeat("x", 200_000)})
	w.get("my-app.localhost", "/")
	idle, fresh := w.dial(), w.dial()
	idle.send("GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	require.Len(t, idle.read("GET").body, 200_000)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	served := 0
	for i := range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", w.addr)
				if err != nil {
					return
				}
				reader := bufio.NewReader(conn)
				for range 5 {
					request := "GET / HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n"
					if i%2 == 0 {
						request = slowly(request)
					}
					if _, err := io.WriteString(conn, request); err != nil {
						break
					}
					response, err := http.ReadResponse(reader, nil)
					if err != nil {
						break // ended before the request was taken
					}
					if body, err := io.ReadAll(response.Body); err != nil || len(body) != 200_000 {
						t.Errorf("an answer broke off after %d bytes: %v", len(body), err)
					}
					mu.Lock()
					served++
					mu.Unlock()
				}
				_ = conn.Close()
			}
		})
	}
	eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return served > 50 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, w.server.Shutdown(ctx))
	close(stop)
	clients.Wait()
	idle.ended()
	fresh.ended()
	_, err := net.Dial("tcp", w.addr)
	require.Error(t, err)
}

// net/http gives a connection that never asked five seconds to begin.
func TestShutdown_doesNotWaitForAConnectionThatNeverAsked(t *testing.T) {
	var took time.Duration
	for range 3 { // a busy machine may hold one up
		w := newWorld(t, nil)
		fresh, later := w.dial(), w.dial()
		later.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.Equal(t, 404, later.read("GET").status, "both are with the server")
		began := time.Now()
		require.NoError(t, w.server.Shutdown(t.Context()))
		fresh.ended()
		if took = time.Since(began); took < 4*time.Second {
			return
		}
	}
	t.Fatalf("the shutdown took %v", took)
}

func TestShutdown_waitsForAnAnswerThatIsBeingRead(t *testing.T) {
	w := newWorld(t, func(o *dispatcher.Options) { o.Limits.CachedFileBytes = 64 << 20; o.Limits.CacheBytes = 4 << 30 })
	const size = 48 << 20 // more than both ends of a connection buffer
	w.deploy("my-app", files{"/large.bin": strings.Repeat("x", size)})
	require.Equal(t, 206, w.get("my-app.localhost", "/large.bin", "Range", "bytes=0-0").status)
	conn := w.dial()
	conn.send("GET /large.bin HTTP/1.1\r\nHost: my-app.localhost\r\n\r\n")
	_, err := conn.answers.Peek(1)
	require.NoError(t, err)
	ended := w.beginShutdown()
	require.Len(t, conn.read("GET").body, size)
	require.NoError(t, <-ended)
	conn.ended()
}

// beginShutdown has begun when nobody can connect any more, and still waits for
// the answers under way.
func (w *world) beginShutdown() (ended chan error) {
	w.t.Helper()
	ended = make(chan error, 1)
	go func() { ended <- w.server.Shutdown(w.t.Context()) }()
	eventually(w.t, func() bool {
		other, err := net.Dial("tcp", w.addr)
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	})
	select {
	case err := <-ended:
		w.t.Fatal("the shutdown did not wait: ", err)
	default:
	}
	return ended
}
