package apidocs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDocs_thePlainPageListsEveryOperation(t *testing.T) {
	d, err := newDocs([]byte(`{"info":{"title":"Things","version":"1"},"paths":{
		"/health":{"get":{"summary":"Is it well?","responses":{"200":{}}}},
		"/things/{id}":{"parameters":[],"patch":{"summary":"Change <it>","security":[{"bearer":[]}],"responses":{"200":{},"404":{}}}}}}`), nil)
	require.NoError(t, err)
	for _, want := range []string{"GET /health", "PATCH /things/{id}", "Change &lt;it&gt;", "needs a token", "<code>404</code>"} {
		require.Contains(t, string(d.page), want)
	}
	require.NotContains(t, string(d.page), "<script")
	require.False(t, d.HasScript())
}
