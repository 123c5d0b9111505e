package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

// preflight asks as a browser does before a page's request.
func (g *gateway) preflight(origin string) answer {
	g.Helper()
	return g.do("OPTIONS", "/deploy", nil, header{"Authorization": "", "Origin": origin, "Access-Control-Request-Method": "DELETE"})
}

func TestCORS_letsOnlyThisMachineInUnlessTold(t *testing.T) {
	g := newGateway(t)
	for _, origin := range []string{"http://localhost:5173", "http://127.0.0.1:80", "http://localhost", "http://[::1]:3000"} {
		a := g.preflight(origin)
		require.Equal(t, 204, a.status)
		require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, origin, g.do("GET", "/projects", nil, header{"Origin": origin}).header.Get("Access-Control-Allow-Origin"))
	}
	for _, origin := range []string{
		"http://shop.localhost:3005", "https://evil.example", "null", "http://localhost.evil.example", "http://localhost:80@evil.example",
		"http://localhost:", "http://localhost:99999", "http://localhost:3000/", "https://localhost:3000", "http://LOCALHOST:x", "localhost:3000", ":*",
	} {
		a := g.preflight(origin)
		require.Empty(t, a.header.Get("Access-Control-Allow-Origin"), origin)
		require.Empty(t, a.header.Get("Access-Control-Allow-Credentials"), origin)
		require.Empty(t, g.do("GET", "/projects", nil, header{"Origin": origin}).header.Get("Access-Control-Allow-Origin"))
	}
}

func TestCORS_letsListedOriginsBringTheirSession(t *testing.T) {
	g := newGateway(t, func(o *api.Options) {
		o.Origins, o.AppURL = []string{"https://app.example"}, "https://slipway.example"
	})
	for _, origin := range []string{"https://app.example", "https://slipway.example"} {
		a := g.preflight(origin)
		require.Equal(t, 204, a.status)
		require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "true", a.header.Get("Access-Control-Allow-Credentials"))
		require.Equal(t, "7200", a.header.Get("Access-Control-Max-Age"))
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			require.Contains(t, a.header.Get("Access-Control-Allow-Methods"), method)
		}
		for _, name := range []string{"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Slipway-Organization"} {
			require.Contains(t, a.header.Get("Access-Control-Allow-Headers"), name)
		}
		a = g.do("GET", "/projects", nil, header{"Origin": origin})
		for _, name := range []string{"ETag", "Location", "Retry-After", "RateLimit-Remaining"} {
			require.Contains(t, a.header.Get("Access-Control-Expose-Headers"), name)
		}
		require.Contains(t, strings.Join(a.header.Values("Vary"), ","), "Origin")
	}
	for _, origin := range []string{"http://localhost:5173", "https://shop.app.example", "http://app.example", "https://app.example.evil.example"} {
		require.Empty(t, g.preflight(origin).header.Get("Access-Control-Allow-Origin"), origin)
	}
	require.Contains(t, strings.Join(g.do("GET", "/projects", nil).header.Values("Vary"), ","), "Origin", "also without one: caches must tell them apart")
}

func TestCORS_refusesToStartWithWhatIsNoOrigin(t *testing.T) {
	g := newGateway(t)
	for _, origin := range []string{"*", "app.example", "https://app.example/path", "https://*.app.example:*/x"} {
		opts := g.opts
		opts.Origins = []string{origin}
		_, err := api.New(opts)
		require.Error(t, err, origin)
		require.Equal(t, models.CodeValidation, models.CodeOf(err), origin)
	}
}

func TestHeaders_areOnEveryAnswer(t *testing.T) {
	g := newGateway(t)
	for _, a := range []answer{g.do("GET", "/projects", nil), g.do("GET", "/nothing", nil), g.do("PUT", "/deploy", nil), g.do("GET", "/projects", nil, header{"Authorization": ""})} {
		require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
		require.Equal(t, "DENY", a.header.Get("X-Frame-Options"))
		require.Equal(t, "no-referrer", a.header.Get("Referrer-Policy"))
		require.Equal(t, "no-store", a.header.Get("Cache-Control"))
		require.Equal(t, "same-origin", a.header.Get("Cross-Origin-Resource-Policy"))
		require.Equal(t, "same-origin", a.header.Get("Cross-Origin-Opener-Policy"))
		require.Contains(t, a.header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.Empty(t, a.header.Get("Strict-Transport-Security"), "plain HTTP promises nothing")
	}
	docs := g.do("GET", "/docs", nil)
	require.Equal(t, http.StatusOK, docs.status)
	require.Len(t, docs.header.Values("Content-Security-Policy"), 1, "the page has its own")
	secure := newGateway(t, func(o *api.Options) { o.AppURL = "https://slipway.example" })
	require.Equal(t, "max-age=31536000", secure.do("GET", "/", nil).header.Get("Strict-Transport-Security"))
}
