package activities

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/variables"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bench is a project with the steps around it, on a real database and store.
type bench struct {
	*Activities
	t       *testing.T
	id      models.Identity
	project models.Project
	root    string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	store, err := models.OpenStore(models.StoreOptions{URL: modelstest.URL(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	root := t.TempDir()
	blobs, err := blobfs.New(blobfs.Options{Root: root})
	require.NoError(t, err)
	log := logrus.New()
	log.SetOutput(t.Output())
	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	a, err := New(Options{Store: store, Blobs: blobs, Variables: variables.New(store, key), Log: log, ToolchainVersion: "1",
		SiteURL: func(w string) string { return "http://" + w + ".test/" }})
	require.NoError(t, err)
	project, err := store.CreateProject(t.Context(), id.OrganizationID, "Site", "site")
	require.NoError(t, err)
	return &bench{a, t, id, project, root}
}

func (b *bench) put(content string) models.File {
	b.t.Helper()
	key, err := blob.PutBytes(b.t.Context(), b.Blobs, b.id.OrganizationID, []byte(content))
	require.NoError(b.t, err)
	return models.File{Digest: key.Digest, Size: int64(len(content))}
}

// deployment writes a request with these files, as the gateway would.
func (b *bench) deployment(files map[string]string, change func(*models.FileSet)) models.StepInput {
	b.t.Helper()
	var set models.FileSet
	for path, content := range files {
		f := b.put(content)
		f.Path = path
		set.Files = append(set.Files, f)
	}
	if change != nil {
		change(&set)
	}
	input := models.DeploymentInput{DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: b.project.ID,
		OrgID: b.id.OrganizationID, UserID: b.id.UserID}
	if len(files) > 0 {
		digest, err := b.writeFileSet(b.t.Context(), b.id.OrganizationID, set)
		require.NoError(b.t, err)
		input.RequestDigest = digest
	}
	row, _, err := b.Store.CreateDeployment(b.t.Context(), models.NewDeployment{Input: input})
	require.NoError(b.t, err)
	input.Sequence = row.Sequence
	return models.StepInput{Deployment: input}
}

// sync runs the step and puts its result where the next one reads it.
func (b *bench) sync(in models.StepInput) models.StepInput {
	b.t.Helper()
	result, err := b.Sync(b.t.Context(), in)
	require.NoError(b.t, err)
	in.Sync = &result
	return in
}

func (b *bench) build(in models.StepInput) models.StepInput {
	b.t.Helper()
	result, err := b.Build(b.t.Context(), in)
	require.NoError(b.t, err)
	in.Build = &result
	return in
}

func (b *bench) paths(digest string) []string {
	b.t.Helper()
	set, err := b.readFileSet(b.t.Context(), b.id.OrganizationID, digest)
	require.NoError(b.t, err)
	var paths []string
	for _, f := range set.Files {
		paths = append(paths, f.Path)
	}
	return paths
}

func requireCode(t *testing.T, code models.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, models.CodeOf(err), err.Error())
}

func TestValidate_runTwiceReservesOnce(t *testing.T) {
	b := newBench(t)
	in := b.deployment(map[string]string{"index.html": "hi"}, nil)
	for range 2 {
		result, err := b.Validate(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, "site", result.WorkerName)
	}
	org, err := b.Store.Organization(t.Context(), b.id.OrganizationID)
	require.NoError(t, err)
	require.Equal(t, int64(1), org.DeploymentsUsed)
}

func TestValidate_refusesWhatTheGatewayWould(t *testing.T) {
	b := newBench(t)
	in := b.deployment(map[string]string{"index.html": "hi"}, nil)
	try := func(change func(*models.DeploymentInput)) error {
		other := in
		change(&other.Deployment)
		_, err := b.Validate(t.Context(), other)
		return err
	}
	requireCode(t, models.CodeValidation, try(func(d *models.DeploymentInput) { d.UserID = "" }))
	requireCode(t, models.CodeProjectNotFound, try(func(d *models.DeploymentInput) { d.ProjectID = "prj_other" }))
	requireCode(t, models.CodeForbidden, try(func(d *models.DeploymentInput) { d.UserID = "usr_other" }))
	other, err := b.Store.CreateProject(t.Context(), b.id.OrganizationID, "Other", "other")
	require.NoError(t, err)
	_, err = b.Store.AddDomain(t.Context(), b.project, "taken.example.com")
	require.NoError(t, err)
	taken, err := b.Store.AddDomain(t.Context(), other, "taken.example.com")
	require.NoError(t, err)
	require.NoError(t, b.Store.VerifyDomain(t.Context(), taken.ID))
	requireCode(t, models.CodeDomainUnavailable, try(func(d *models.DeploymentInput) { d.CustomDomain = "taken.example.com" }))
	require.NoError(t, b.Store.SetQuotas(t.Context(), b.id.OrganizationID, models.QuotaChange{Deployments: new(int64(0))}))
	require.NoError(t, try(func(*models.DeploymentInput) {}), "it has its reservation")
	requireCode(t, models.CodeQuotaExceeded, try(func(d *models.DeploymentInput) { d.DeploymentID = models.NewID(models.PrefixDeployment) }))
}

// TestValidate_leavesARemovedDomainRemoved runs the step after somebody removed the
// domain that the deployment came with, even if another project has it by now.
func TestValidate_leavesARemovedDomainRemoved(t *testing.T) {
	b := newBench(t)
	in := b.deployment(map[string]string{"index.html": "hi"}, nil)
	in.Deployment.CustomDomain = "shop.example.com"
	_, err := b.Store.AddDomain(t.Context(), b.project, "shop.example.com")
	require.NoError(t, err)
	_, err = b.Validate(t.Context(), in)
	require.NoError(t, err)
	require.NoError(t, b.Store.RemoveDomain(t.Context(), b.project.ID, "shop.example.com"))
	again := func() {
		t.Helper()
		_, err = b.Validate(t.Context(), in)
		require.NoError(t, err)
		_, err = b.Store.DomainOf(t.Context(), b.project.ID, "shop.example.com")
		requireCode(t, models.CodeDomainNotFound, err)
	}
	again()
	other, err := b.Store.CreateProject(t.Context(), b.id.OrganizationID, "Other", "other")
	require.NoError(t, err)
	moved, err := b.Store.AddDomain(t.Context(), other, "shop.example.com")
	require.NoError(t, err)
	require.NoError(t, b.Store.VerifyDomain(t.Context(), moved.ID))
	again()
}

func TestSync_overlaysTheProjectsLatestFiles(t *testing.T) {
	b := newBench(t)
	b.sync(b.deployment(map[string]string{"index.html": "one", "a.css": "a"}, nil))
	in := b.deployment(map[string]string{"index.html": "two"}, nil)
	first := b.sync(in)
	require.Equal(t, []string{"a.css", "index.html"}, b.paths(first.Sync.SourceDigest))
	again := b.sync(in)
	require.Equal(t, first.Sync.SourceDigest, again.Sync.SourceDigest, "a second run gives the same source")
	require.False(t, first.Sync.NeedsSandbox)
}

func TestSync_filesReplaceTheSource(t *testing.T) {
	b := newBench(t)
	b.sync(b.deployment(map[string]string{"index.html": "one", "a.css": "a"}, nil))
	in := b.sync(b.deployment(map[string]string{"index.html": "two"}, func(s *models.FileSet) { s.Replace = true }))
	require.Equal(t, []string{"index.html"}, b.paths(in.Sync.SourceDigest))
}

func TestSync_historyStaysWithTheProjectUntilReplaced(t *testing.T) {
	b := newBench(t)
	data, err := json.Marshal([]models.Message{{Role: "user", Content: "make a site"}})
	require.NoError(t, err)
	said := b.put(string(data)).Digest
	b.sync(b.deployment(map[string]string{"index.html": "one"}, func(s *models.FileSet) { s.HistoryDigest = said }))
	in := b.sync(b.deployment(nil, nil))
	set, err := b.readFileSet(t.Context(), b.id.OrganizationID, in.Sync.SourceDigest)
	require.NoError(t, err)
	require.Equal(t, said, set.HistoryDigest)
}

func TestSync_projectWithoutFilesIsRefused(t *testing.T) {
	b := newBench(t)
	_, err := b.Sync(t.Context(), b.deployment(nil, nil))
	requireCode(t, models.CodeNoSource, err)
}

func TestSync_blobLostAfterUploadIsThePlatforms(t *testing.T) {
	b := newBench(t)
	in := b.deployment(map[string]string{"index.html": "hello"}, nil)
	require.NoError(t, b.Blobs.Delete(t.Context(), blob.Key{Scope: b.id.OrganizationID, Digest: blob.Digest([]byte("hello"))}))
	_, err := b.Sync(t.Context(), in)
	requireCode(t, models.CodeStorage, err)
}

func TestBuild_plainFilesAreTheOutputWithoutWhatMakesTheProject(t *testing.T) {
	b := newBench(t)
	in := b.build(b.sync(b.deployment(map[string]string{
		"index.html": "<h1>hi</h1>", "css/site.css": "b{}", ".env": "SECRET=1", ".git/config": "x",
		".well-known/security.txt": "Contact: x", "slipway.json": "{}",
	}, nil)))
	require.Equal(t, []string{".well-known/security.txt", "css/site.css", "index.html"}, b.paths(in.Build.OutputDigest))
}

func TestBuild_unchangedSourceReusesTheOutput(t *testing.T) {
	b := newBench(t)
	first := b.build(b.sync(b.deployment(map[string]string{"index.html": "same"}, nil)))
	second := b.build(b.sync(b.deployment(map[string]string{"index.html": "same"}, nil)))
	require.True(t, second.Build.Cached)
	require.Equal(t, first.Build.OutputDigest, second.Build.OutputDigest)
}

func TestSync_cachedOutputWithALostObjectIsForgotten(t *testing.T) {
	b := newBench(t)
	first := b.build(b.sync(b.deployment(map[string]string{"index.html": "same"}, nil)))
	require.NoError(t, b.Blobs.Delete(t.Context(), blob.Key{Scope: b.id.OrganizationID, Digest: first.Build.OutputDigest}))
	second := b.sync(b.deployment(map[string]string{"index.html": "same"}, nil))
	require.Empty(t, second.Sync.CachedOutput)
}

func TestBuild_cachedOutputLostAfterSyncAsksForABuild(t *testing.T) {
	b := newBench(t)
	first := b.build(b.sync(b.deployment(map[string]string{"index.html": "same"}, nil)))
	second := b.sync(b.deployment(map[string]string{"index.html": "same"}, nil))
	require.NotEmpty(t, second.Sync.CachedOutput)
	require.NoError(t, b.Blobs.Delete(t.Context(), blob.Key{Scope: b.id.OrganizationID, Digest: first.Build.OutputDigest}))
	require.Empty(t, b.build(second).Build.OutputDigest)
	cached, err := b.Store.CachedOutput(t.Context(), b.id.OrganizationID, b.cacheKey(second.Sync.SourceDigest))
	require.NoError(t, err)
	require.Empty(t, cached)
}

func TestDeploy_runTwiceGoesLiveOnce(t *testing.T) {
	b := newBench(t)
	in := b.build(b.sync(b.deployment(map[string]string{"index.html": "<h1>hi</h1>", "_headers": "/*\n  X-Test: yes\n"}, nil)))
	first, err := b.Deploy(t.Context(), in)
	require.NoError(t, err)
	second, err := b.Deploy(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Equal(t, "http://site.test/", first.URL)
	route, err := b.Store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	require.Equal(t, first.ReleaseID, route.ReleaseID)
	data, err := blob.ReadAll(t.Context(), b.Blobs, blob.Key{Scope: b.id.OrganizationID, Digest: route.ManifestDigest}, 1<<20)
	require.NoError(t, err)
	manifest, err := assets.ParseManifest(data)
	require.NoError(t, err)
	require.Contains(t, manifest.Files, "/index.html")
	require.NotContains(t, manifest.Files, "/_headers")
	require.Len(t, manifest.Headers, 1)
}

func TestDeploy_textIsStoredCompressedToo(t *testing.T) {
	b := newBench(t)
	long := ""
	for range 500 {
		long += "body { color: rebeccapurple }\n"
	}
	in := b.build(b.sync(b.deployment(map[string]string{"index.html": "<p>", "site.css": long}, nil)))
	_, err := b.Deploy(t.Context(), in)
	require.NoError(t, err)
	output, err := b.readFileSet(t.Context(), b.id.OrganizationID, in.Build.OutputDigest)
	require.NoError(t, err)
	_, manifest, err := b.manifest(t.Context(), b.id.OrganizationID, in.Build.OutputDigest, output)
	require.NoError(t, err)
	css := manifest.Files["/site.css"]
	require.Contains(t, css.Encodings, "br")
	require.Contains(t, css.Encodings, "gzip")
	require.Less(t, css.Encodings["br"].Size, css.Size/10)
}

func TestDeploy_lostObjectStopsBeforeTheFlip(t *testing.T) {
	b := newBench(t)
	in := b.build(b.sync(b.deployment(map[string]string{"index.html": "<h1>hi</h1>", "a.js": "1"}, nil)))
	require.NoError(t, b.Blobs.Delete(t.Context(), blob.Key{Scope: b.id.OrganizationID, Digest: blob.Digest([]byte("1"))}))
	_, err := b.Deploy(t.Context(), in)
	requireCode(t, models.CodeStorage, err)
	_, err = b.Store.Route(t.Context(), models.WorkerRouteKey("site"))
	requireCode(t, models.CodeNotFound, err)
}

func TestDeploy_olderDeploymentIsSuperseded(t *testing.T) {
	b := newBench(t)
	older := b.build(b.sync(b.deployment(map[string]string{"index.html": "one"}, nil)))
	newer := b.build(b.sync(b.deployment(map[string]string{"index.html": "two"}, nil)))
	live, err := b.Deploy(t.Context(), newer)
	require.NoError(t, err)
	late, err := b.Deploy(t.Context(), older)
	require.NoError(t, err)
	require.True(t, late.Superseded)
	require.False(t, live.Superseded)
}

func TestCleanup_settlesOnceAndLeavesOneNotice(t *testing.T) {
	b := newBench(t)
	in := b.deployment(map[string]string{"index.html": "hi"}, nil)
	_, err := b.Validate(t.Context(), in)
	require.NoError(t, err)
	in = b.build(b.sync(in))
	in.Outcome = models.OutcomeSucceeded
	for range 2 {
		require.NoError(t, b.Cleanup(t.Context(), in))
	}
	notices, err := b.Store.Outbox(t.Context(), in.Deployment.DeploymentID)
	require.NoError(t, err)
	require.Len(t, notices, 1)
	require.Equal(t, models.EventDeploymentSucceeded, notices[0].Kind)
	row, err := b.Store.Deployment(t.Context(), in.Deployment.DeploymentID)
	require.NoError(t, err)
	log, err := blob.ReadAll(t.Context(), b.Blobs, blob.Key{Scope: b.id.OrganizationID, Digest: row.LogDigest}, 1<<20)
	require.NoError(t, err)
	require.Contains(t, string(log), "Output: 1 files")
}

func TestCleanup_quotaIsGivenBackOnlyWhenThePlatformFailed(t *testing.T) {
	for outcome, used := range map[models.Outcome]int64{
		models.OutcomeSucceeded: 1, models.OutcomeRejected: 1, models.OutcomeCanceled: 1, models.OutcomeAbandoned: 0,
	} {
		b := newBench(t)
		in := b.deployment(map[string]string{"index.html": "hi"}, nil)
		_, err := b.Validate(t.Context(), in)
		require.NoError(t, err)
		parking := in
		parking.Parking, parking.Outcome = true, models.OutcomeDeadLetter
		require.NoError(t, b.Cleanup(t.Context(), parking))
		in.Outcome = outcome
		require.NoError(t, b.Cleanup(t.Context(), in))
		org, err := b.Store.Organization(t.Context(), b.id.OrganizationID)
		require.NoError(t, err)
		require.Equal(t, used, org.DeploymentsUsed, outcome)
	}
}

func TestToTemporal_usersFailureIsNotTriedAgain(t *testing.T) {
	d := models.Diagnosis{Step: "build", Advice: "Fix it."}
	err := toTemporal(models.Errorf(models.CodeBuildFailed, "npm run build ended with exit code 1.").WithDetails(&d))
	var app *temporal.ApplicationError
	require.True(t, errors.As(err, &app))
	require.True(t, app.NonRetryable())
	require.Equal(t, string(models.CodeBuildFailed), app.Type())
	var failure models.StepFailure
	require.NoError(t, app.Details(&failure))
	require.Equal(t, "Fix it.", failure.Diagnosis.Advice)
}

func TestToTemporal_strangeErrorIsThePlatformsAndHidesItsText(t *testing.T) {
	err := toTemporal(errors.New("dial tcp 10.0.0.1: password wrong"))
	var app *temporal.ApplicationError
	require.True(t, errors.As(err, &app))
	require.False(t, app.NonRetryable())
	require.NotContains(t, app.Message(), "password")
	require.ErrorIs(t, toTemporal(context.Canceled), context.Canceled)
}

func TestSnapshots_evictsTheLongestUnusedButNeverOneInUse(t *testing.T) {
	s, err := openSnapshots(t.TempDir(), 25)
	require.NoError(t, err)
	for _, key := range []string{"org/a", "org/b", "org/c"} {
		require.NoError(t, os.MkdirAll(filepath.Join(s.dir, key), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, key, "file"), []byte("0123456789"), 0o644))
	}
	for _, key := range []string{"org/b", "org/c", "org/a"} { // from the longest unused
		_, ok := s.take(key)
		require.True(t, ok)
		s.release(key)
	}
	_, ok := s.take("org/b")
	require.True(t, ok)
	require.NoError(t, s.evict())
	require.DirExists(t, filepath.Join(s.dir, "org/b"), "in use")
	require.NoDirExists(t, filepath.Join(s.dir, "org/c"))
	require.DirExists(t, filepath.Join(s.dir, "org/a"))
}
