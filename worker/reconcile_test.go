package worker

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/slipwayhq/slipway/activities"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/dev/temporal/temporaltest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/variables"
	"github.com/slipwayhq/slipway/workflows"
)

func TestMain(m *testing.M) { os.Exit(temporaltest.Wrap(pgtest.Wrap(m)).Run()) }

// installation is rows and a queue with nobody polling.
type installation struct {
	*reconciler
	t    *testing.T
	url  string
	id   models.Identity
	proj models.Project
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	log := logrus.New()
	log.SetOutput(t.Output())
	c, err := client.Dial(client.Options{HostPort: temporaltest.Start(t), Logger: TemporalLogger(log)})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	blobs, err := blobfs.New(blobfs.Options{Root: t.TempDir()})
	require.NoError(t, err)
	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	steps, err := activities.New(activities.Options{Store: store, Blobs: blobs, Variables: variables.New(store, key), Log: log, SiteURL: func(string) string { return "" }})
	require.NoError(t, err)
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	project, err := store.CreateProject(t.Context(), id.OrganizationID, "site", "site")
	require.NoError(t, err)
	return &installation{
		reconciler: &reconciler{Options{Temporal: c, Store: store, Activities: steps, Queue: models.NewID("queue"), Log: log}},
		t:          t, url: url, id: id, proj: project,
	}
}

func (i *installation) deployment() models.Deployment {
	i.t.Helper()
	row, _, err := i.Store.CreateDeployment(i.t.Context(), models.NewDeployment{Priority: 3, Input: models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: i.proj.ID, OrgID: i.id.OrganizationID, UserID: i.id.UserID}})
	require.NoError(i.t, err)
	return row
}

// age makes a row look as if nothing had happened to it for a while.
func (i *installation) age(id string) {
	i.t.Helper()
	conn, err := pgx.Connect(i.t.Context(), i.url)
	require.NoError(i.t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(i.t.Context(), "UPDATE deployments SET updated_at = now() - interval '1 hour', created_at = now() - interval '1 hour' WHERE id = $1", id)
	require.NoError(i.t, err)
}

func (i *installation) row(id string) models.Deployment {
	i.t.Helper()
	row, err := i.Store.Deployment(i.t.Context(), id)
	require.NoError(i.t, err)
	return row
}

func TestReconcile_startsARowWithoutAWorkflowOnce(t *testing.T) {
	i := newInstallation(t)
	d := i.deployment()
	require.NoError(t, i.reconcile(t.Context()))
	require.Empty(t, i.row(d.ID).WorkflowRunID, "the gateway has a moment to do it itself")
	i.age(d.ID)
	require.NoError(t, i.reconcile(t.Context()))
	run := i.row(d.ID).WorkflowRunID
	require.NotEmpty(t, run)
	again, err := workflows.Start(t.Context(), i.Temporal, d, i.Queue)
	require.NoError(t, err)
	require.Equal(t, run, again)
}

func TestReconcile_leavesARunningWorkflowAlone(t *testing.T) {
	i := newInstallation(t)
	d := i.deployment()
	i.age(d.ID)
	require.NoError(t, i.reconcile(t.Context()))
	i.age(d.ID)
	require.NoError(t, i.reconcile(t.Context()))
	row := i.row(d.ID)
	require.Nil(t, row.FinishedAt)
	require.Equal(t, models.StatusQueued, row.Status)
}

func TestReconcile_settlesATerminatedWorkflow(t *testing.T) {
	i := newInstallation(t)
	d := i.deployment()
	require.NoError(t, i.Store.ReserveQuota(t.Context(), i.id.OrganizationID, d.ID))
	i.age(d.ID)
	require.NoError(t, i.reconcile(t.Context()))
	require.NoError(t, i.Temporal.TerminateWorkflow(t.Context(), d.ID, "", "by hand"))
	i.age(d.ID)
	for range 2 {
		require.NoError(t, i.reconcile(t.Context()))
	}
	row := i.row(d.ID)
	require.NotNil(t, row.FinishedAt)
	require.Equal(t, models.OutcomeAbandoned, row.Outcome)
	org, err := i.Store.Organization(t.Context(), i.id.OrganizationID)
	require.NoError(t, err)
	require.Zero(t, org.DeploymentsUsed, "what was ended from outside does not count")
	notices, err := i.Store.Outbox(t.Context(), d.ID)
	require.NoError(t, err)
	require.Len(t, notices, 1)
}
