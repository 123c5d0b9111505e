package egress

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hello is the first message of a client that asks for a name.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}).Handshake()
		client.Close()
	}()
	first := make([]byte, 16<<10)
	require.NoError(t, server.SetDeadline(time.Now().Add(patience)))
	n, err := server.Read(first)
	require.NoError(t, err)
	return first[:n]
}

func TestReadHello_wantsTheNameThatWasConnectedTo(t *testing.T) {
	target := Target{"registry.test", 443}
	good := hello(t, "registry.test")
	raw, err := readHello(target, bytes.NewReader(good))
	require.NoError(t, err)
	require.Equal(t, good, raw, "every byte goes on")
	// In pieces, as a slow network delivers it.
	raw, err = readHello(target, io.MultiReader(bytes.NewReader(good[:1]), bytes.NewReader(good[1:7]), bytes.NewReader(good[7:])))
	require.NoError(t, err)
	require.Equal(t, good, raw)
	for says, bad := range map[string][]byte{
		`names "evil.test"`: hello(t, "evil.test"),
		`names ""`:          hello(t, ""),
		"no TLS":            []byte("GET / HTTP/1.1\r\n\r\n"),
		"cannot be read":    good[:len(good)/2],
		"EOF":               nil,
	} {
		_, err := readHello(target, bytes.NewReader(bad))
		require.ErrorContains(t, err, says)
	}
	_, err = readHello(target, io.MultiReader(strings.NewReader("\x16\x03\x01\x40\x00\x01\x00\xff\xff"), zeros{}))
	require.Error(t, err, "an endless hello")
	raw, err = readHello(Target{"registry.test", 4873}, strings.NewReader("GET"))
	require.NoError(t, err)
	require.Equal(t, "G", string(raw))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestProxy_carriesTLSToTheNameItWasAskedForOnly(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "package")
	}))
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	target := Target{"registry.test", address.Port()}.String()
	socket, _ := serve(t, Options{Allow: []string{target}, AllowPrivate: loopback})
	for name, passes := range map[string]bool{"registry.test": true, "evil.test": false} {
		conn, _, answer := connect(t, socket, head(target))
		require.Equal(t, 200, answer.StatusCode)
		secure := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if !passes {
			require.Error(t, secure.Handshake())
			continue
		}
		require.NoError(t, secure.Handshake())
		_, err := io.WriteString(secure, "GET / HTTP/1.0\r\n\r\n")
		require.NoError(t, err)
		all, err := io.ReadAll(secure)
		require.NoError(t, err)
		require.Contains(t, string(all), "package")
	}
}

func FuzzReadHello(f *testing.F) {
	f.Add(hello(f, "registry.test"))
	f.Add(hello(f, "evil.test"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		raw, err := readHello(Target{"registry.test", 443}, bytes.NewReader(data))
		if err == nil && !bytes.HasPrefix(data, raw) {
			t.Fatal("what goes on is not what came")
		}
		if err == nil && !bytes.Contains(bytes.ToLower(raw), []byte("registry.test")) {
			t.Fatalf("passed without the name: %q", raw)
		}
	})
}
