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
