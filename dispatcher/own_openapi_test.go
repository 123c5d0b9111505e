package dispatcher_test

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/tools/apispec"
)

func TestOwn_documentKeepsTheRulesOfItsReaders(t *testing.T) {
	w := newWorld(t, nil)
	_, err := apispec.Check(t.Context(), []byte(w.get("localhost", "/openapi.json").body), t.TempDir())
	if errors.Is(err, apispec.ErrNoNode) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
}
