package models_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

// Two who ended the same sessions at once locked them in different orders, and the
// database made one of them fail.
func TestEndSessions_locksThemInOneOrder(t *testing.T) {
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	owner, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	for range 20 {
		_, _, err := store.CreateSession(t.Context(), models.Session{UserID: owner.UserID, ExpiresAt: time.Now().Add(time.Hour)})
		require.NoError(t, err)
	}
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	watcher := connect() // a transaction would see the activity of its beginning for ever
	other, err := connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), "SELECT FROM sessions ORDER BY id LIMIT 1 FOR UPDATE")
	require.NoError(t, err)

	ended := make(chan error, 1)
	go func() { ended <- store.EndSessions(t.Context(), owner.UserID, "") }()
	require.Eventually(t, func() bool {
		var waiting int
		err := watcher.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting)
		return err == nil && waiting == 1
	}, time.Minute, 5*time.Millisecond)
	_, err = other.Exec(t.Context(), "SELECT FROM sessions ORDER BY id FOR UPDATE NOWAIT")
	require.NoError(t, err, "who waits for the first holds no other")
	require.NoError(t, other.Rollback(t.Context()))
	require.NoError(t, <-ended)
	rows, err := store.ListSessions(t.Context(), owner.UserID)
	require.NoError(t, err)
	require.Empty(t, rows)
}
