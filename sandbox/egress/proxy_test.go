package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipwayhq/slipway/tools/leaks"
)

// registry is an echo server that stands for one; its port is real.
func registry(t *testing.T) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}

// serve runs a proxy on a unix socket until the test ends and returns the
// socket. Names resolve to loopback unless the options say otherwise.
func serve(t *testing.T, options Options) (socket string, proxy *Proxy) {
	t.Helper()
	if options.Resolve == nil {
		options.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	if options.Log == nil {
		options.Log = quiet
	}
	proxy, err := New(options)
	require.NoError(t, err)
	socket = filepath.Join(t.TempDir(), "proxy")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return socket, proxy
}

// patience is how long a test waits for what must come: long, because only a test
// that fails waits for all of it.
const patience = 2 * time.Minute

// connect sends one request head and reads the head of the answer.
func connect(t *testing.T, socket, request string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	require.NoError(t, err)
	return conn, reader, answer
}

func head(target string) string {
	return fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestProxy_carriesBytesToAnAllowedPlace(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaks.VerifyNone(t, before) })
	port := registry(t)
	socket, proxy := serve(t, Options{Allow: []string{"registry.test:" + port}, AllowPrivate: loopback})
	conn, reader, answer := connect(t, socket, head("Registry.test.:"+port))
	require.Equal(t, http.StatusOK, answer.StatusCode)
	_, err := io.WriteString(conn, "hello")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.UnixConn).CloseWrite())
	echoed, err := io.ReadAll(reader)
	require.NoError(t, err, "a half-close is passed on")
	require.Equal(t, "hello", string(echoed))
	require.EqualValues(t, 10, proxy.Bytes())
}

func TestProxy_carriesWhatWasSentAheadOfItsAnswer(t *testing.T) {
	port := registry(t)
	socket, _ := serve(t, Options{Allow: []string{"registry.test:" + port}, AllowPrivate: loopback})
	_, reader, answer := connect(t, socket, head("registry.test:"+port)+"early")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	early := make([]byte, 5)
	_, err := io.ReadFull(reader, early)
	require.NoError(t, err)
	require.Equal(t, "early", string(early))
}

func TestProxy_refusesEverythingElseAndSaysWhy(t *testing.T) {
	port := registry(t)
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	socket, _ := serve(t, Options{Allow: []string{"registry.test:" + port}, AllowPrivate: loopback, Log: logger})
	for request, want := range map[string]struct {
		status int
		says   string
	}{
		head("other.test:" + port):         {403, "allow-list"},
		head("registry.test:1"):            {403, "allow-list"},
		head("evil.registry.test:" + port): {403, "allow-list"},
		head("127.0.0.1:" + port):          {403, "by name only"},
		head("[::1]:" + port):              {403, "by name only"},
		head("registry.test"):              {403, "by name only"},
		"GET http://registry.test/ HTTP/1.1\r\nHost: registry.test\r\n\r\n": {405, "only CONNECT"},
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                 {405, "only CONNECT"},
		// The Host field is not what is connected to.
		"CONNECT other.test:443 HTTP/1.1\r\nHost: registry.test:" + port + "\r\n\r\n": {403, `"other.test:443"`},
	} {
		_, _, answer := connect(t, socket, request)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		// The answer to CONNECT has a body only when it is no success.
		require.Equal(t, want.status, answer.StatusCode, request)
		require.Contains(t, string(body), want.says, request)
	}
	require.Contains(t, log.String(), "other.test")
	_, _, answer := connect(t, socket, head("registry.test:"+port))
	require.Equal(t, 200, answer.StatusCode, "the allowed place, all the same")
}

func TestProxy_refusesNamesThatLeadInside(t *testing.T) {
	port := registry(t)
	for _, address := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00:ec2::254"} {
		socket, _ := serve(t, Options{
			Allow: []string{"registry.test:" + port},
			Resolve: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr(address)}, nil
			},
		})
		_, _, answer := connect(t, socket, head("registry.test:"+port))
		require.Equal(t, http.StatusForbidden, answer.StatusCode, address)
	}
}

// A name is resolved once and what was checked is dialled: a DNS server that
// answers differently the second time gains nothing.
func TestProxy_dialsTheAddressItChecked(t *testing.T) {
	port := registry(t)
	asked := 0
	socket, _ := serve(t, Options{
		Allow: []string{"rebind.test:" + port}, AllowPrivate: loopback,
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			asked++
			if asked > 1 {
				return nil, errors.New("asked again")
			}
			return []netip.Addr{netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("127.0.0.1")}, nil
		},
	})
	_, _, answer := connect(t, socket, head("rebind.test:"+port))
	require.Equal(t, 200, answer.StatusCode, "a refused address among others is passed over")
	require.Equal(t, 1, asked)
}

