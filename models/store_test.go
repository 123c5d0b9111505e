package models_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

func openStore(t *testing.T) (*models.Store, models.Identity) {
	t.Helper()
	ctx := t.Context()
	store, err := models.OpenStore(models.StoreOptions{URL: modelstest.URL(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(ctx, "Test", "owner@example.com")
	require.NoError(t, err)
	return store, id
}

func newProject(t *testing.T, store *models.Store, id models.Identity, name string) models.Project {
	t.Helper()
	p, err := store.CreateProject(t.Context(), id.OrganizationID, name, name)
	require.NoError(t, err)
	return p
}

func newDeployment(t *testing.T, store *models.Store, id models.Identity, p models.Project) models.Deployment {
	t.Helper()
	d, created, err := store.CreateDeployment(t.Context(), models.NewDeployment{Priority: 3, Input: models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: p.ID, OrgID: id.OrganizationID, UserID: id.UserID}})
	require.NoError(t, err)
	require.True(t, created)
	return d
}

func requireCode(t *testing.T, code models.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, models.CodeOf(err), err.Error())
}

func TestMigrate_mayRunTwiceAndAtOnce(t *testing.T) {
	store, _ := openStore(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { require.NoError(t, store.Migrate(context.Background())) })
	}
	wg.Wait()
}

func TestEnsureOwner_givesTheSameOwnerAgain(t *testing.T) {
	store, id := openStore(t)
	again, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	require.Equal(t, id, again)
}

func TestAuthenticate_knowsOnlyTheSecretsItGaveOut(t *testing.T) {
	store, id := openStore(t)
	_, secret, err := store.CreateToken(t.Context(), models.NewToken{OrganizationID: id.OrganizationID, UserID: id.UserID, Name: "test"})
	require.NoError(t, err)
	got, err := store.Authenticate(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, id.UserID, got.UserID)
	require.Equal(t, id.OrganizationID, got.OrganizationID)
	for _, wrong := range []string{"", "slp_", secret[:len(secret)-1], secret + "x", "' OR 1=1 --"} {
		_, err := store.Authenticate(t.Context(), wrong)
		requireCode(t, models.CodeUnauthorized, err)
	}
}

func TestReserveQuota_letsInExactlyTheLimitUnderConcurrency(t *testing.T) {
	store, id := openStore(t)
	require.NoError(t, store.SetQuotas(t.Context(), id.OrganizationID, models.QuotaChange{Deployments: new(int64(50))}))
	var in, refused atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			err := store.ReserveQuota(context.Background(), id.OrganizationID, models.NewID(models.PrefixDeployment))
			switch {
			case err == nil:
				in.Add(1)
			case models.CodeOf(err) == models.CodeQuotaExceeded:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(50), in.Load())
	require.Equal(t, int64(150), refused.Load())
}

func TestReserveQuota_countsADeploymentOnceHoweverOftenItIsAsked(t *testing.T) {
	store, id := openStore(t)
	dep := models.NewID(models.PrefixDeployment)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := store.ReserveQuota(context.Background(), id.OrganizationID, dep); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	used := func() int64 {
		org, err := store.Organization(t.Context(), id.OrganizationID)
		require.NoError(t, err)
		return org.DeploymentsUsed
	}
	require.Equal(t, int64(1), used())
	require.NoError(t, store.RefundQuota(t.Context(), dep))
	require.NoError(t, store.RefundQuota(t.Context(), dep))
	require.Equal(t, int64(0), used())
}

func TestRefundQuota_leavesASettledReservation(t *testing.T) {
	store, id := openStore(t)
	dep := models.NewID(models.PrefixDeployment)
	require.NoError(t, store.ReserveQuota(t.Context(), id.OrganizationID, dep))
	require.NoError(t, store.SettleQuota(t.Context(), dep))
	require.NoError(t, store.RefundQuota(t.Context(), dep))
	org, err := store.Organization(t.Context(), id.OrganizationID)
	require.NoError(t, err)
	require.Equal(t, int64(1), org.DeploymentsUsed)
}

func TestReserveQuota_refusalHasTheNumbers(t *testing.T) {
	store, id := openStore(t)
	require.NoError(t, store.SetQuotas(t.Context(), id.OrganizationID, models.QuotaChange{Deployments: new(int64(0))}))
	err := store.ReserveQuota(t.Context(), id.OrganizationID, "dep_x")
	requireCode(t, models.CodeQuotaExceeded, err)
	var coded *models.Error
	require.True(t, errors.As(err, &coded))
	require.Equal(t, int64(0), coded.Details.(map[string]any)["limit"])
}

func TestCreateProject_takenNameIsRefusedInAnyCase(t *testing.T) {
	store, id := openStore(t)
	newProject(t, store, id, "shop")
	_, err := store.CreateProject(t.Context(), id.OrganizationID, "Other", "SHOP")
	requireCode(t, models.CodeNameTaken, err)
}

