package models_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

const (
	// planRows is how many deployments, releases, entries, events and deliveries
	// there are; SLIPWAY_PLAN_ROWS says otherwise. Tables of a few hundred rows are
	// read whole whatever the indexes.
	planRows = 20_000
	// planPages bounds the pages a statement may touch, most of them many times less.
	// It does not grow with planRows.
	planPages = 500
)

// crowd fills the tables as a busy installation has them: 500 organizations, of
// which the first has three rows in ten. Sizes of rows are those of real ones.
const crowd = `
SET session_replication_role = replica;
INSERT INTO organizations (id, name) SELECT 'org_' || o, 'Organization ' || o FROM generate_series(1, 500) o;
INSERT INTO users (id, email, name) SELECT 'usr_' || u, 'user' || u || '@example.com', 'User ' || u FROM generate_series(1, 2000) u;
INSERT INTO accounts (id, user_id, provider_id, account_id) SELECT 'acc_' || u, 'usr_' || u, 'credential', 'usr_' || u FROM generate_series(1, 2000) u;
INSERT INTO memberships (organization_id, user_id, role) SELECT 'org_' || 1 + u % 500, 'usr_' || u, 'owner' FROM generate_series(1, 2000) u;
INSERT INTO sessions (id, hash, user_id, expires_at) SELECT 'ses_' || s, sha256(s::text::bytea), 'usr_' || 1 + s % 2000, now() + s * interval '1 minute' FROM generate_series(1, 3000) s;
INSERT INTO tokens (id, hash, organization_id, user_id, name, revoked_at)
	SELECT 'tok_' || t, sha256(t::text::bytea), 'org_' || 1 + t % 500, 'usr_' || 1 + t % 2000, 'CI', CASE WHEN t % 2 = 0 THEN now() END FROM generate_series(1, 3000) t;
INSERT INTO invitations (id, organization_id, email, role, hash, invited_by, expires_at)
	SELECT 'inv_' || i, 'org_' || 1 + i % 500, 'new' || i || '@example.com', 'viewer', sha256(i::text::bytea), 'usr_1', now() + interval '1 day' FROM generate_series(1, 3000) i;
INSERT INTO projects (id, organization_id, name, worker_name, last_sequence, live_release_id, created_at)
	SELECT 'prj_' || p, 'org_' || 1 + p % 500, 'Project ' || p, 'worker-' || p, 1, 'rel_' || p, now() - p * interval '1 hour' FROM generate_series(0, 2999) p;
CREATE TEMP TABLE owned AS SELECT n, o, 'org_' || o AS organization, 'prj_' || (o - 1 + 500 * (n % 6)) AS project, now() - ($rows - n) * interval '1 minute' AS at
	FROM (SELECT n, CASE WHEN n % 10 < 3 THEN 1 ELSE 2 + n % 499 END AS o FROM generate_series(1, $rows) n) n;
INSERT INTO deployments (id, project_id, organization_id, user_id, sequence, status, outcome, error_code, current_step, source_digest, state, state_version, input, workflow_run_id, release_id, created_at, updated_at, finished_at)
	SELECT 'dep_' || n, project, organization, 'usr_' || 1 + n % 2000, n,
		CASE WHEN n > $rows - 50 THEN 'queued' WHEN n > $rows - 200 THEN 'in_progress' WHEN n % 10 = 9 THEN 'failed' ELSE 'completed' END,
		CASE WHEN n > $rows - 200 THEN '' WHEN n % 1000 = 999 THEN 'dead_letter' WHEN n % 100 = 89 THEN 'canceled' WHEN n % 10 = 9 THEN 'rejected' ELSE 'succeeded' END,
		CASE WHEN n % 10 = 9 THEN 'BUILD_FAILED' ELSE '' END, CASE WHEN n % 10 = 9 THEN 'build' ELSE 'cleanup' END, md5(n::text),
		jsonb_build_object('version', 9, 'status', 'completed', 'logs', (SELECT jsonb_agg(md5((n + i)::text)) FROM generate_series(1, 12) i)), 9,
		jsonb_build_object('deploymentId', 'dep_' || n, 'requestDigest', md5(n::text)), CASE WHEN n > $rows - 5 THEN '' ELSE 'run' END, 'rel_' || n, at, at,
		CASE WHEN n > $rows - 200 OR n % 1000 = 999 THEN NULL ELSE at END FROM owned;
INSERT INTO quota_reservations (deployment_id, organization_id, period_start, state) SELECT 'dep_' || n, organization, now(), 'settled' FROM owned;
INSERT INTO idempotency_keys (organization_id, key, body_hash, deployment_id) SELECT organization, 'key ' || n, 'hash', 'dep_' || n FROM owned;
INSERT INTO releases (id, project_id, organization_id, deployment_id, sequence, manifest_digest, source_digest, output_digest, files, bytes, checked_at, live_at, created_at)
	SELECT 'rel_' || n, project, organization, 'dep_' || n, n, md5(n::text), md5(n::text), md5((n / 2)::text), 10, 100000, at, at, at FROM owned;
INSERT INTO build_log_chunks (deployment_id, first_line, lines) SELECT 'dep_' || n, 1, ARRAY['installed', 'built'] FROM owned;
INSERT INTO build_cache (organization_id, key, output_digest) SELECT organization, md5(n::text), md5((n / 2)::text) FROM owned;
INSERT INTO worker_logs (project_id, release_id, line) SELECT project, 'rel_' || n, jsonb_build_object('time', at, 'text', md5(n::text)) FROM owned;
INSERT INTO routes (key, project_id, organization_id, worker_name, release_id, manifest_digest, generation)
	SELECT 'w:worker-' || p, 'prj_' || p, 'org_' || 1 + p % 500, 'worker-' || p, 'rel_' || 1 + p, md5(p::text), p FROM generate_series(0, 2999) p;
INSERT INTO domains (id, host, project_id, organization_id, token, status, workflow_run_id, check_at)
	SELECT 'dom_' || d, 'd' || d || '.example.com', 'prj_' || d % 3000, 'org_' || 1 + d % 500, 'token', CASE WHEN d % 50 = 0 THEN 'pending' ELSE 'active' END, 'run', now() + (d - 50) * interval '1 minute'
	FROM generate_series(1, 3000) d;
INSERT INTO rollouts (id, project_id, organization_id, user_id, release_id, base_release_id, input, status, workflow_run_id, created_at, updated_at)
	SELECT 'rlo_' || n, 'prj_' || n % 3000, organization, 'usr_1', 'rel_' || n, 'rel_' || n, '{}', CASE WHEN n % 3000 = n AND n % 100 = 0 THEN 'running' ELSE 'completed' END, 'run', at, at FROM owned WHERE n % 2 = 0;
INSERT INTO release_counts (release_id, bucket, requests, errors) SELECT 'rel_' || n % 100, now() - n / 100 * interval '10 seconds', 10, 0 FROM owned;
INSERT INTO audit_log (id, organization_id, user_id, action, outcome, targets, created_at)
	SELECT 'aud_' || n, CASE WHEN n % 10 <> 5 THEN organization END, 'usr_' || 1 + n % 2000, CASE WHEN n % 500 = 0 THEN 'delete-project' ELSE 'deploy' END, 'succeeded', jsonb_build_object('projectId', project), at FROM owned;
INSERT INTO webhooks (id, organization_id, format, events, shown, sealed, created_by) SELECT 'whk_' || o, 'org_' || o, 'standard', '["*"]', 'https://example.com/', 'sealed', 'usr_1' FROM generate_series(1, 500) o;
INSERT INTO outbox (key, event_id, kind, organization_id, project_id, deployment_id, payload, created_at, delivered_at)
	SELECT n::text, 'evt_' || CASE WHEN n <= $rows - 4 THEN n ELSE n + $rows END, 'deployment.succeeded', organization, project, 'dep_' || n, jsonb_build_object('deploymentId', 'dep_' || n), at, CASE WHEN n <= $rows - 4 THEN at END FROM owned;
INSERT INTO webhook_deliveries (id, webhook_id, organization_id, event_id, kind, payload, status, workflow_run_id, due_at, created_at)
	SELECT 'dlv_' || n, 'whk_' || o, organization, 'evt_' || n, 'deployment.succeeded',
		json_build_object('type', 'deployment.succeeded', 'timestamp', at, 'data', json_build_object('deploymentId', 'dep_' || n, 'url', repeat('x', 300))),
		CASE WHEN n > $rows - 50 THEN 'pending' WHEN n % 1000 = 0 THEN 'failed' ELSE 'succeeded' END, 'run', at, at FROM owned;
INSERT INTO webhook_attempts (delivery_id, number, status, duration_ms, answer, error) SELECT 'dlv_' || n, 1, 200, 10, 'ok', '' FROM owned;
INSERT INTO variables (project_id, name, sealed, secret) SELECT 'prj_' || p, 'A', 'sealed', true FROM generate_series(0, 2999) p;
SET session_replication_role = origin;
ANALYZE;
`

