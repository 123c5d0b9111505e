package activities

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// deleting deletes the project while its worker is being tried.
type deleting struct{ b *bench }

func (d deleting) Smoke(context.Context, edge.Release) error {
	d.b.delete()
	return nil
}

func (b *bench) delete() {
	b.t.Helper()
	_, err := b.Store.DeleteProject(b.t.Context(), b.id.OrganizationID, b.project.ID, nil)
	require.NoError(b.t, err)
}

// settled runs what every deployment ends with, also one whose project is gone.
func (b *bench) settled(in models.StepInput) {
	b.t.Helper()
	in.Outcome = models.OutcomeRejected
	for range 2 {
		require.NoError(b.t, b.Cleanup(b.t.Context(), in))
	}
	require.NoError(b.t, b.Store.RecordStatus(b.t.Context(), models.Status{DeploymentID: in.Deployment.DeploymentID, Version: 1, Timestamp: time.Now()}))
	_, err := b.Store.Deployment(b.t.Context(), in.Deployment.DeploymentID)
	requireCode(b.t, models.CodeDeploymentNotFound, err)
}

// Deployments under way when their project is deleted end as the user's failure:
// nothing is retried, parked or written back.
func TestDeploymentOfADeletedProject_endsAtItsNextStep(t *testing.T) {
	b := newBench(t)
	run := func(name string, fn func(t *testing.T, b *bench)) {
		t.Run(name, func(t *testing.T) {
			project, err := b.Store.CreateProject(t.Context(), b.id.OrganizationID, name, name)
			require.NoError(t, err)
			fn(t, &bench{b.Activities, t, b.id, project, b.root})
		})
	}
	run("validate", func(t *testing.T, b *bench) {
		in := b.deployment(map[string]string{"index.html": "hi"}, nil)
		in.Deployment.CustomDomain = "shop.example.com"
		b.delete()
		_, err := b.Validate(t.Context(), in)
		requireCode(t, models.CodeProjectNotFound, err)
		require.Equal(t, models.ClassUser, models.CodeOf(err).Class())
		b.settled(in)
	})
	run("sync", func(t *testing.T, b *bench) {
		in := b.deployment(map[string]string{"index.html": "hi"}, nil)
		b.delete()
		_, err := b.Sync(t.Context(), in)
		require.True(t, err == nil || models.CodeOf(err).Class() == models.ClassUser, err)
		b.settled(in)
	})
	run("build", func(t *testing.T, b *bench) {
		in := b.deployment(map[string]string{"index.html": "hi"}, nil)
		b.delete()
		err := b.Store.AppendLog(t.Context(), models.LogChunk{DeploymentID: in.Deployment.DeploymentID, FirstLine: 1, Lines: []string{"x"}})
		requireCode(t, models.CodeDeploymentNotFound, err)
		require.Equal(t, models.ClassUser, models.CodeOf(err).Class())
		b.settled(in)
	})
	run("deploy", func(t *testing.T, b *bench) {
		in := b.built()
		b.delete()
		_, err := b.Deploy(t.Context(), in)
		requireCode(t, models.CodeProjectNotFound, err)
		b.settled(in)
	})
	run("half-deploy", func(t *testing.T, b *bench) {
		in := b.built()
		b.Workers = deleting{b}
		_, err := b.Deploy(t.Context(), in)
		requireCode(t, models.CodeProjectNotFound, err)
		b.settled(in)
		_, err = b.Store.Route(t.Context(), models.WorkerRouteKey("half-deploy"))
		requireCode(t, models.CodeNotFound, err)
	})
	run("release", func(t *testing.T, b *bench) {
		in := b.built()
		b.delete()
		_, err := b.Store.WriteRelease(t.Context(), models.Release{ProjectID: b.project.ID, OrganizationID: b.id.OrganizationID, DeploymentID: in.Deployment.DeploymentID, ManifestDigest: "m"})
		requireCode(t, models.CodeProjectNotFound, err)
	})
}
