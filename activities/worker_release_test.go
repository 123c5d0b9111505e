package activities

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// started is what the steps asked to have started, and the answer they got.
type started struct {
	releases []edge.Release
	err      error
}

func (s *started) Smoke(_ context.Context, release edge.Release) error {
	s.releases = append(s.releases, release)
	return s.err
}

// built is a deployment whose build made a worker of one module.
func (b *bench) built() models.StepInput {
	b.t.Helper()
	return b.builtOf("hi")
}

// builtOf is built with another text.
func (b *bench) builtOf(text string) models.StepInput {
	b.t.Helper()
	in := b.sync(b.deployment(map[string]string{"index.html": text}, nil))
	main := b.put("export default {} // " + text)
	digest, err := b.writeFileSet(b.t.Context(), b.id.OrganizationID, models.FileSet{Worker: &models.WorkerBundle{
		CompatibilityDate: "2026-11-01",
		Modules:           []models.WorkerModule{{Name: "index.js", Type: models.ModuleES, Digest: main.Digest, Size: main.Size}},
	}})
	require.NoError(b.t, err)
	in.Build = &models.BuildResult{OutputDigest: digest}
	return in
}

func TestDeploy_sendsNobodyToAWorkerThatDoesNotStart(t *testing.T) {
	b := newBench(t)
	workers := &started{err: models.Errorf(models.CodeWorkerStart, "Uncaught Error: no")}
	b.Workers = workers
	_, err := b.Deploy(t.Context(), b.built())
	requireCode(t, models.CodeWorkerStart, err)
	require.Equal(t, models.ClassUser, models.CodeOf(err).Class())
	require.Len(t, workers.releases, 1)
	listed, err := b.Store.Releases(t.Context(), b.project.ID, models.Position{}, 10)
	require.NoError(t, err)
	require.Empty(t, listed, "a release that never answered can be neither listed nor rolled back to")
	_, err = b.Store.Route(t.Context(), models.WorkerRouteKey("site"))
	requireCode(t, models.CodeNotFound, err)
}

func TestDeploy_givesTheReleaseItsWorkerAndVariables(t *testing.T) {
	b := newBench(t)
	workers := &started{}
	b.Workers = workers
	require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, models.Environment{"KEY": {Value: "hunter2", Secret: true}}, nil))
	result, err := b.Deploy(t.Context(), b.built())
	require.NoError(t, err)
	route, err := b.Store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	require.Equal(t, result.ReleaseID, route.ReleaseID)
	require.NotEmpty(t, route.WorkerDigest)
	require.Equal(t, route.WorkerDigest, workers.releases[0].WorkerDigest)
	environment, err := b.Variables.Environment(t.Context(), result.ReleaseID)
	require.NoError(t, err)
	require.Equal(t, models.Environment{"KEY": {Value: "hunter2", Secret: true}}, environment)
}

// A variable with the name of a binding was never seen by the worker, and nobody said so.
func TestDeploy_refusesAVariableWithTheNameOfABinding(t *testing.T) {
	b := newBench(t)
	b.Workers = &started{}
	in := b.built()
	set, err := b.readFileSet(t.Context(), b.id.OrganizationID, in.Build.OutputDigest)
	require.NoError(t, err)
	set.Worker.KV = []models.KVBinding{{Binding: "CACHE"}}
	set.Worker.Assets = &models.WorkerAssets{Binding: "FILES"}
	set.Worker.Self = []string{"SELF"}
	set.Worker.Vars = map[string]json.RawMessage{"GREETING": json.RawMessage(`"hi"`)}
	in.Build.OutputDigest, err = b.writeFileSet(t.Context(), b.id.OrganizationID, set)
	require.NoError(t, err)
	for name, message := range map[string]string{
		"CACHE": "CACHE is a secret of the project and the binding CACHE to a key-value namespace (kv_namespaces)",
		"FILES": "FILES is a secret of the project and the binding FILES to the files of the release (assets)",
		"SELF":  "SELF is a secret of the project and the binding SELF to the worker itself (services)",
	} {
		require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, models.Environment{name: {Value: "hunter2", Secret: true}}, nil))
		fresh := b.deployment(map[string]string{"index.html": name}, nil)
		fresh = b.sync(fresh)
		fresh.Build = in.Build
		for range 2 { // the step may run twice
			_, err = b.Deploy(t.Context(), fresh)
			requireCode(t, models.CodeReleaseInvalid, err)
			require.Contains(t, models.MessageOf(err), message)
			require.NotContains(t, err.Error(), "hunter2")
		}
		require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, nil, []string{name}))
	}
	require.Equal(t, models.ClassUser, models.CodeReleaseInvalid.Class())

	// One of the settings file's vars gives way, as documented.
	require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, models.Environment{"GREETING": {Value: "hello"}}, nil))
	fresh := b.sync(b.deployment(map[string]string{"index.html": "last"}, nil))
	fresh.Build = in.Build
	_, err = b.Deploy(t.Context(), fresh)
	require.NoError(t, err)
}