func TestProject_ofAnotherOrganizationIsNotFound(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "mine")
	_, err := store.Project(t.Context(), "org_other", p.ID)
	requireCode(t, models.CodeProjectNotFound, err)
}

func TestCreateDeployment_sameKeyAtOnceMakesOneDeployment(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	var made atomic.Int64
	ids := make([]string, 30)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			d, created, err := store.CreateDeployment(context.Background(), models.NewDeployment{
				IdempotencyKey: "key", BodyHash: "same", Input: models.DeploymentInput{
					DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: p.ID, OrgID: id.OrganizationID}})
			if err != nil {
				t.Error(err)
				return
			}
			if created {
				made.Add(1)
			}
			ids[i] = d.ID
		})
	}
	wg.Wait()
	require.Equal(t, int64(1), made.Load())
	for _, got := range ids {
		require.Equal(t, ids[0], got)
	}
	_, _, err := store.CreateDeployment(t.Context(), models.NewDeployment{IdempotencyKey: "key", BodyHash: "other",
		Input: models.DeploymentInput{DeploymentID: "dep_z", ProjectID: p.ID, OrgID: id.OrganizationID}})
	requireCode(t, models.CodeIdempotency, err)
}

func TestRecordStatus_lateVersionsChangeNothing(t *testing.T) {
	store, id := openStore(t)
	d := newDeployment(t, store, id, newProject(t, store, id, "site"))
	st := models.QueuedStatus(d.ID, time.Now().UTC())
	st.Version, st.Status, st.CurrentStep = 5, models.StatusInProgress, models.StepBuild
	require.NoError(t, store.RecordStatus(t.Context(), st))
	old := st
	old.Version, old.CurrentStep = 4, models.StepSync
	require.NoError(t, store.RecordStatus(t.Context(), old))
	row, err := store.Deployment(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, models.StepBuild, row.CurrentStep)
	recorded, err := row.RecordedStatus()
	require.NoError(t, err)
	require.Equal(t, models.StepBuild, recorded.CurrentStep)
	require.Nil(t, row.FinishedAt)
}

func TestRecordStatus_aFinalStatusEndsTheRow(t *testing.T) {
	store, id := openStore(t)
	d := newDeployment(t, store, id, newProject(t, store, id, "site"))
	st := models.QueuedStatus(d.ID, time.Now().UTC())
	st.Version, st.Outcome, st.Status, st.Progress = 9, models.OutcomeSucceeded, models.StatusCompleted, models.ProgressDone
	require.NoError(t, store.RecordStatus(t.Context(), st))
	row, err := store.Deployment(t.Context(), d.ID)
	require.NoError(t, err)
	require.NotNil(t, row.FinishedAt)
	st.Version, st.Outcome = 10, models.OutcomeAbandoned
	require.NoError(t, store.RecordStatus(t.Context(), st))
	row, err = store.Deployment(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, row.Outcome)
}

func release(t *testing.T, store *models.Store, d models.Deployment) models.Release {
	t.Helper()
	r, err := store.WriteRelease(t.Context(), models.Release{ProjectID: d.ProjectID, OrganizationID: d.OrganizationID,
		DeploymentID: d.ID, Sequence: d.Sequence, ManifestDigest: "digest-of-" + d.ID})
	require.NoError(t, err)
	return r
}

func TestGoLive_onlyMovesForward(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	first, second := newDeployment(t, store, id, p), newDeployment(t, store, id, p)
	newer, older := release(t, store, second), release(t, store, first)
	live, err := store.GoLive(t.Context(), newer)
	require.NoError(t, err)
	require.True(t, live)
	live, err = store.GoLive(t.Context(), older)
	require.NoError(t, err)
	require.False(t, live, "an older deployment must finish as superseded")
	route, err := store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	require.Equal(t, newer.ID, route.ReleaseID)
	live, err = store.GoLive(t.Context(), newer)
	require.NoError(t, err)
	require.True(t, live, "what is live stays live when the step runs again")
}

func TestRollback_isNotOverwrittenByADeploymentUnderWay(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	one, two := newDeployment(t, store, id, p), newDeployment(t, store, id, p)
	r1, r2 := release(t, store, one), release(t, store, two)
	for _, r := range []models.Release{r1, r2} {
		live, err := store.GoLive(t.Context(), r)
		require.NoError(t, err)
		require.True(t, live)
	}
	underWay := newDeployment(t, store, id, p)
	require.NoError(t, store.Rollback(t.Context(), r1))
	live, err := store.GoLive(t.Context(), release(t, store, underWay))
	require.NoError(t, err)
	require.False(t, live)
	after := newDeployment(t, store, id, p)
	live, err = store.GoLive(t.Context(), release(t, store, after))
	require.NoError(t, err)
	require.True(t, live, "a deployment made after the rollback goes live")
}

