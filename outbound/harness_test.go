package outbound

import (
	"bufio"
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/sandbox/egress"
	"github.com/slipwayhq/slipway/toolchain/workerdtest"
)

// patience is how long a test waits for what must come: long, because only a test
// that fails waits for all of it.
const patience = 2 * time.Minute

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// toLoopback resolves every name to this machine.
func toLoopback(_ context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// serve runs a proxy for one worker until the test ends.
func serve(t *testing.T, options Options) (*Proxy, string) {
	t.Helper()
	if options.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		options.Log = quiet
	}
	proxy := New(options)
	t.Cleanup(proxy.Close)
	return proxy, listen(t, proxy, "org_1", "rel_1")
}

// listen lets one more worker out through a proxy, on a socket of its own.
func listen(t *testing.T, proxy *Proxy, organization, release string) (socket string) {
	t.Helper()
	socket = workerdtest.Socket(t)
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(start(proxy, listener, organization, release))
	return socket
}

// start serves until stop is called, which ends requests and tunnels.
func start(proxy *Proxy, listener net.Listener, organization, release string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: proxy.Handler(organization, release), ErrorLog: proxy.discard,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(egress.LimitListener(listener, proxy.options.MaxPerRelease+32))
	}()
	return func() {
		cancel()
		_ = server.Close()
		<-ended
	}
}

// through is a client that speaks to the socket as workerd does: absolute form,
// whatever the scheme.
func through(t *testing.T, socket string) *http.Client {
	transport := &http.Transport{
		// A proxy's CONNECT for https would not be what workerd does.
		Proxy: nil, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: absolute{transport}, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// absolute turns the request's URL into a request target in absolute form.
type absolute struct{ next http.RoundTripper }

func (a absolute) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Host = "outbound"
	if out.Header.Get("User-Agent") == "" {
		out.Header["User-Agent"] = nil
	}
	out.URL = &url.URL{Scheme: "http", Host: "outbound", Opaque: "//" + r.URL.Host + r.URL.EscapedPath(), RawQuery: r.URL.RawQuery}
	if r.URL.Scheme == "https" {
		// RequestURI prefixes what begins with "//" with URL.Scheme.
		out.URL.Opaque = "https://" + r.URL.Host + r.URL.EscapedPath()
	}
	return a.next.RoundTrip(out)
}

// dialConnect asks for a tunnel and reads the head of the answer.
func dialConnect(t *testing.T, socket, target string) (*net.UnixConn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "CONNECT "+target+" HTTP/1.1\r\n\r\n")
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	require.NoError(t, err)
	return conn.(*net.UnixConn), reader, answer
}

// origin is a server of somebody else's; with TLS it also speaks HTTP/2.
func origin(t *testing.T, secure bool, handler http.HandlerFunc) (port string, roots *x509.CertPool) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = New(Options{}).discard
	if secure {
		server.EnableHTTP2 = true
		server.StartTLS()
		roots = x509.NewCertPool()
		roots.AddCert(server.Certificate())
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	parsed, err := url.Parse(server.URL)
	require.NoError(t, err)
	return parsed.Port(), roots
}

// echo is a TCP server that sends back what it gets.
func echo(t *testing.T) (port string) {
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
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	answer, err := client.Get(url)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer, string(body)
}
