package activities

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/sandbox/oci"
)

// Before TestMain: this test program is also what runs in its sandboxes.
func init() { sandbox.RunInit() }

// newBuilder is a bench whose builds run in real sandboxes. Without runc the
// test is skipped, except in CI, where that is a failure.
func newBuilder(t *testing.T) *bench {
	t.Helper()
	if _, err := exec.LookPath("runc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("runc is not installed: apt-get install runc")
		}
		t.Skip("runc is not installed: apt-get install runc")
	}
	b := newBench(t)
	provider, err := oci.New(oci.Options{Runtime: "runc", StateDir: t.TempDir(), Log: b.Log})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := provider.Sweep(context.Background(), func(string) bool { return false })
		require.NoError(t, err)
		require.NoError(t, provider.Close())
	})
	b.Sandboxes = provider
	b.Limits = sandbox.Limits{MemoryBytes: 512 << 20, CPUs: 2, PIDs: 256, DiskBytes: 64 << 20}
	b.UIDBase = 0x6800_0000 + uint32(os.Getpid()%1024)*sandbox.MinUIDCount
	b.snapshots, err = openSnapshots(t.TempDir(), 1<<30)
	require.NoError(t, err)
	return b
}

// buildIn runs the step as a worker would, for its attempt.
func (b *bench) buildIn(in models.StepInput) (models.BuildResult, models.FileSet) {
	b.t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(b.Build)
	value, err := env.ExecuteActivity(b.Build, in)
	require.NoError(b.t, err)
	var result models.BuildResult
	require.NoError(b.t, value.Get(&result))
	set, err := b.readFileSet(b.t.Context(), b.id.OrganizationID, result.OutputDigest)
	require.NoError(b.t, err)
	return result, set
}

// failsIn is how the build of these files fails, and its log.
func (b *bench) failsIn(files map[string]string) (*models.Diagnosis, string) {
	b.t.Helper()
	in := b.sync(b.deployment(files, nil))
	w, err := b.openWorkspace(b.t.Context(), in, true)
	require.NoError(b.t, err)
	defer b.destroySandbox(b.t.Context(), in.Deployment.DeploymentID)
	log, err := b.openLog(b.t.Context(), in.Deployment.DeploymentID)
	require.NoError(b.t, err)
	_, err = b.output(b.t.Context(), b.id.OrganizationID, w, log)
	requireCode(b.t, models.CodeBuildFailed, err)
	require.NoError(b.t, log.Close())
	var coded *models.Error
	require.ErrorAs(b.t, err, &coded)
	diagnosis, ok := coded.Details.(*models.Diagnosis)
	require.True(b.t, ok, "%T", coded.Details)
	return diagnosis, coded.Message
}

const helloWorker = `export default { fetch(request: Request, env: Env) { return new Response(text + env.GREETING) } }`

func TestBuild_workerIsBundledInTheSandbox(t *testing.T) {
	b := newBuilder(t)
	in := b.sync(b.deployment(map[string]string{
		"wrangler.jsonc": `{ "main": "src/index.ts", "compatibility_date": "2026-10-01", "vars": { "GREETING": "hi" },
			"routes": ["example.com/*"], "assets": { "directory": "public", "binding": "ASSETS" }, "kv_namespaces": [{ "binding": "KV", "id": "store" }] }`,
		"src/index.ts": "import text from './a.txt'; interface Env { GREETING: string }\n" + helloWorker, "src/a.txt": "text",
		"public/index.html": "<h1>hi</h1>", "public/.dev.vars": "SECRET=1", "slipway.json": `{ "assets": { "html_handling": "none" } }`,
	}, nil))
	require.True(t, in.Sync.NeedsSandbox)
	result, set := b.buildIn(in)
	require.Regexp(t, `^Output: 1 files, 11 B; worker with 2 modules, \d+ B\.$`, result.Summary)
	require.Equal(t, []string{"index.html"}, b.paths(result.OutputDigest))
	require.Equal(t, "none", set.Serve.NotFoundHandling, "as wrangler has it by default")
	require.Equal(t, "none", set.Serve.HTMLHandling, "slipway.json comes first")
	require.Equal(t, "2026-10-01", set.Worker.CompatibilityDate)
	require.Equal(t, []models.KVBinding{{Binding: "KV", Namespace: "store"}}, set.Worker.KV)
	require.JSONEq(t, `"hi"`, string(set.Worker.Vars["GREETING"]))
	require.Equal(t, "ASSETS", set.Worker.Assets.Binding)
	for _, digest := range set.Worker.Digests() {
		data, err := blob.ReadAll(t.Context(), b.Blobs, blob.Key{Scope: b.id.OrganizationID, Digest: digest}, 1<<20)
		require.NoError(t, err)
		require.NotEmpty(t, data)
	}
	require.NotEmpty(t, set.Worker.Modules[0].SourceMap)

	again := b.sync(b.deployment(nil, nil))
	require.Equal(t, result.OutputDigest, again.Sync.CachedOutput)
	require.NoError(t, b.Blobs.Delete(t.Context(), blob.Key{Scope: b.id.OrganizationID, Digest: set.Worker.Modules[1].Digest}))
	again = b.sync(b.deployment(nil, nil))
	require.Empty(t, again.Sync.CachedOutput, "an output that lost a module is not whole")
}

