package models_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

// quotaStore is a store whose organizations have these quotas, and its URL.
func quotaStore(t *testing.T, quotas models.Quotas) (*models.Store, models.Identity, string) {
	t.Helper()
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url, Quotas: &quotas})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	return store, id, url
}

func execSQL(t *testing.T, url, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), statement, args...)
	require.NoError(t, err)
}

func usedOf(t *testing.T, store *models.Store, id models.Identity, resource models.Resource) models.ResourceUsage {
	t.Helper()
	usage, err := store.Usage(t.Context(), id.OrganizationID)
	require.NoError(t, err)
	for _, r := range usage.Resources {
		if r.Resource == resource {
			return r
		}
	}
	require.Fail(t, "no such resource", resource)
	return models.ResourceUsage{}
}

// refusal checks that err is CodeQuotaExceeded about that resource.
func refusal(t *testing.T, err error, resource models.Resource, limit, used int64) {
	t.Helper()
	requireCode(t, models.CodeQuotaExceeded, err)
	var coded *models.Error
	require.True(t, errors.As(err, &coded))
	details := coded.Details.(map[string]any)
	require.Equal(t, resource, details["resource"])
	require.Equal(t, limit, details["limit"])
	require.Equal(t, used, details["used"])
}

// atOnce calls fn n times at once and counts what succeeds; all else has to be
// CodeQuotaExceeded.
func atOnce(t *testing.T, n int, fn func(i int) error) (succeeded int64) {
	t.Helper()
	var in atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			switch err := fn(i); {
			case err == nil:
				in.Add(1)
			case models.CodeOf(err) != models.CodeQuotaExceeded:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return in.Load()
}

func deploymentOf(id models.Identity, p models.Project) models.NewDeployment {
	return models.NewDeployment{Priority: 3, Input: models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: p.ID, OrgID: id.OrganizationID, UserID: id.UserID}}
}

func TestQuotas_letInExactlyTheLimitUnderConcurrency(t *testing.T) {
	store, id, _ := quotaStore(t, models.Quotas{Deployments: 50, BuildMinutes: 1, Projects: 10, Domains: 7, StorageBytes: 1000})
	require.EqualValues(t, 10, atOnce(t, 40, func(i int) error {
		name := fmt.Sprintf("site-%d", i)
		_, err := store.CreateProject(context.Background(), id.OrganizationID, name, name)
		return err
	}))
	projects, err := store.Projects(t.Context(), models.ProjectFilter{OrganizationID: id.OrganizationID, Limit: 10})
	require.NoError(t, err)

	var made sync.Map
	require.EqualValues(t, 50, atOnce(t, 200, func(i int) error {
		row, _, err := store.CreateDeployment(context.Background(), deploymentOf(id, projects[i%len(projects)]))
		if err == nil {
			made.Store(row.ID, row)
		}
		return err
	}))
	rows, err := store.Deployments(t.Context(), models.DeploymentFilter{OrganizationID: id.OrganizationID, Limit: 300})
	require.NoError(t, err)
	require.Len(t, rows, 50)

	require.EqualValues(t, 7, atOnce(t, 40, func(i int) error {
		_, err := store.AddDomain(context.Background(), projects[i%len(projects)], fmt.Sprintf("d%d.example.com", i))
		return err
	}))
	require.EqualValues(t, 10, atOnce(t, 50, func(i int) error {
		d := rows[i]
		_, err := store.WriteRelease(context.Background(), models.Release{
			ProjectID: d.ProjectID, OrganizationID: id.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence, OutputDigest: d.ID, Bytes: 100})
		return err
	}))
	for resource, limit := range map[models.Resource]int64{
		models.ResourceDeployments: 50, models.ResourceProjects: 10, models.ResourceDomains: 7, models.ResourceStorage: 1000,
	} {
		r := usedOf(t, store, id, resource)
		require.Equal(t, limit, r.Used, resource)
		require.Zero(t, r.Remaining())
	}
	_, _, err = store.CreateDeployment(t.Context(), deploymentOf(id, projects[0]))
	refusal(t, err, models.ResourceDeployments, 50, 50)
	_, err = store.CreateProject(t.Context(), id.OrganizationID, "more", "more")
	refusal(t, err, models.ResourceProjects, 10, 10)
	require.NotContains(t, err.Error(), "starts anew")
}