func TestSync_makesANewReleaseOfAnOldOneWithoutABuild(t *testing.T) {
	b := newBench(t)
	b.Workers = &started{}
	first, err := b.Deploy(t.Context(), b.built())
	require.NoError(t, err)
	// A later source that was accepted but never went live.
	later := b.sync(b.deployment(map[string]string{"index.html": "later"}, nil))
	require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, models.Environment{"KEY": {Value: "new"}}, nil))

	in := b.deployment(nil, nil)
	in.Deployment.FromReleaseID = first.ReleaseID
	in = b.sync(in)
	require.NotEmpty(t, in.Sync.CachedOutput)
	in = b.build(in)
	require.True(t, in.Build.Cached)
	second, err := b.Deploy(t.Context(), in)
	require.NoError(t, err)

	environment, err := b.Variables.Environment(t.Context(), second.ReleaseID)
	require.NoError(t, err)
	require.Equal(t, "new", environment["KEY"].Value)
	environment, err = b.Variables.Environment(t.Context(), first.ReleaseID)
	require.NoError(t, err)
	require.Empty(t, environment, "an earlier release keeps what it had")
	next := b.sync(b.deployment(map[string]string{"x": "x"}, nil))
	set, err := b.readFileSet(t.Context(), b.id.OrganizationID, next.Sync.SourceDigest)
	require.NoError(t, err)
	require.Len(t, set.Files, 2)
	require.Equal(t, later.Sync.Bytes+1, next.Sync.Bytes, "the latest source stays what new files go on top of")
}

func TestDeploy_aPreviewGoesLiveForNobody(t *testing.T) {
	b := newBench(t)
	b.Workers = &started{}
	in := b.built()
	in.Deployment.Preview = true
	result, err := b.Deploy(t.Context(), in)
	require.NoError(t, err)
	require.False(t, result.Superseded)
	require.Equal(t, "http://"+models.PreviewName(result.ReleaseID, "site")+".test/", result.URL)
	_, err = b.Store.Route(t.Context(), models.WorkerRouteKey("site"))
	requireCode(t, models.CodeNotFound, err)
	route, err := b.Store.Route(t.Context(), models.WorkerRouteKey(models.PreviewName(result.ReleaseID, "site")))
	require.NoError(t, err)
	require.Equal(t, result.ReleaseID, route.ReleaseID)
	live, err := b.Deploy(t.Context(), b.built())
	require.NoError(t, err)
	require.False(t, live.Superseded)
}

// New variables, set while new code was being built, went live with the old code;
// the new code came after them with an earlier sequence and was passed over.
func TestDeploy_newVariablesDoNotShutOutCodeThatIsBeingBuilt(t *testing.T) {
	b := newBench(t)
	b.Workers = &started{}
	first, err := b.Deploy(t.Context(), b.built())
	require.NoError(t, err)
	building := b.builtOf("new code")

	require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, models.Environment{"KEY": {Value: "new"}}, nil))
	settings := b.deployment(nil, nil)
	settings.Deployment.FromReleaseID = first.ReleaseID
	settings = b.build(b.sync(settings))
	second, err := b.Deploy(t.Context(), settings)
	require.NoError(t, err)
	require.False(t, second.Superseded)

	late := b.deployment(nil, nil)
	late.Deployment.FromReleaseID = second.ReleaseID
	late = b.build(b.sync(late))

	third, err := b.Deploy(t.Context(), building)
	require.NoError(t, err)
	require.False(t, third.Superseded)
	environment, err := b.Variables.Environment(t.Context(), third.ReleaseID)
	require.NoError(t, err)
	require.Equal(t, "new", environment["KEY"].Value)

	// What was made of a release that is live no more stays back.
	again, err := b.Deploy(t.Context(), late)
	require.NoError(t, err)
	require.True(t, again.Superseded)
}