// planned collects the statements of a store, and looks at their plans.
type planned struct {
	t     *testing.T
	store *models.Store
	conn  *pgx.Conn

	mu         sync.Mutex
	statements []pgx.TraceQueryStartData
}

func newPlanned(t *testing.T) *planned {
	t.Helper()
	rows := planRows
	if text := os.Getenv("SLIPWAY_PLAN_ROWS"); text != "" {
		var err error
		rows, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	url := modelstest.URL(t)
	execSQL(t, url, strings.ReplaceAll(crowd, "$rows", strconv.Itoa(rows)))
	p := &planned{t: t}
	var err error
	p.store, err = models.OpenStore(models.StoreOptions{URL: url, Tracer: p, MaxConns: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.store.Close()) })
	p.conn, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.conn.Close(context.Background()) })
	return p
}

// TraceQueryStart is pgx.QueryTracer.
func (p *planned) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statements = append(p.statements, data)
	return ctx
}

// TraceQueryEnd is pgx.QueryTracer.
func (p *planned) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// planNode is what this test reads of EXPLAIN (FORMAT JSON).
type planNode struct {
	Type     string     `json:"Node Type"`
	Relation string     `json:"Relation Name"`
	Hit      int        `json:"Shared Hit Blocks"`
	Read     int        `json:"Shared Read Blocks"`
	Plans    []planNode `json:"Plans"`
}