func TestProxy_saysBadGatewayWhenThePlaceIsAway(t *testing.T) {
	const target = "registry.test:1" // where nobody listens
	socket, _ := serve(t, Options{Allow: []string{target}, AllowPrivate: loopback})
	_, _, answer := connect(t, socket, head(target))
	require.Equal(t, http.StatusBadGateway, answer.StatusCode)
}

func TestProxy_endsIdleConnections(t *testing.T) {
	port := registry(t)
	socket, _ := serve(t, Options{
		Allow: []string{"registry.test:" + port}, AllowPrivate: loopback, IdleTimeout: 50 * time.Millisecond,
	})
	_, reader, _ := connect(t, socket, head("registry.test:"+port))
	_, err := reader.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestProxy_endsWhenItsVolumeIsUsedUp(t *testing.T) {
	port := registry(t)
	socket, _ := serve(t, Options{Allow: []string{"registry.test:" + port}, AllowPrivate: loopback, MaxBytes: 1000})
	conn, reader, _ := connect(t, socket, head("registry.test:"+port))
	_, _ = io.WriteString(conn, strings.Repeat("x", 2000))
	_, _ = io.Copy(io.Discard, reader)
	_, _, answer := connect(t, socket, head("registry.test:"+port))
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
}

func TestProxy_boundsConnections(t *testing.T) {
	port := registry(t)
	socket, _ := serve(t, Options{
		Allow: []string{"registry.test:" + port}, AllowPrivate: loopback, MaxConnections: 1, DialTimeout: time.Second,
	})
	first, _, answer := connect(t, socket, head("registry.test:"+port))
	require.Equal(t, 200, answer.StatusCode)
	_, _, answer = connect(t, socket, head("registry.test:"+port))
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	first.Close()
	deadline := time.Now().Add(patience)
	for answer.StatusCode != 200 && time.Now().Before(deadline) {
		_, _, answer = connect(t, socket, head("registry.test:"+port))
	}
	require.Equal(t, 200, answer.StatusCode, "a free place is given away again")
}

func TestProxy_goesThroughTheOperatorsProxy(t *testing.T) {
	port := registry(t)
	var asked, credentials string
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, credentials = r.RequestURI, r.Header.Get("Proxy-Authorization")
		to, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return
		}
		conn, _, _ := http.NewResponseController(w).Hijack()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		splice(conn, to)
	})}
	go func() { _ = server.Serve(upstream) }()
	t.Cleanup(func() { server.Close() })
	socket, _ := serve(t, Options{
		Allow: []string{"registry.test:8443"},
		Upstream: func(Target) (*url.URL, error) {
			return url.Parse("http://user:secret@" + upstream.Addr().String())
		},
	})
	conn, reader, answer := connect(t, socket, head("registry.test:8443"))
	require.Equal(t, 200, answer.StatusCode)
	require.Equal(t, "registry.test:8443", asked)
	require.Equal(t, "Basic dXNlcjpzZWNyZXQ=", credentials)
	_, err = io.WriteString(conn, "x")
	require.NoError(t, err)
	echoed, err := reader.ReadByte()
	require.NoError(t, err)
	require.EqualValues(t, 'x', echoed)
	_, _, answer = connect(t, socket, head("other.test:443"))
	require.Equal(t, 403, answer.StatusCode, "the allow-list holds there too")
}

func TestForward_carriesLocalConnectionsToTheSocket(t *testing.T) {
	port := registry(t)
	socket, _ := serve(t, Options{Allow: []string{"registry.test:" + port}, AllowPrivate: loopback})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go Forward(listener, socket)
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, head("registry.test:"+port)+"through")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(all), "\r\n\r\nthrough"), string(all))

	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer dead.Close()
	go Forward(dead, filepath.Join(t.TempDir(), "nowhere"))
	answer, err := http.Get("http://" + dead.Addr().String())
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusBadGateway, answer.StatusCode)
}

func TestNew_refusesAnAllowListWithAddresses(t *testing.T) {
	for _, text := range []string{"127.0.0.1:443", "host", "*:443"} {
		_, err := New(Options{Allow: []string{text}})
		require.Error(t, err, text)
	}
}
