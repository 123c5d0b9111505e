package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

func TestURL_everyTestHasADatabaseOfItsOwn(t *testing.T) {
	for range 2 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
			require.NoError(t, err)
			// Left open on purpose: dropping the database must not wait for it.
			t.Cleanup(func() { _ = conn })
			_, err = conn.Exec(t.Context(), "CREATE TABLE same_name (id int)")
			require.NoError(t, err)
		})
	}
}