// readWhole are the tables that were read from their beginning.
func (n planNode) readWhole() (tables []string) {
	// A few pages are read whole rightly.
	if n.Type == "Seq Scan" && n.Hit+n.Read > 100 {
		tables = append(tables, n.Relation)
	}
	for _, child := range n.Plans {
		tables = append(tables, child.readWhole()...)
	}
	return tables
}

// holds runs something on the store and has its statements touch few pages, by
// indexes alone.
func (p *planned) holds(name string, run func(s *models.Store) error) {
	p.t.Helper()
	p.mu.Lock()
	p.statements = nil
	p.mu.Unlock()
	require.NoError(p.t, run(p.store), name)
	p.mu.Lock()
	statements := p.statements
	p.mu.Unlock()
	explained := 0
	for _, s := range statements {
		words := strings.Fields(s.SQL)
		if !slices.Contains(words, "FROM") && words[0] != "UPDATE" {
			continue // it reads no table
		}
		explained++
		plan, took := p.explain(s)
		pages := plan.Hit + plan.Read
		p.t.Logf("%-50s %5d pages %8.2f ms", name, pages, took)
		whole := plan.readWhole()
		if len(whole) > 0 || pages > planPages {
			p.t.Errorf("%s touches %d pages and reads %v whole:\n%s", name, pages, whole, s.SQL)
		}
	}
	require.NotZero(p.t, explained, name)
}

func (p *planned) explain(s pgx.TraceQueryStartData) (plan planNode, ms float64) {
	p.t.Helper()
	tx, err := p.conn.Begin(p.t.Context())
	require.NoError(p.t, err)
	defer func() { require.NoError(p.t, tx.Rollback(context.Background())) }()
	var args []any
	for _, arg := range s.Args {
		switch arg.(type) {
		case pgx.QueryResultFormats, pgx.QueryResultFormatsByOID, pgx.QueryExecMode:
		default:
			args = append(args, arg)
		}
	}
	var text []byte
	require.NoError(p.t, tx.QueryRow(p.t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+s.SQL, args...).Scan(&text), s.SQL)
	var plans []struct {
		Plan planNode
		Took float64 `json:"Execution Time"`
	}
	require.NoError(p.t, json.Unmarshal(text, &plans))
	return plans[0].Plan, plans[0].Took
}

func only[T any](_ T, err error) error { return err }