// Of two changes of settings made one after the other, the second was made of the
// release that the first one replaced, and never went live.
func TestDeploy_twoChangesOfVariablesAtOnceBothGoLive(t *testing.T) {
	b := newBench(t)
	b.Workers = &started{}
	first, err := b.Deploy(t.Context(), b.built())
	require.NoError(t, err)
	change := func(name string) models.StepInput {
		require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, models.Environment{name: {Value: "new"}}, nil))
		in := b.deployment(nil, nil)
		in.Deployment.FromReleaseID = first.ReleaseID
		return b.build(b.sync(in))
	}
	one, two, three := change("ONE"), change("TWO"), change("THREE")
	for _, in := range []models.StepInput{one, three} {
		result, err := b.Deploy(t.Context(), in)
		require.NoError(t, err)
		require.False(t, result.Superseded)
	}
	late, err := b.Deploy(t.Context(), two)
	require.NoError(t, err)
	require.True(t, late.Superseded, "what is live has its variables and later ones")
	project, err := b.Store.Project(t.Context(), b.id.OrganizationID, b.project.ID)
	require.NoError(t, err)
	environment, err := b.Variables.Environment(t.Context(), project.LiveReleaseID)
	require.NoError(t, err)
	require.Len(t, environment, 3)
}

// New code that had its variables read before they were changed, and went live
// before the release that was to bring the change, kept the change from going live.
func TestDeploy_variablesChangedWhileNewCodeGoesLiveAreBroughtAfterIt(t *testing.T) {
	b := newBench(t)
	b.Workers = &started{}
	first, err := b.Deploy(t.Context(), b.built())
	require.NoError(t, err)
	code := b.builtOf("new code")
	settings := b.deployment(nil, nil)
	settings.Deployment.FromReleaseID = first.ReleaseID
	settings = b.build(b.sync(settings))
	newest, err := b.Deploy(t.Context(), code)
	require.NoError(t, err)
	for range 2 { // the step may run twice
		result, err := b.Deploy(t.Context(), settings)
		require.NoError(t, err)
		require.True(t, result.Superseded)
	}
	require.Len(t, b.madeOf(newest.ReleaseID), 1)
}

// Code that was parked after its release had been written came live with the
// variables of then, over a release with newer ones.
func TestDeploy_codeThatGoesLiveLateIsFollowedByTheVariablesOfNow(t *testing.T) {
	b := newBench(t)
	workers := &started{}
	b.Workers = workers
	set := func(value string) {
		require.NoError(t, b.Variables.Set(t.Context(), b.project.ID, models.Environment{"KEY": {Value: value, Secret: true}}, nil))
	}
	set("old")
	current, err := b.Deploy(t.Context(), b.built())
	require.NoError(t, err)
	require.Empty(t, b.madeOf(current.ReleaseID), "nothing changed meanwhile")

	code := b.builtOf("new code")
	workers.err = models.Errorf(models.CodeSandbox, "no")
	_, err = b.Deploy(t.Context(), code)
	requireCode(t, models.CodeSandbox, err)
	set("new")
	workers.err = nil
	var late models.DeployResult
	for range 2 { // the step may run twice
		late, err = b.Deploy(t.Context(), code)
		require.NoError(t, err)
		require.False(t, late.Superseded)
	}
	queued := b.madeOf(late.ReleaseID)
	require.Len(t, queued, 1)

	settings := b.build(b.sync(models.StepInput{Deployment: queued[0], WorkerName: code.WorkerName}))
	last, err := b.Deploy(t.Context(), settings)
	require.NoError(t, err)
	require.False(t, last.Superseded)
	environment, err := b.Variables.Environment(t.Context(), last.ReleaseID)
	require.NoError(t, err)
	require.Equal(t, "new", environment["KEY"].Value)
	require.Empty(t, b.madeOf(last.ReleaseID))
}

// madeOf lists the deployments that make a new release of one with other settings.
func (b *bench) madeOf(releaseID string) (made []models.DeploymentInput) {
	b.t.Helper()
	rows, err := b.Store.Deployments(b.t.Context(), models.DeploymentFilter{OrganizationID: b.id.OrganizationID, Limit: 100})
	require.NoError(b.t, err)
	for _, row := range rows {
		var in models.DeploymentInput
		require.NoError(b.t, json.Unmarshal(row.Input, &in))
		if in.FromReleaseID == releaseID {
			in.Sequence = row.Sequence
			made = append(made, in)
		}
	}
	return made
}