func TestCreateDeployment_reservesOnceAndOnlyWithItsRow(t *testing.T) {
	store, id, _ := quotaStore(t, models.DefaultQuotas())
	p := newProject(t, store, id, "site")
	used := func() int64 { return usedOf(t, store, id, models.ResourceDeployments).Used }

	lost := deploymentOf(id, p)
	lost.Input.ProjectID = models.NewID(models.PrefixProject)
	_, _, err := store.CreateDeployment(t.Context(), lost)
	requireCode(t, models.CodeProjectNotFound, err)
	require.Zero(t, used(), "what was not written is not counted")

	n := deploymentOf(id, p)
	n.IdempotencyKey, n.BodyHash = "key", "hash"
	for range 3 {
		n.Input.DeploymentID = models.NewID(models.PrefixDeployment)
		row, _, err := store.CreateDeployment(t.Context(), n)
		require.NoError(t, err)
		require.NoError(t, store.ReserveQuota(t.Context(), id.OrganizationID, row.ID), "the step validate")
	}
	require.EqualValues(t, 1, used())

	require.NoError(t, store.ReserveQuota(t.Context(), id.OrganizationID, "dep_of_an_earlier_version"))
	require.EqualValues(t, 2, used())
}

func TestBuildMinutes_areChargedAtTheEndUnlessThePlatformFailed(t *testing.T) {
	store, id, _ := quotaStore(t, models.Quotas{Deployments: 100, BuildMinutes: 2, Projects: 1})
	p := newProject(t, store, id, "site")
	minutes := func() int64 { return usedOf(t, store, id, models.ResourceBuildMinutes).Used }
	build := func(worked time.Duration) models.Deployment {
		d := newDeployment(t, store, id, p)
		require.NoError(t, store.NoteBuildTime(t.Context(), d.ID, models.StepSandbox, time.Second))
		require.NoError(t, store.NoteBuildTime(t.Context(), d.ID, models.StepBuild, time.Hour))
		require.NoError(t, store.NoteBuildTime(t.Context(), d.ID, models.StepBuild, worked-time.Second))
		return d
	}
	failed := build(90 * time.Second)
	require.NoError(t, store.RefundQuota(t.Context(), failed.ID))
	require.NoError(t, store.SettleQuota(t.Context(), failed.ID))
	require.Zero(t, minutes())

	first := build(90 * time.Second)
	require.Zero(t, minutes(), "not before it is settled")
	for range 2 {
		require.NoError(t, store.SettleQuota(t.Context(), first.ID))
	}
	require.EqualValues(t, 1, minutes())

	second := build(29500 * time.Millisecond)
	require.NoError(t, store.NoteBuildTime(t.Context(), first.ID, models.StepBuild, time.Hour), "too late: it is settled")
	require.NoError(t, store.SettleQuota(t.Context(), second.ID))
	require.EqualValues(t, 2, minutes(), "seconds are rounded up for each build")

	third := newDeployment(t, store, id, p)
	refusal(t, store.CheckBuild(t.Context(), id.OrganizationID), models.ResourceBuildMinutes, 2, 2)
	refusal(t, store.AdmitBuild(t.Context(), id.OrganizationID, third.ID), models.ResourceBuildMinutes, 2, 2)
	require.NoError(t, store.SetQuotas(t.Context(), id.OrganizationID, models.QuotaChange{BuildMinutes: new(int64(3))}))
	require.NoError(t, store.CheckBuild(t.Context(), id.OrganizationID))
	require.NoError(t, store.AdmitBuild(t.Context(), id.OrganizationID, third.ID))
}

func TestAdmitBuild_letsABuildFinishThatHasBegun(t *testing.T) {
	store, id, _ := quotaStore(t, models.Quotas{Deployments: 100, BuildMinutes: 1, Projects: 1})
	p := newProject(t, store, id, "site")
	running, last, waiting := newDeployment(t, store, id, p), newDeployment(t, store, id, p), newDeployment(t, store, id, p)
	for _, d := range []models.Deployment{running, last} {
		require.NoError(t, store.AdmitBuild(t.Context(), id.OrganizationID, d.ID))
	}
	require.NoError(t, store.NoteBuildTime(t.Context(), last.ID, models.StepBuild, time.Minute))
	require.NoError(t, store.SettleQuota(t.Context(), last.ID))
	require.NoError(t, store.AdmitBuild(t.Context(), id.OrganizationID, running.ID), "on another host, after its own was lost")
	refusal(t, store.AdmitBuild(t.Context(), id.OrganizationID, waiting.ID), models.ResourceBuildMinutes, 1, 1)
	require.EqualValues(t, 3, usedOf(t, store, id, models.ResourceDeployments).Used, "deployments are taken all the same")
}

