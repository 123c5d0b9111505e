package models_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestAudit_keepsOneEntryOfManyAttemptsAtOnce(t *testing.T) {
	store, _ := openStore(t)
	user, other := newPerson(t, store, "ada@example.com"), newPerson(t, store, "eve@example.com")
	attempt := func(userID string) models.AuditEntry {
		entry := models.AuditBy(models.Identity{UserID: userID}, "sign-in-with-email")
		entry.Outcome = models.AuditRefused
		return entry
	}
	log := func(userID string) []models.AuditEntry {
		entries, err := store.AuditLog(t.Context(), models.AuditFilter{UserID: userID, Limit: 100})
		require.NoError(t, err)
		return entries
	}
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			require.NoError(t, store.AppendAuditRarely(t.Context(), attempt(user.ID), time.Hour))
		})
	}
	wg.Wait()
	require.Len(t, log(user.ID), 1)
	// It holds up nothing else of theirs, and nothing of others.
	succeeded := attempt(user.ID)
	succeeded.Outcome = models.AuditSucceeded
	require.NoError(t, store.AppendAuditRarely(t.Context(), succeeded, time.Hour))
	require.NoError(t, store.AppendAudit(t.Context(), attempt(user.ID)))
	require.Len(t, log(user.ID), 3)
	require.NoError(t, store.AppendAuditRarely(t.Context(), attempt(other.ID), time.Hour))
	require.Len(t, log(other.ID), 1)
	// Later there is another one.
	require.NoError(t, store.AppendAuditRarely(t.Context(), attempt(other.ID), 0))
	require.Len(t, log(other.ID), 2)
}

// What an account's log is asked for without a person is nobody's.
func TestAudit_ofNobodyIsEmpty(t *testing.T) {
	store, _ := openStore(t)
	user := newPerson(t, store, "ada@example.com")
	require.NoError(t, store.AppendAudit(t.Context(), models.AuditBy(models.Identity{UserID: user.ID}, "sign-out")))
	entries, err := store.AuditLog(t.Context(), models.AuditFilter{Limit: 100})
	require.NoError(t, err)
	require.Empty(t, entries)
}