func TestBuild_settingsWithAssetsAloneAreASiteOfFiles(t *testing.T) {
	b := newBuilder(t)
	in := b.sync(b.deployment(map[string]string{
		"package.json":   `{ "scripts": { "build": "a tool" } }`,
		"slipway.json":   `{ "installCommand": "", "buildCommand": "mkdir out && echo hi > out/index.html && ln -s /etc .slipway/worker && ln -s / .slipway/assets" }`,
		"wrangler.jsonc": `{ "assets": { "directory": "out", "not_found_handling": "single-page-application" } }`,
	}, nil))
	result, set := b.buildIn(in)
	require.Nil(t, set.Worker)
	require.Equal(t, []string{"index.html"}, b.paths(result.OutputDigest), "what the build left in our folders is gone")
	require.Equal(t, "single-page-application", set.Serve.NotFoundHandling)
}

func TestBuild_plainFilesKeepOutWhatAssetsignoreNames(t *testing.T) {
	b := newBench(t)
	in := b.build(b.sync(b.deployment(map[string]string{
		"index.html": "<h1>hi</h1>", "drafts/a.html": "a", "notes.md": "n", ".assetsignore": "drafts/\n*.md\n",
	}, nil)))
	require.Equal(t, []string{"index.html"}, b.paths(in.Build.OutputDigest))
}

func TestBuild_brokenWorkerFailsWithItsPlace(t *testing.T) {
	b := newBuilder(t)
	diagnosis, message := b.failsIn(map[string]string{"wrangler.toml": "main = 'i.ts'", "i.ts": "import { x } from 'left-pad';\nexport default { fetch: () => x }"})
	require.Equal(t, "bundle", diagnosis.Step)
	require.Equal(t, "module_not_found", diagnosis.Cause)
	require.Contains(t, diagnosis.Tail, `i.ts:1:19: error: Could not resolve "left-pad"`)
	require.Contains(t, message, "The worker cannot be bundled: esbuild found 1 error.")

	diagnosis, message = b.failsIn(map[string]string{"wrangler.toml": "main = 'i.ts'", "i.ts": "addEventListener('fetch', (e) => e.respondWith(new Response('')))"})
	require.Equal(t, "unsupported_worker", diagnosis.Cause)
	require.Contains(t, message, "service worker syntax")
	require.Equal(t, message, diagnosis.Advice)

	diagnosis, _ = b.failsIn(map[string]string{"wrangler.toml": "main = 'i.ts'\n[build]\ncommand = 'echo no such tool >&2; exit 7'", "i.ts": "export default {}"})
	require.Equal(t, "bundle_failed", diagnosis.Cause)
	require.Contains(t, diagnosis.Tail, "no such tool")
}

func TestDeploy_namesTheProjectsOwnNamespaces(t *testing.T) {
	b := newBench(t)
	b.Workers = &started{}
	in := b.built()
	set, err := b.readFileSet(t.Context(), b.id.OrganizationID, in.Build.OutputDigest)
	require.NoError(t, err)
	set.Worker.KV = []models.KVBinding{{Binding: "SESSION"}, {Binding: "SHARED", Namespace: "shared"}}
	in.Build.OutputDigest, err = b.writeFileSet(t.Context(), b.id.OrganizationID, set)
	require.NoError(t, err)
	_, err = b.Deploy(t.Context(), in)
	require.NoError(t, err)
	route, err := b.Store.Route(t.Context(), models.WorkerRouteKey("site"))
	require.NoError(t, err)
	release, err := b.Store.Release(t.Context(), b.project.ID, route.ReleaseID)
	require.NoError(t, err)
	data, err := blob.ReadAll(t.Context(), b.Blobs, blob.Key{Scope: b.id.OrganizationID, Digest: release.WorkerDigest}, 1<<20)
	require.NoError(t, err)
	worker, err := models.DecodeWorkerBundle(data)
	require.NoError(t, err)
	require.Equal(t, []models.KVBinding{{Binding: "SESSION", Namespace: b.project.ID + "-SESSION"}, {Binding: "SHARED", Namespace: "shared"}}, worker.KV)
}
