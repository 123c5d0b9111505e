package models_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// A webhook that fails is the one that is removed, while attempts at it are noted.
func TestDeleteWebhook_whileAttemptsAreNotedEndsBoth(t *testing.T) {
	store, id, conn := openDatabase(t)
	hook := newWebhook(t, store, id)
	older, err := store.CreatePing(t.Context(), hook)
	require.NoError(t, err)
	newer, err := store.CreatePing(t.Context(), hook)
	require.NoError(t, err)

	// What removes the webhook is held up at one delivery, which it finds first,
	// until an attempt at the other is being noted.
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "SELECT FROM webhook_deliveries WHERE id = $1 FOR UPDATE", newer.ID)
	require.NoError(t, err)
	waiting := func(n int) {
		require.Eventually(t, func() bool {
			var found int
			_, err := tx.Exec(t.Context(), "SELECT pg_stat_clear_snapshot()")
			require.NoError(t, err)
			err = tx.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&found)
			return err == nil && found == n
		}, time.Minute, 10*time.Millisecond)
	}
	removed, noted := make(chan error, 1), make(chan error, 1)
	go func() { removed <- store.DeleteWebhook(t.Context(), id.OrganizationID, hook.ID) }()
	waiting(1)
	go func() {
		noted <- store.RecordAttempt(t.Context(), models.RecordedAttempt{
			Attempt: models.Attempt{DeliveryID: older.ID, Status: 500}, DeliveryState: models.DeliveryState{Status: models.DeliveryPending},
		})
	}()
	waiting(2)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-removed)
	require.NoError(t, <-noted)
}

// Workers take events side by side, so an older event's delivery may be written
// after a newer one's.
func TestOutdated_goesByWhenTheEventWasNotByWhenItWasTaken(t *testing.T) {
	store, id, conn := openDatabase(t)
	p := newProject(t, store, id, "shop")
	hook := newWebhook(t, store, id)
	d := newDeployment(t, store, id, p)
	require.NoError(t, store.WriteOutbox(t.Context(), models.EndEvent(models.StepInput{
		Deployment: models.DeploymentInput{DeploymentID: d.ID, ProjectID: p.ID}, Outcome: models.OutcomeSucceeded,
	})))
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "SELECT FROM outbox WHERE kind = 'deployment.queued' FOR UPDATE")
	require.NoError(t, err)
	take := func() models.Delivery {
		_, rows, err := store.FanOut(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Equal(t, hook.ID, rows[0].WebhookID)
		return rows[0]
	}
	succeeded := take()
	require.NoError(t, tx.Commit(t.Context()))
	queued := take()
	for row, want := range map[*models.Delivery]bool{&succeeded: false, &queued: true} {
		outdated, err := store.Outdated(t.Context(), *row)
		require.NoError(t, err)
		require.Equal(t, want, outdated, row.Kind)
	}
}

// Events are kept for a month: removing a project must not read those of everybody.
func TestOutbox_findsTheEventsOfAProject(t *testing.T) {
	_, _, conn := openDatabase(t)
	_, err := conn.Exec(t.Context(), "SET enable_seqscan = off")
	require.NoError(t, err)
	rows, err := conn.Query(t.Context(), "EXPLAIN DELETE FROM outbox WHERE project_id = 'prj_1'")
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, strings.Join(plan, "\n"), "outbox_by_project")
}