func TestGoLive_aRetryAfterRollbackDoesNotBringTheReleaseBack(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	one, two := newDeployment(t, store, id, p), newDeployment(t, store, id, p)
	r1, r2 := release(t, store, one), release(t, store, two)
	_, err := store.GoLive(t.Context(), r1)
	require.NoError(t, err)
	_, err = store.GoLive(t.Context(), r2)
	require.NoError(t, err)
	require.NoError(t, store.Rollback(t.Context(), r1))
	live, err := store.GoLive(t.Context(), r2)
	require.NoError(t, err)
	require.False(t, live)
}

func TestListen_hearsAFlip(t *testing.T) {
	store, id := openStore(t)
	d := newDeployment(t, store, id, newProject(t, store, id, "site"))
	r := release(t, store, d)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connected, heard := make(chan struct{}), make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- store.Listen(ctx, models.RoutesChannel, func() { close(connected) }, func(p string) { heard <- p })
	}()
	select {
	case <-connected:
	case err := <-ended:
		t.Fatal(err)
	}
	_, err := store.GoLive(ctx, r)
	require.NoError(t, err)
	select {
	case got := <-heard:
		key, generation := models.ParseRouteChange(got)
		require.Equal(t, "w:site", key)
		require.Positive(t, generation)
	case <-ctx.Done():
		t.Fatal("no notification")
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestBaseSource_isTheSameWhenSyncRunsAgain(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "site")
	one, two := newDeployment(t, store, id, p), newDeployment(t, store, id, p)
	require.NoError(t, store.AcceptSource(t.Context(), p.ID, one.ID, one.Sequence, "first"))
	for range 2 {
		base, err := store.BaseSource(t.Context(), p.ID, two.Sequence)
		require.NoError(t, err)
		require.Equal(t, "first", base)
		require.NoError(t, store.AcceptSource(t.Context(), p.ID, two.ID, two.Sequence, "second"))
	}
	// A slow older deployment does not take the project's source back.
	require.NoError(t, store.AcceptSource(t.Context(), p.ID, one.ID, one.Sequence, "first"))
	got, err := store.Project(t.Context(), id.OrganizationID, p.ID)
	require.NoError(t, err)
	require.Equal(t, "second", got.SourceDigest)
}

func TestLogChunks_pageThroughALogAndCloseIt(t *testing.T) {
	store, id := openStore(t)
	d := newDeployment(t, store, id, newProject(t, store, id, "site"))
	var want []string
	for i := range 5 {
		next, err := store.NextLogLine(t.Context(), d.ID)
		require.NoError(t, err)
		lines := []string{fmt.Sprintf("chunk %d 'a\"", i), `b\c{},NULL`}
		require.NoError(t, store.AppendLog(t.Context(), models.LogChunk{DeploymentID: d.ID, FirstLine: next, Lines: lines}))
		want = append(want, lines...)
	}
	var got []string
	var after int64
	for {
		chunks, err := store.LogChunks(t.Context(), d.ID, after, 2)
		require.NoError(t, err)
		if len(chunks) == 0 {
			break
		}
		for _, c := range chunks {
			got = append(got, c.Lines...)
			after = c.FirstLine + int64(len(c.Lines)) - 1
		}
	}
	require.Equal(t, want, got)
	require.NoError(t, store.CloseLog(t.Context(), d.ID, "digest"))
	row, err := store.Deployment(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, "digest", row.LogDigest)
}

func TestUIDSlot_isOnePerOrganizationForEver(t *testing.T) {
	store, id := openStore(t)
	other, err := store.EnsureOwner(t.Context(), "Other", "other@example.com")
	require.NoError(t, err)
	slots := make([]int, 20)
	var wg sync.WaitGroup
	for i := range slots {
		org := id.OrganizationID
		if i%2 == 1 {
			org = other.OrganizationID
		}
		wg.Go(func() {
			slot, err := store.UIDSlot(context.Background(), org)
			if err != nil {
				t.Error(err)
			}
			slots[i] = slot
		})
	}
	wg.Wait()
	require.NotEqual(t, slots[0], slots[1])
	for i, slot := range slots {
		require.Equal(t, slots[i%2], slot)
	}
}

func TestUnstarted_findsRowsWhoseWorkflowNobodyStarted(t *testing.T) {
	store, id := openStore(t)
	d := newDeployment(t, store, id, newProject(t, store, id, "site"))
	rows, err := store.Unstarted(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.NoError(t, store.MarkStarted(t.Context(), d.ID, "run"))
	rows, err = store.Unstarted(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, rows)
}

func TestStore_unreachableDatabaseIsThePlatforms(t *testing.T) {
	store, err := models.OpenStore(models.StoreOptions{URL: "postgresql://u:p@127.0.0.1:1/none"})
	require.NoError(t, err)
	defer store.Close()
	requireCode(t, models.CodeDatabase, store.Ping(t.Context()))
}
