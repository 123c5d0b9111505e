package api_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
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

// document is what these tests read of an OpenAPI document.
type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string                `json:"operationId"`
		Summary     string                `json:"summary"`
		Security    []map[string][]string `json:"security"`
		Responses   map[string]struct {
			Content map[string]struct {
				Schema   map[string]any            `json:"schema"`
				Examples map[string]map[string]any `json:"examples"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]map[string]any `json:"schemas"`
	} `json:"components"`
}

func TestOpenAPI_everyRouteDocumentsItsErrorsInTheEnvelope(t *testing.T) {
	g := newGateway(t)
	a := g.do("GET", "/openapi.json", nil, header{"Authorization": ""})
	var doc document
	a.into(200, &doc)
	require.Equal(t, "3.1.0", doc.OpenAPI)
	require.NotContains(t, string(a.body), "$schema")

	known := regexp.MustCompile(`^[A-Z_]+$`)
	operations := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			operations++
			name := method + " " + path
			require.NotEmpty(t, op.OperationID, name)
			require.NotEmpty(t, op.Summary, name)
			require.Contains(t, op.Responses, "500", name)
			require.Contains(t, op.Responses, "400", name)
			require.NotContains(t, op.Responses, "422", name)
			require.NotContains(t, op.Responses, "default", name)
			if len(op.Security) > 0 {
				require.Contains(t, op.Responses, "401", name)
			}
			for status, response := range op.Responses {
				if status < "400" || path == "/health" && status == "503" {
					continue
				}
				media := response.Content["application/json"]
				require.Equal(t, "#/components/schemas/Error", media.Schema["$ref"], name+" "+status)
				require.NotEmpty(t, media.Examples, name+" "+status)
				for code, example := range media.Examples {
					require.Regexp(t, known, code)
					require.Equal(t, models.Code(code).HTTPStatus(), mustStatus(t, status))
					require.Equal(t, code, example["value"].(map[string]any)["error"])
				}
			}
		}
	}
	require.Equal(t, 31, operations)

	envelope := doc.Components.Schemas["Error"]
	require.ElementsMatch(t, []any{"success", "error", "message", "timestamp"}, envelope["required"])
	require.Len(t, envelope["properties"], 5)
	require.NotNil(t, doc.Components.Schemas["FieldError"])
}

func mustStatus(t *testing.T, status string) int {
	t.Helper()
	var code int
	require.NoError(t, json.Unmarshal([]byte(status), &code))
	return code
}

func TestOpenAPI_namesTheRoutesThatAnswer(t *testing.T) {
	g := newGateway(t)
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
		if name := e.(string); !strings.HasPrefix(name, "GET /docs") && name != "GET /openapi.json" {
			served = append(served, name)
		}
	}
	require.ElementsMatch(t, served, documented)
	require.Equal(t, http.StatusNotFound, g.do("GET", "/schemas/Error.json", nil).status)
}
