package models_test

import (
	"context"
	"database/sql"
	"os"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
)

// before is the last migration of the first release: installations of it have
// no sign-in, one organization and tokens that may do everything.
const before = 9

// ofBefore is a row of every table there was then.
const ofBefore = `
INSERT INTO organizations (id, name, deployments_limit, deployments_used) VALUES ('org_1', 'Acme', 1000, 7);
INSERT INTO users (id, email, name) VALUES ('usr_1', 'owner@example.com', 'Owner');
INSERT INTO memberships (organization_id, user_id, role) VALUES ('org_1', 'usr_1', 'owner');
INSERT INTO projects (id, organization_id, name, worker_name, last_sequence, live_release_id) VALUES ('prj_1', 'org_1', 'Shop', 'shop', 2, 'rel_1');
INSERT INTO deployments (id, project_id, organization_id, user_id, sequence, status, outcome, state, input, finished_at)
	VALUES ('dep_1', 'prj_1', 'org_1', 'usr_1', 1, 'completed', 'succeeded', '{}', '{}', now());
INSERT INTO deployments (id, project_id, organization_id, user_id, sequence, status, state, input, workflow_run_id)
	VALUES ('dep_2', 'prj_1', 'org_1', 'usr_1', 2, 'in_progress', '{"status": "in_progress", "version": 1}', '{"deploymentId": "dep_2"}', 'run');
INSERT INTO idempotency_keys (organization_id, key, body_hash, deployment_id) VALUES ('org_1', 'k', 'h', 'dep_1');
INSERT INTO quota_reservations (deployment_id, organization_id, period_start, state) SELECT 'dep_2', id, period_start, 'reserved' FROM organizations;
INSERT INTO releases (id, project_id, organization_id, deployment_id, sequence, manifest_digest, files, bytes, checked_at)
	VALUES ('rel_1', 'prj_1', 'org_1', 'dep_1', 1, 'm', 1, 4096, now()), ('rel_2', 'prj_1', 'org_1', 'dep_2', 2, 'm', 0, 0, now());
INSERT INTO routes (key, project_id, organization_id, worker_name, release_id, manifest_digest, generation)
	VALUES ('w:shop', 'prj_1', 'org_1', 'shop', 'rel_1', 'm', nextval('route_generations'));
INSERT INTO domains (id, host, project_id, organization_id, token, status) VALUES ('dom_1', 'www.example.com', 'prj_1', 'org_1', 't', 'active');
INSERT INTO build_log_chunks (deployment_id, first_line, lines) VALUES ('dep_1', 1, '{a}');
INSERT INTO build_cache (organization_id, key, output_digest) VALUES ('org_1', 'k', 'd');
INSERT INTO outbox (kind, deployment_id, payload) VALUES ('deployment.succeeded', 'dep_1', '{"outcome": "succeeded"}');
INSERT INTO uid_slots (organization_id, slot) VALUES ('org_1', 0);
INSERT INTO kv_namespaces (organization_id, name) VALUES ('org_1', 'prj_1-cache');
INSERT INTO kv_entries (namespace_id, key, value) SELECT id, 'k', 'v' FROM kv_namespaces;
INSERT INTO certificate_storage (key, value, size) VALUES ('k', 'v', 1);
INSERT INTO certificate_leases (name, owner, expires) VALUES ('n', 'o', now());
INSERT INTO variables (project_id, name, sealed, secret) VALUES ('prj_1', 'A', 'x', true);
INSERT INTO dispatchers (id, host) VALUES ('dsp_1', 'h');
INSERT INTO route_acks (dispatcher_id, route_key, generation) VALUES ('dsp_1', 'w:shop', 1);
INSERT INTO worker_logs (project_id, release_id, line) VALUES ('prj_1', 'rel_1', '{}');
INSERT INTO rollouts (id, project_id, organization_id, user_id, release_id, base_release_id, input) VALUES ('rlo_1', 'prj_1', 'org_1', 'usr_1', 'rel_1', 'rel_1', '{}');
INSERT INTO release_counts (release_id, bucket, requests, errors) VALUES ('rel_1', now(), 1, 0);
`