func TestAdmitBuild_letsInNoneAfterTheLastMinuteUnderConcurrency(t *testing.T) {
	store, id, _ := quotaStore(t, models.Quotas{Deployments: 100, BuildMinutes: 1, Projects: 1})
	p := newProject(t, store, id, "site")
	last := newDeployment(t, store, id, p)
	require.NoError(t, store.AdmitBuild(t.Context(), id.OrganizationID, last.ID))
	require.NoError(t, store.NoteBuildTime(t.Context(), last.ID, models.StepBuild, time.Minute))
	rows := make([]models.Deployment, 20)
	for i := range rows {
		rows[i] = newDeployment(t, store, id, p)
	}
	var settled atomic.Bool
	atOnce(t, len(rows)+1, func(i int) error {
		if i == len(rows) {
			err := store.SettleQuota(context.Background(), last.ID)
			settled.Store(true)
			return err
		}
		over := settled.Load()
		err := store.AdmitBuild(context.Background(), id.OrganizationID, rows[i].ID)
		if over && err == nil {
			t.Error("a build was let in after the last minute was charged")
		}
		return err
	})
	require.EqualValues(t, 1, usedOf(t, store, id, models.ResourceBuildMinutes).Used)
}

func TestQuotas_startAnewWithEachPeriod(t *testing.T) {
	store, id, url := quotaStore(t, models.Quotas{Deployments: 1, BuildMinutes: 1, Projects: 1})
	p := newProject(t, store, id, "site")
	old := newDeployment(t, store, id, p)
	running := old
	require.NoError(t, store.NoteBuildTime(t.Context(), old.ID, models.StepBuild, 10*time.Second))
	requireCode(t, models.CodeQuotaExceeded, store.CheckQuota(t.Context(), id.OrganizationID))

	execSQL(t, url, "UPDATE organizations SET build_seconds_used = 60, period_start = now() - interval '40 days', period_end = now() - interval '1 second'")
	execSQL(t, url, "UPDATE quota_reservations SET period_start = now() - interval '40 days'")
	usage, err := store.Usage(t.Context(), id.OrganizationID)
	require.NoError(t, err)
	require.Zero(t, usage.Resources[0].Used)
	require.Zero(t, usage.Resources[1].Used)
	require.Equal(t, 1, usage.PeriodEnd.Day())
	require.Equal(t, time.UTC, usage.PeriodEnd.Location())
	require.True(t, usage.PeriodEnd.After(time.Now()))

	next := newDeployment(t, store, id, p)
	require.EqualValues(t, 1, usedOf(t, store, id, models.ResourceDeployments).Used)
	require.NoError(t, store.RefundQuota(t.Context(), running.ID))
	require.EqualValues(t, 1, usedOf(t, store, id, models.ResourceDeployments).Used, "what was reserved in another period is not given back to this one")
	require.NoError(t, store.RefundQuota(t.Context(), next.ID))
	require.Zero(t, usedOf(t, store, id, models.ResourceDeployments).Used)
}

func TestStorage_countsOneBuildOnce(t *testing.T) {
	store, id, _ := quotaStore(t, models.Quotas{Deployments: 100, BuildMinutes: 1, Projects: 2, StorageBytes: 100})
	p := newProject(t, store, id, "site")
	write := func(output string, bytes int64) (models.Deployment, error) {
		d := newDeployment(t, store, id, p)
		release := models.Release{ProjectID: p.ID, OrganizationID: id.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence, OutputDigest: output, Bytes: bytes}
		first, err := store.WriteRelease(t.Context(), release)
		if err == nil {
			second, err := store.WriteRelease(t.Context(), release)
			require.NoError(t, err)
			require.Equal(t, first.ID, second.ID, "a deployment has one release")
		}
		return d, err
	}
	for range 3 {
		_, err := write("a", 60)
		require.NoError(t, err)
	}
	require.EqualValues(t, 60, usedOf(t, store, id, models.ResourceStorage).Used)
	_, err := write("b", 41)
	refusal(t, err, models.ResourceStorage, 100, 60)
	_, err = write("c", 40)
	require.NoError(t, err)
	require.EqualValues(t, 100, usedOf(t, store, id, models.ResourceStorage).Used)
}

func TestSetQuotas_refusesWhatCannotBe(t *testing.T) {
	store, id, _ := quotaStore(t, models.DefaultQuotas())
	requireCode(t, models.CodeValidation, store.SetQuotas(t.Context(), id.OrganizationID, models.QuotaChange{Projects: new(int64(-1))}))
	requireCode(t, models.CodeOrganizationNotFound, store.SetQuotas(t.Context(), "org_none", models.QuotaChange{Projects: new(int64(1))}))
	_, err := store.Usage(t.Context(), "org_none")
	requireCode(t, models.CodeOrganizationNotFound, err)
	p := newProject(t, store, id, "site")
	require.NoError(t, store.SetQuotas(t.Context(), id.OrganizationID, models.QuotaChange{Projects: new(int64(0)), Domains: new(int64(0))}))
	r := usedOf(t, store, id, models.ResourceProjects)
	require.EqualValues(t, 1, r.Used, "what is there stays")
	require.Zero(t, r.Remaining())
	_, err = store.AddDomain(t.Context(), p, "shop.example.com")
	refusal(t, err, models.ResourceDomains, 0, 0)
}
