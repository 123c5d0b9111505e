package api_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDocs_loadNothingFromElsewhere(t *testing.T) {
	g := newGateway(t)
	a := g.do("GET", "/docs", nil, header{"Authorization": ""})
	require.Equal(t, 200, a.status)
	require.Contains(t, a.header.Get("Content-Type"), "text/html")
	require.Contains(t, a.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, a.header.Get("Content-Security-Policy"), "http")
	require.NotContains(t, a.header.Get("Content-Security-Policy"), "unsafe-eval")
	require.NotRegexp(t, `(?i)(src|href)=["']?(https?:)?//`, string(a.body))

	if _, err := os.Stat("../apidocs/bundle/scalar.js.gz"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the documentation bundle is missing: run `go generate ./apidocs` first")
		}
		t.Skip("built without the documentation bundle; `go generate ./apidocs` fetches it")
	}
	script := g.do("GET", "/docs/scalar.js", nil, header{"Authorization": "", "Accept-Encoding": "identity"})
	require.Equal(t, 200, script.status)
	require.Empty(t, script.header.Get("Content-Encoding"))
	require.Greater(t, len(script.body), 1<<20)
	zipped := g.do("GET", "/docs/scalar.js", nil, header{"Accept-Encoding": "gzip"})
	require.Equal(t, "gzip", zipped.header.Get("Content-Encoding"))
	r, err := gzip.NewReader(strings.NewReader(string(zipped.body)))
	require.NoError(t, err)
	plain, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, script.body, plain)
}

func TestOpenAPI_namesTheRoutesThatAnswer(t *testing.T) {
	g := newGateway(t, withAccounts(t, &postbox{}))
	var doc document
	g.do("GET", "/openapi.json", nil).into(200, &doc)
	var documented []string
	for path, item := range doc.Paths {
		for method := range item {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	var served []string
	for _, e := range g.do("GET", "/", nil).fields()["endpoints"].([]any) {
		if name := e.(string); !strings.HasPrefix(name, "GET /docs") && !strings.HasPrefix(name, "GET /app") && name != "GET /openapi.json" {
			served = append(served, name)
		}
	}
	require.ElementsMatch(t, served, documented)
	require.Contains(t, served, "POST /api/auth/sign-in/email")
	require.Equal(t, http.StatusNotFound, g.do("GET", "/schemas/Error.json", nil).status)
}
