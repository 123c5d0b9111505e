package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/tools/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(pgtest.Wrap(m)) }

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

func TestCopy_isAsItWasPreparedAndOfOneTest(t *testing.T) {
	prepared := 0
	prepare := func(url string) error {
		prepared++
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), "CREATE TABLE prepared (id int)")
		return err
	}
	for range 2 {
		conn, err := pgx.Connect(t.Context(), pgtest.Copy(t, prepare))
		require.NoError(t, err)
		var rows int
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM prepared").Scan(&rows))
		require.Zero(t, rows)
		_, err = conn.Exec(t.Context(), "INSERT INTO prepared VALUES (1)")
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
	}
	require.Equal(t, 1, prepared)
}
