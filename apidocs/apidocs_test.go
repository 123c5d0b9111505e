package apidocs_test

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/apidocs"
)

const document = `{"openapi":"3.1.0","info":{"title":"<Things> API","version":"1"},"paths":{"/a":{"get":{"summary":"Get it","responses":{"200":{}}},"parameters":[]}}}`

func TestDocs_loadNothingFromElsewhere(t *testing.T) {
	docs, err := apidocs.New([]byte(document))
	require.NoError(t, err)
	page := httptest.NewRecorder()
	docs.Page(page, httptest.NewRequest("GET", "/docs", nil))
	require.Contains(t, page.Body.String(), "<title>&lt;Things&gt; API")
	policy := page.Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "http")
	require.NotContains(t, policy, "unsafe-eval")
	require.NotRegexp(t, `(?i)(src|href)=["']?(https?:)?//`, page.Body.String())
	got := httptest.NewRecorder()
	docs.Document(got, httptest.NewRequest("GET", "/openapi.json", nil))
	require.Equal(t, document, got.Body.String())
	head := httptest.NewRecorder()
	docs.Document(head, httptest.NewRequest("HEAD", "/openapi.json", nil))
	require.Empty(t, head.Body.String())
	require.Equal(t, got.Header(), head.Header())

	if !docs.HasScript() {
		if os.Getenv("CI") != "" {
			t.Fatal("the documentation bundle is missing: run `go generate ./apidocs` first")
		}
		t.Skip("built without the documentation bundle; `go generate ./apidocs` fetches it")
	}
	plain, zipped := httptest.NewRecorder(), httptest.NewRecorder()
	docs.Script(plain, httptest.NewRequest("GET", "/docs/scalar.js", nil))
	require.Greater(t, plain.Body.Len(), 1<<20)
	asked := httptest.NewRequest("GET", "/docs/scalar.js", nil)
	asked.Header.Set("Accept-Encoding", "gzip")
	docs.Script(zipped, asked)
	require.Equal(t, "gzip", zipped.Header().Get("Content-Encoding"))
	reader, err := gzip.NewReader(zipped.Body)
	require.NoError(t, err)
	unpacked, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.Equal(t, plain.Body.Bytes(), unpacked)
}

func TestNew_refusesWhatIsNoDocument(t *testing.T) {
	_, err := apidocs.New([]byte("no"))
	require.Error(t, err)
}