func TestMigrations_keepWhatAnInstallationHasBothWays(t *testing.T) {
	url := pgtest.URL(t)
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	migrations, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"))
	require.NoError(t, err)
	to := func(move func(context.Context, int64) ([]*goose.MigrationResult, error), version int64) {
		t.Helper()
		_, err := move(t.Context(), version)
		require.NoError(t, err)
	}
	to(migrations.UpTo, before)
	_, err = db.ExecContext(t.Context(), ofBefore)
	require.NoError(t, err)
	secret := models.NewSecret("")
	_, err = db.ExecContext(t.Context(), "INSERT INTO tokens (id, hash, organization_id, user_id, name) VALUES ('tok_1', $1, 'org_1', 'usr_1', 'CI')", models.HashSecret(secret))
	require.NoError(t, err)
	had := rowsOf(t, db)
	for table, rows := range had {
		require.NotZero(t, rows, "there is no row in %s to keep", table)
	}

	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.Migrate(t.Context()))
	has := rowsOf(t, db)
	for table, rows := range had {
		require.Equal(t, rows, has[table], table)
	}
	id, err := store.Authenticate(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, models.Identity{UserID: "usr_1", OrganizationID: "org_1", Role: models.RoleOwner, TokenID: "tok_1", Scope: models.ScopeAdmin}, id)
	usage, err := store.Usage(t.Context(), "org_1")
	require.NoError(t, err)
	used := map[models.Resource]int64{}
	for _, r := range usage.Resources {
		used[r.Resource] = r.Used
		require.Positive(t, r.Remaining(), r.Resource)
	}
	require.Equal(t, map[models.Resource]int64{
		models.ResourceDeployments: 7, models.ResourceBuildMinutes: 0, models.ResourceProjects: 1, models.ResourceDomains: 1, models.ResourceStorage: 4096,
	}, used)
	var live string
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT string_agg(id, ' ') FROM releases WHERE live_at IS NOT NULL").Scan(&live))
	require.Equal(t, "rel_1", live, "and not what was only seen to answer")
	newWebhook(t, store, id)
	require.NoError(t, store.RecordStatus(t.Context(), models.Status{DeploymentID: "dep_2", Status: models.StatusInProgress, Version: 2, Timestamp: time.Now().UTC(), Steps: models.NewSteps()}))
	taken, _, err := store.FanOut(t.Context(), 10)
	require.NoError(t, err)
	require.Zero(t, taken, "what happened before webhooks is told to none")

	// Back again: a token that may do little must not be one that may do everything.
	for _, limited := range []models.NewToken{{Name: "read", Scope: models.ScopeRead}, {Name: "project", ProjectID: "prj_1"}} {
		limited.OrganizationID, limited.UserID = "org_1", "usr_1"
		_, _, err = store.CreateToken(t.Context(), limited)
		require.NoError(t, err)
	}
	viewer := newUser(t, store, "viewer@example.com")
	_, invited, err := store.Invite(t.Context(), "org_1", "usr_1", viewer.Email, models.RoleViewer)
	require.NoError(t, err)
	_, err = store.AcceptInvitation(t.Context(), viewer.ID, invited)
	require.NoError(t, err)
	_, _, err = store.CreateToken(t.Context(), models.NewToken{OrganizationID: "org_1", UserID: viewer.ID, Name: "viewer"})
	require.NoError(t, err)
	to(migrations.DownTo, before)
	has = rowsOf(t, db)
	for _, joined := range []string{"users", "organizations"} {
		has[joined]--
	}
	has["memberships"] -= 2
	require.Equal(t, had, has)
	require.NoError(t, store.Migrate(t.Context()))
	again, err := store.Authenticate(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, id, again)
}

// rowsOf counts the rows of every table but that of the migrations.
func rowsOf(t *testing.T, db *sql.DB) map[string]int {
	t.Helper()
	tables, err := db.QueryContext(t.Context(), "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'goose_db_version'")
	require.NoError(t, err)
	defer tables.Close()
	all := map[string]int{}
	for tables.Next() {
		var table string
		require.NoError(t, tables.Scan(&table))
		var rows int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM "`+table+`"`).Scan(&rows))
		all[table] = rows
	}
	require.NoError(t, tables.Err())
	return all
}