func TestPlans_readNoLargeTableWhole(t *testing.T) {
	p := newPlanned(t)
	ctx := t.Context()
	since, before := time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	for _, org := range []string{"org_1", "org_77"} {
		project := map[string]string{"org_1": "prj_0", "org_77": "prj_76"}[org]
		webhook := strings.Replace(org, "org", "whk", 1)
		last := models.PositionAt(before, "x")

		base := models.DeploymentFilter{OrganizationID: org, Limit: 51}
		for name, change := range map[string]func(*models.DeploymentFilter){
			"all":               func(*models.DeploymentFilter) {},
			"a later page":      func(f *models.DeploymentFilter) { f.After = last },
			"project":           func(f *models.DeploymentFilter) { f.ProjectID = project },
			"user":              func(f *models.DeploymentFilter) { f.UserID = "usr_11" },
			"queued":            func(f *models.DeploymentFilter) { f.Status = models.StatusQueued },
			"failed":            func(f *models.DeploymentFilter) { f.Status = models.StatusFailed },
			"failed, project":   func(f *models.DeploymentFilter) { f.Status, f.ProjectID = models.StatusFailed, project },
			"canceled":          func(f *models.DeploymentFilter) { f.Outcome = models.OutcomeCanceled },
			"no such outcome":   func(f *models.DeploymentFilter) { f.Outcome = models.OutcomeAbandoned },
			"canceled, project": func(f *models.DeploymentFilter) { f.Outcome, f.ProjectID = models.OutcomeCanceled, project },
			"between":           func(f *models.DeploymentFilter) { f.Since, f.Before = since, before },
		} {
			f := base
			change(&f)
			p.holds(org+" deployments, "+name, func(s *models.Store) error { return only(s.Deployments(ctx, f)) })
		}
		for name, f := range map[string]models.DeadLetterFilter{
			"all": {}, "project": {ProjectID: project}, "code": {ErrorCode: models.CodeBuildFailed}, "step": {Step: models.StepBuild}, "before": {Before: before},
		} {
			f.OrganizationID, f.Limit = org, 100
			p.holds(org+" dead letters, "+name, func(s *models.Store) error { return only(s.DeadLetters(ctx, f)) })
		}
		for name, f := range map[string]models.AuditFilter{
			"all": {}, "a later page": {After: last}, "oldest first": {OldestFirst: true}, "action": {Action: "deploy"}, "rare action": {Action: "delete-project"},
			"user": {UserID: "usr_11"}, "user and action": {UserID: "usr_11", Action: "delete-project"}, "between": {Since: since, Before: before},
		} {
			f.OrganizationID, f.Limit = org, 51
			p.holds(org+" audit log, "+name, func(s *models.Store) error { return only(s.AuditLog(ctx, f)) })
		}
		for name, f := range map[string]models.DeliveryFilter{
			"all": {}, "failed": {Status: models.DeliveryFailed}, "pending": {Status: models.DeliveryPending}, "succeeded": {Status: models.DeliverySucceeded}, "a later page": {After: last},
		} {
			f.WebhookID, f.Limit = webhook, 51
			p.holds(org+" deliveries, "+name, func(s *models.Store) error { return only(s.Deliveries(ctx, f)) })
		}
		p.holds(org+" releases", func(s *models.Store) error { return only(s.Releases(ctx, project, models.Position{}, 51)) })
		p.holds(org+" release before", func(s *models.Store) error {
			return only(s.ReleaseBefore(ctx, project, fmt.Sprintf("rel_%d", planRows)))
		})
		p.holds(org+" rollouts", func(s *models.Store) error { return only(s.Rollouts(ctx, project, models.Position{}, 51)) })
		p.holds(org+" domains", func(s *models.Store) error { return only(s.Domains(ctx, project)) })
		p.holds(org+" projects", func(s *models.Store) error {
			return only(s.Projects(ctx, models.ProjectFilter{OrganizationID: org, Limit: 51}))
		})
		p.holds(org+" projects, by name", func(s *models.Store) error {
			return only(s.Projects(ctx, models.ProjectFilter{OrganizationID: org, Query: "work", Limit: 51}))
		})
		p.holds(org+" webhooks", func(s *models.Store) error {
			return only(s.Webhooks(ctx, models.WebhookFilter{OrganizationID: org, Limit: 51}))
		})
		p.holds(org+" tokens", func(s *models.Store) error {
			return only(s.Tokens(ctx, models.TokenFilter{OrganizationID: org, Limit: 51}))
		})
		p.holds(org+" members", func(s *models.Store) error {
			return only(s.Members(ctx, models.MemberFilter{OrganizationID: org, Limit: 51}))
		})
		p.holds(org+" invitations", func(s *models.Store) error {
			return only(s.Invitations(ctx, models.InvitationFilter{OrganizationID: org, Limit: 51}))
		})
		p.holds(org+" worker log", func(s *models.Store) error { return only(s.WorkerLog(ctx, project, "", 0, 100)) })
		p.holds(org+" worker log, its end", func(s *models.Store) error { return only(s.WorkerLogTail(ctx, project, "rel_1", 100)) })
		p.holds(org+" quota", func(s *models.Store) error { return s.CheckQuota(ctx, org) })
		p.holds(org+" quota of builds", func(s *models.Store) error { return s.AdmitBuild(ctx, org, "dep_77") })
		p.holds(org+" release of a worker log", func(s *models.Store) error {
			err := s.HasRelease(ctx, project, "rel_0")
			require.Equal(t, models.CodeReleaseNotFound, models.CodeOf(err))
			return nil
		})
		p.holds(org+" new deployment", func(s *models.Store) error {
			_, _, err := s.CreateDeployment(ctx, models.NewDeployment{Priority: 3, Input: models.DeploymentInput{
				DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project, OrgID: org, UserID: "usr_1", CustomDomain: "new.example.com"}})
			return err
		})
		p.holds(org+" source before", func(s *models.Store) error { return only(s.BaseSource(ctx, project, 1_000_000)) })
		p.holds(org+" unfinished of a project", func(s *models.Store) error { return only(s.UnfinishedOf(ctx, project)) })
	}

	// The largest organization's sum reads much of the table, whatever the index.
	p.holds("usage", func(s *models.Store) error { return only(s.Usage(ctx, "org_77")) })

	// One thing by its id, and what follows a deployment.
	p.holds("account's audit log", func(s *models.Store) error {
		return only(s.AuditLog(ctx, models.AuditFilter{UserID: "usr_11", Limit: 51}))
	})
	p.holds("status", func(s *models.Store) error { return only(s.Deployment(ctx, "dep_4711")) })
	p.holds("recorded status", func(s *models.Store) error {
		return s.RecordStatus(ctx, models.Status{DeploymentID: fmt.Sprintf("dep_%d", planRows-20), Status: models.StatusInProgress, Version: 10, Timestamp: time.Now(), Steps: models.NewSteps()})
	})
	p.holds("log", func(s *models.Store) error { return only(s.LogChunks(ctx, "dep_4711", 0, 200)) })
	p.holds("events of a deployment", func(s *models.Store) error { return only(s.Outbox(ctx, "dep_4711")) })
	p.holds("settled quota", func(s *models.Store) error { return s.SettleQuota(ctx, "dep_4711") })
	p.holds("cached output", func(s *models.Store) error { return only(s.CachedOutput(ctx, "org_1", "x")) })
	p.holds("idempotency key", func(s *models.Store) error {
		_, _, err := s.EarlierDeployment(ctx, "org_1", "key 1", "hash")
		return err
	})
	p.holds("attempts of a delivery", func(s *models.Store) error { return only(s.Attempts(ctx, "dlv_4711")) })
	p.holds("outdated", func(s *models.Store) error { return only(s.Outdated(ctx, models.Delivery{ID: "dlv_4711"})) })
	p.holds("delivery", func(s *models.Store) error {
		_, _, err := s.DeliveryToSend(ctx, "dlv_4711")
		return err
	})
	p.holds("sessions", func(s *models.Store) error { return only(s.ListSessions(ctx, "usr_7")) })
	p.holds("organizations of a user", func(s *models.Store) error {
		return only(s.OrganizationsOf(ctx, models.OwnFilter{UserID: "usr_7", Limit: 51}))
	})
	p.holds("invitations of a user", func(s *models.Store) error { return only(s.InvitationsOf(ctx, "usr_7", models.Position{}, 51)) })
	p.holds("domain that is claimed", func(s *models.Store) error { return s.CheckDomain(ctx, "prj_77", "d77.example.com") })
	p.holds("domain that serves", func(s *models.Store) error { return s.DomainServes(ctx, "d77.example.com") })
	p.holds("measure of a rollout", func(s *models.Store) error {
		return only(s.MeasureRollout(ctx, models.RolloutInput{ReleaseID: "rel_7", BaseReleaseID: "rel_8", ProjectID: "prj_1"}, before))
	})

	// What the workers ask all the time.
	p.holds("deployments not started", func(s *models.Store) error { return only(s.Unstarted(ctx, time.Second, 100)) })
	p.holds("deployments not finished", func(s *models.Store) error { return only(s.Unfinished(ctx, 30*time.Second, 100)) })
	p.holds("domains not started", func(s *models.Store) error { return only(s.UnstartedDomains(ctx, time.Second, 100)) })
	p.holds("domains that are due", func(s *models.Store) error { return only(s.DueDomains(ctx, time.Hour, 100)) })
	p.holds("rollouts not started", func(s *models.Store) error { return only(s.UnstartedRollouts(ctx, time.Second, 100)) })
	p.holds("quiet rollouts", func(s *models.Store) error { return only(s.QuietRollouts(ctx, time.Second, 100)) })
	p.holds("deliveries not started", func(s *models.Store) error {
		return only(s.UnstartedDeliveries(ctx, time.Second, 10*time.Minute, 100))
	})
	p.holds("outbox", func(s *models.Store) error {
		_, _, err := s.FanOut(ctx, 100)
		return err
	})
	p.holds("sweep of deliveries", func(s *models.Store) error { return only(s.SweepDeliveries(ctx, 10)) })
}
