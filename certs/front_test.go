package certs_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/certs"
	"github.com/slipwayhq/slipway/certs/pebbletest"
	"github.com/slipwayhq/slipway/dispatcher"
)

// The dispatcher's own servers answer challenges in both ways, send plain requests
// to HTTPS, and speak HTTP/2 with the certificate got.
func TestDispatcher_servesWithCertificatesItGot(t *testing.T) {
	for _, only := range []string{"HTTP-01", "TLS-ALPN-01"} {
		t.Run(only, func(t *testing.T) {
			secure, plain := listen(t), listen(t)
			ports := pebbletest.Options{HTTPPort: port(plain)}
			if only == "TLS-ALPN-01" {
				ports = pebbletest.Options{TLSPort: port(secure)}
			}
			authority := pebbletest.Start(t, ports)
			store := openStore(t, database(t))
			d := &domains{active: []string{"shop.example"}}
			o := options(t, store, d, authority)
			o.Log = quiet()
			c, err := certs.New(o)
			require.NoError(t, err)
			blobs, err := blobfs.New(blobfs.Options{Root: t.TempDir()})
			require.NoError(t, err)
			front, err := dispatcher.New(dispatcher.Options{
				Domain: "apps.test", Routes: store, Blobs: blobs, Log: o.Log,
				HTTPS: dispatcher.HTTPS{
					Challenge: c.HTTPChallenge,
					Redirect:  func(next http.Handler) http.Handler { return certs.Redirect(next, port(secure)) },
					HSTS:      "max-age=60",
				},
			})
			require.NoError(t, err)
			server := front.Server()
			ctx, cancel := context.WithCancel(context.Background())
			var group sync.WaitGroup
			group.Go(func() { _ = c.Run(ctx) })
			group.Go(func() { _ = server.Serve(plain) })
			group.Go(func() { _ = server.ServeTLS(secure, c.TLSConfig()) })
			t.Cleanup(func() {
				_ = server.Close()
				cancel()
				group.Wait()
			})

			transport := &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: authority.Roots(t)},
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					to := secure.Addr().String()
					if _, p, _ := net.SplitHostPort(addr); p == "80" {
						to = plain.Addr().String()
					}
					return (&net.Dialer{}).DialContext(ctx, network, to)
				},
			}
			defer transport.CloseIdleConnections()
			answer, err := (&http.Client{Transport: transport}).Get("http://shop.example/path?x=1")
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			require.Equal(t, "HTTP/2.0", answer.Proto)
			require.Equal(t, "/path?x=1", answer.Request.URL.RequestURI(), "after the redirection")
			require.Equal(t, http.StatusNotFound, answer.StatusCode, "nothing is deployed there")
			require.Equal(t, "max-age=60", answer.Header.Get("Strict-Transport-Security"))
			require.Equal(t, []string{"shop.example"}, answer.TLS.PeerCertificates[0].DNSNames)
		})
	}
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetLevel(logrus.FatalLevel)
	return log
}
