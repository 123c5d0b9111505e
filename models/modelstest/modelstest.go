// Package modelstest gives tests databases that have the schema.
package modelstest

import (
	"context"
	"testing"
	"time"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

// URL makes a database for this test with the schema in it, which is migrated
// once in the test binary and copied for each. It needs pgtest in TestMain.
func URL(t testing.TB) string {
	t.Helper()
	awaitMonth(t)
	return pgtest.Copy(t, migrate)
}

func migrate(url string) error {
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = store.Migrate(ctx)
	if closed := store.Close(); err == nil {
		err = closed
	}
	return err
}

// longest is how long a test may take that has a month of quotas to itself.
const longest = 3 * time.Minute

// awaitMonth lets the month (UTC) end that is about to: quotas start anew with the
// next one, and a test that began before would count in both.
func awaitMonth(t testing.TB) {
	t.Helper()
	wait := untilMonth(time.Now())
	if wait > 0 {
		t.Logf("waiting %s for the month to end", wait)
		time.Sleep(wait)
	}
}

// untilMonth is how long the month goes on when that is not long; 0 when it is.
func untilMonth(now time.Time) time.Duration {
	now = now.UTC()
	next := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	if left := next.Sub(now); left <= longest {
		return left + time.Second
	}
	return 0
}
