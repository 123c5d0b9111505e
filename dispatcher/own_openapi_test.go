package dispatcher_test

import (
	"errors"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/tools/apispec"
)

func TestOwn_documentKeepsTheRulesOfItsReaders(t *testing.T) {
	require.NotContains(t, newWorld(t, nil).get("localhost", "/openapi.json").body, "/api/auth/", "nobody signs in there")
	w := newWorld(t, func(o *dispatcher.Options) { o.Auth = http.NotFoundHandler() })
	document := w.get("localhost", "/openapi.json").body
	require.Contains(t, document, "/api/auth/sign-in/email")
	_, err := apispec.Check(t.Context(), []byte(document), t.TempDir())
	if errors.Is(err, apispec.ErrNoNode) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
}
