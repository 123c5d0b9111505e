package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/slipwayhq/slipway/models"
)

// limits sets quotas of the bench's organization.
func (b *bench) limits(change models.QuotaChange) {
	b.t.Helper()
	require.NoError(b.t, b.Store.SetQuotas(b.t.Context(), b.id.OrganizationID, change))
}

func TestDeploy_refusesWhatTheOrganizationMayNotStore(t *testing.T) {
	b := newBench(t)
	in := b.build(b.sync(b.deployment(map[string]string{"index.html": "0123456789"}, nil)))
	b.limits(models.QuotaChange{StorageBytes: new(int64(9))})
	_, err := b.Deploy(t.Context(), in)
	requireCode(t, models.CodeQuotaExceeded, err)
	require.Equal(t, models.ClassUser, models.CodeOf(err).Class(), "nobody tries again")
	var coded *models.Error
	require.True(t, errors.As(err, &coded))
	require.Equal(t, map[string]any{"resource": models.ResourceStorage, "limit": int64(9), "used": int64(0), "needed": int64(10)}, coded.Details)
	b.limits(models.QuotaChange{StorageBytes: new(int64(10))})
	for range 2 {
		_, err := b.Deploy(t.Context(), in)
		require.NoError(t, err, "a second attempt stores nothing more")
	}
	// The same files once more: nothing more is stored either.
	_, err = b.Deploy(t.Context(), b.build(b.sync(b.deployment(map[string]string{"index.html": "0123456789"}, nil))))
	require.NoError(t, err)
}

func TestBuildMinutes_areNeededByWhatIsBuiltAlone(t *testing.T) {
	b := newBench(t)
	source := map[string]string{
		"package.json": `{"name": "x", "scripts": {"build": "vite build"}, "devDependencies": {"vite": "1"}}`, "index.html": "hi",
	}
	begun := b.sync(b.deployment(source, nil))
	require.True(t, begun.Sync.NeedsSandbox)
	require.NoError(t, b.Store.AdmitBuild(t.Context(), b.id.OrganizationID, begun.Deployment.DeploymentID))
	waiting := b.sync(b.deployment(source, nil))
	b.limits(models.QuotaChange{BuildMinutes: new(int64(0))})

	_, err := b.Validate(t.Context(), waiting)
	require.NoError(t, err)
	_, err = b.Sync(t.Context(), b.deployment(source, nil))
	requireCode(t, models.CodeQuotaExceeded, err)
	require.Equal(t, models.ClassUser, models.CodeOf(err).Class(), "nobody tries again")
	// It was let wait for a host, and the last minute went to others meanwhile.
	_, err = b.Sandbox(t.Context(), waiting)
	requireCode(t, models.CodeQuotaExceeded, err)
	var coded *models.Error
	require.True(t, errors.As(err, &coded))
	require.Equal(t, models.ResourceBuildMinutes, coded.Details.(map[string]any)["resource"])
	require.NoError(t, b.Cleanup(t.Context(), models.StepInput{Deployment: waiting.Deployment, Outcome: models.OutcomeRejected}))
	require.Zero(t, b.minutes())
	require.NoError(t, b.Store.AdmitBuild(t.Context(), b.id.OrganizationID, begun.Deployment.DeploymentID), "what was begun goes on")

	plain := b.sync(b.deployment(map[string]string{"index.html": "plain"}, func(s *models.FileSet) { s.Replace = true }))
	require.False(t, plain.Sync.NeedsSandbox)
	_, err = b.Deploy(t.Context(), b.build(plain))
	require.NoError(t, err)
	// The same source as one that was built before needs no build either.
	require.NoError(t, b.Store.CacheOutput(t.Context(), b.id.OrganizationID, b.cacheKey(begun.Sync.SourceDigest), b.build(plain).Build.OutputDigest))
	cached := b.sync(b.deployment(source, func(s *models.FileSet) { s.Replace = true }))
	require.NotEmpty(t, cached.Sync.CachedOutput)
}

func TestBuildTime_isChargedForWhatTheUserDid(t *testing.T) {
	b := newBench(t)
	for name, tt := range map[string]struct {
		err      error
		canceled bool
		charged  bool
	}{
		"success":                   {nil, false, true},
		"a build that fails":        {models.Errorf(models.CodeBuildFailed, "no"), false, true},
		"a build that was canceled": {context.Canceled, true, true},
		"a host that fails":         {models.Errorf(models.CodeSandbox, "no"), false, false},
		"a failure of ours":         {errors.New("no"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := b.deployment(nil, nil)
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			work := func(ctx context.Context) error {
				if tt.canceled {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					cancel()
				}
				b.chargeBuild(ctx, in.Deployment.DeploymentID, models.StepBuild, time.Now().Add(-time.Minute), tt.err)
				return nil
			}
			env.RegisterActivity(work)
			_, err := env.ExecuteActivity(work)
			require.NoError(t, err)
			before := b.minutes()
			require.NoError(t, b.Cleanup(t.Context(), models.StepInput{Deployment: in.Deployment, Outcome: models.OutcomeRejected}))
			charged := b.minutes() - before
			require.Equal(t, tt.charged, charged == 1, "%d", charged)
		})
	}
}

func (b *bench) minutes() int64 {
	b.t.Helper()
	usage, err := b.Store.Usage(b.t.Context(), b.id.OrganizationID)
	require.NoError(b.t, err)
	return usage.Resources[1].Used
}
