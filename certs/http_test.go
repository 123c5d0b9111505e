package certs_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/certs"
)

func TestRedirect_keepsEverythingButThePort(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, c := range []struct {
		method, host, target string
		port                 int
		want                 string
	}{
		{"GET", "Shop.example:80", "/a%2fb?x=1&y=%20", 443, "https://shop.example/a%2fb?x=1&y=%20"},
		{"POST", "shop.example", "//evil.example/", 443, "https://shop.example//evil.example/"},
		{"GET", "shop.example.", "/", 8443, "https://shop.example:8443/"},
		{"GET", "127.0.0.1:3005", "/health", 443, ""},
		{"GET", "[::1]:3005", "/health", 443, ""},
		{"GET", "blog.localhost:3005", "/", 443, ""},
		{"GET", "evil.example/../@x", "/", 443, ""},
		{"OPTIONS", "shop.example", "*", 443, ""},
	} {
		r := httptest.NewRequest(c.method, "/", strings.NewReader("body"))
		r.Host, r.RequestURI = c.host, c.target
		w := httptest.NewRecorder()
		certs.Redirect(next, c.port).ServeHTTP(w, r)
		if c.want == "" {
			require.Equal(t, http.StatusTeapot, w.Code, c.host)
			continue
		}
		require.Equal(t, http.StatusPermanentRedirect, w.Code, c.host)
		require.Equal(t, c.want, w.Header().Get("Location"))
		require.Equal(t, "close", w.Header().Get("Connection"), "the body is not read")
	}
}
