package api

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// Two requests ask one after the other, and the first to ask is the last to note
// its answer: who has seen a deployment end does not see it going on again.
func TestStatuses_doNotGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s statuses
		s.put("dep_1", models.Status{Version: 9, Status: models.StatusCompleted})
		s.put("dep_1", models.Status{Version: 8, Status: models.StatusInProgress})
		got, ok := s.get("dep_1")
		require.True(t, ok)
		require.Equal(t, models.StatusCompleted, got.Status)

		time.Sleep(statusAge)
		_, ok = s.get("dep_1")
		require.False(t, ok, "nor does putting an old one keep the newer one longer")
		s.put("dep_1", models.Status{Version: 8, Stale: true})
		got, ok = s.get("dep_1")
		require.True(t, ok)
		require.True(t, got.Stale)
	})
}

func TestStatuses_areBounded(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		var s statuses
		for i := range 3 * maxStatuses {
			s.put(strconv.Itoa(i), models.Status{})
			require.LessOrEqual(t, len(s.known), maxStatuses)
		}
		_, ok := s.get(strconv.Itoa(3*maxStatuses - 1))
		require.True(t, ok)
	})
}

// A retry was answered by the state before it, as if the deployment were parked
// again.
func TestStatuses_ofParkedDeploymentsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s statuses
		s.put("a", models.Status{Version: 1})
		_, ok := s.get("a")
		require.True(t, ok)
		s.put("a", models.Status{Version: 2, Outcome: models.OutcomeDeadLetter})
		_, ok = s.get("a")
		require.False(t, ok)
	})
}
