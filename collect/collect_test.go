package collect_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

var long = strings.Repeat("a text that compresses well, and so has variants. ", 200)

func TestCollect_deletesWhatADeletedProjectLeavesAndNothingElse(t *testing.T) {
	s := newScene(t)
	other := s.organization("other")
	stays := s.project("stays")
	s.deploy(stays, map[string]string{"index.html": "shared", "style.css": long})
	s.deploy(stays, map[string]string{"index.html": "newer", "style.css": long})
	s.settle() // requests that became sources
	want := s.objects()

	goes := s.project("goes")
	files := map[string]string{"index.html": "shared", "goes.css": long + "goes"}
	s.deploy(goes, files)
	other.deploy(other.project("theirs"), files)
	s.settle()
	other.settle()
	theirs, all := other.objects(), s.objects()
	require.Subset(t, all, want)
	require.Greater(t, len(all), len(want))

	_, err := s.store.DeleteProject(t.Context(), s.id.OrganizationID, goes.ID, nil)
	require.NoError(t, err)
	first := s.look()
	assert.Positive(t, first.Condemned)
	assert.Zero(t, first.Deleted)
	again := s.look()
	assert.Zero(t, again.Condemned, "condemned once")
	assert.Zero(t, again.Deleted, "the grace is not over")
	assert.Equal(t, all, s.objects())

	s.settle()
	other.settle()
	assert.Equal(t, want, s.objects())
	assert.Equal(t, theirs, other.objects())
	assert.Zero(t, s.count("SELECT count(*) FROM condemned_blobs"))
	s.goLive(s.build(s.sync(s.request(stays, map[string]string{"more.html": "more"}, false))))
}

func TestCollect_keepsWhatAParkedDeploymentNeeds(t *testing.T) {
	s := newScene(t)
	project := s.project("site")
	s.deploy(project, map[string]string{"index.html": "live"})

	requested := s.request(project, map[string]string{"index.html": "requested", "a.css": long + "requested"}, true)
	synced := s.sync(s.request(project, map[string]string{"index.html": "synced", "b.css": long + "synced"}, true))
	built := s.build(s.sync(s.request(project, map[string]string{"index.html": "built", "c.css": long + "built"}, true)))
	// Another build of the same source came to another result, which is the one that
	// the cache remembers.
	s.exec("UPDATE build_cache SET output_digest = $2 WHERE output_digest = $1", built.Build.OutputDigest, s.put(encode(t, models.FileSet{Version: 1})))
	s.exec("UPDATE deployments SET outcome = 'dead_letter' WHERE finished_at IS NULL")
	s.settle()

	// In the order in which they come after each other.
	s.end(s.goLive(s.build(s.sync(requested))), models.OutcomeSucceeded)
	s.end(s.goLive(s.build(synced)), models.OutcomeSucceeded)
	s.end(s.goLive(built), models.OutcomeSucceeded)
	s.settle()
	for _, content := range []string{"live", "requested", "synced", "built", long + "built"} {
		assert.True(t, s.there(content), "of a release: %.20s", content)
	}
}

func TestCollect_keepsAllThatAReleaseIsMadeOf(t *testing.T) {
	s := newScene(t)
	project := s.project("site")
	request := models.FileSet{Replace: true, HistoryDigest: s.put(`[{"role":"user","content":"make a site"}]`)}
	request.Files = []models.File{{Path: "index.html", Digest: s.put("source")}}
	in := s.build(s.sync(s.requestOf(project, request)))
	output := models.FileSet{Version: 1, Files: []models.File{{Path: "index.html", Digest: s.put(long), Size: int64(len(long))}}, Worker: &models.WorkerBundle{
		Modules: []models.WorkerModule{{Name: "main.js", Type: models.ModuleES, Digest: s.put("module"), Size: 6, SourceMap: s.put("source map")}},
	}}
	data, err := output.Encode()
	require.NoError(t, err)
	in.Build.OutputDigest = s.put(string(data))
	require.NoError(t, s.store.KeepOutput(t.Context(), in.Deployment.DeploymentID, in.Build.OutputDigest))
	s.settle()
	in = s.goLive(in)
	s.end(in, models.OutcomeSucceeded)
	s.exec("DELETE FROM build_cache")
	for range 3 {
		s.settle()
		for _, content := range []string{`[{"role":"user","content":"make a site"}]`, "source", long, string(data), "module", "source map"} {
			require.True(t, s.there(content), "%.30s", content)
		}
		row, err := s.store.Deployment(t.Context(), in.Deployment.DeploymentID)
		require.NoError(t, err)
		release, err := s.store.Release(t.Context(), project.ID, in.Deploy.ReleaseID)
		require.NoError(t, err)
		manifest, err := blob.ReadAll(t.Context(), s.raw, blob.Key{Scope: s.id.OrganizationID, Digest: release.ManifestDigest}, 1<<20)
		require.NoError(t, err)
		parsed, err := assets.ParseManifest(manifest)
		require.NoError(t, err)
		missing, err := blob.Missing(t.Context(), s.raw, s.id.OrganizationID, append(parsed.Digests(), row.LogDigest, release.WorkerDigest))
		require.NoError(t, err)
		require.Empty(t, missing)
	}
}

func TestCollect_keepsTheSourceThatARetryStartsFrom(t *testing.T) {
	s := newScene(t)
	project := s.project("site")
	fail := func(in models.StepInput) { s.end(s.sync(in), models.OutcomeRejected) }
	fail(s.request(project, map[string]string{"index.html": "1"}, true))
	fail(s.request(project, map[string]string{"index.html": "2", "kept.css": "of 2"}, true))
	parked := s.request(project, map[string]string{"index.html": "3"}, false)
	fail(s.request(project, map[string]string{"index.html": "4"}, true))
	fail(s.request(project, map[string]string{"index.html": "5", "kept.css": "of 5"}, true))
	s.settle()
	assert.False(t, s.there("1"), "nobody can go back to it")
	require.True(t, s.there("of 2"), "the parked one starts from it")
	retried := s.sync(parked)
	assert.Equal(t, 2, retried.Sync.Files)
	s.end(retried, models.OutcomeRejected)
	s.settle()
	assert.False(t, s.there("of 2"))
	assert.False(t, s.there("4"))
	assert.True(t, s.there("5"), "the next one starts from it")
	s.goLive(s.build(s.sync(s.request(project, map[string]string{"a.html": "a"}, false))))
}

func TestCollect_anObjectThatSomebodyWasToldIsThereStays(t *testing.T) {
	s := newScene(t)
	project := s.project("site")
	s.put("uploaded")
	s.age()
	require.Equal(t, int64(1), s.look().Condemned)
	s.age()
	require.Empty(t, s.missing(blob.Digest([]byte("uploaded"))), "it would be deleted now")
	result := s.look()
	require.Zero(t, result.Deleted)
	require.Equal(t, int64(1), result.Condemned, "a new grace has begun")
	require.Empty(t, s.missing(blob.Digest([]byte("uploaded"))))
	in := s.request(project, map[string]string{"index.html": "uploaded"}, true)
	s.settle()
	s.goLive(s.build(s.sync(in)))
}

func TestCollect_anObjectThatIsPutAgainStays(t *testing.T) {
	s := newScene(t)
	s.put("again")
	s.age()
	s.look()
	s.age()
	s.put("again") // a store that has it does not renew its time
	s.look()
	require.True(t, s.there("again"))
}

func TestCollect_whatIsReferredToBetweenMarkAndSweepStays(t *testing.T) {
	s := newScene(t)
	project := s.project("site")
	s.put("wanted")
	s.put("unwanted")
	s.age()
	require.Equal(t, int64(2), s.look().Condemned)
	s.age()
	var in models.StepInput
	s.raw.onList = func(context.Context, blob.Key) error {
		s.raw.onList = nil
		in = s.request(project, map[string]string{"index.html": "wanted"}, true)
		return nil
	}
	require.Equal(t, int64(1), s.look().Deleted)
	require.False(t, s.there("unwanted"))
	s.settle()
	s.goLive(s.build(s.sync(in)))
}

// Rows that were read long ago must not decide about what was condemned since.
func TestCollect_aLookThatWasHeldUpDeletesNothingNew(t *testing.T) {
	s := newScene(t)
	project := s.project("site")
	s.put("wanted")
	s.age()
	s.look()
	s.age()
	var in models.StepInput
	s.raw.onList = func(context.Context, blob.Key) error {
		s.raw.onList = nil
		in = s.request(project, map[string]string{"index.html": "wanted"}, true)
		// By a look that was as late.
		return s.store.CondemnBlobs(t.Context(), s.id.OrganizationID, []string{blob.Digest([]byte("wanted"))})
	}
	require.Zero(t, s.look().Deleted)
	s.goLive(s.build(s.sync(in)))
}

func TestCollect_whoAsksWaitsForADeletionUnderWay(t *testing.T) {
	s := newScene(t)
	s.put("both")
	s.age()
	s.look()
	s.age()
	stored := make(chan error, 1)
	s.raw.onDelete = func(_ context.Context, key blob.Key) error {
		go func() {
			_, err := blob.PutBytes(t.Context(), s.blobs, key.Scope, []byte("both"))
			stored <- err
		}()
		// What is to be deleted is still there, and who asks is not told so.
		select {
		case err := <-stored:
			return errors.Join(err, errors.New("it did not wait"))
		case <-time.After(200 * time.Millisecond):
			return nil
		}
	}
	require.Equal(t, int64(1), s.look().Deleted)
	require.NoError(t, <-stored)
	require.True(t, s.there("both"))
}

func TestCollect_goesOnAfterACrash(t *testing.T) {
	for name, crash := range map[string]func(s *scene) func(context.Context, blob.Key) error{
		"before the deletion": func(s *scene) func(context.Context, blob.Key) error {
			return func(context.Context, blob.Key) error { return errors.New("killed") }
		},
		"after the deletion": func(s *scene) func(context.Context, blob.Key) error {
			return func(ctx context.Context, key blob.Key) error {
				return errors.Join(s.raw.Store.Delete(ctx, key), errors.New("killed"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			digest := s.put("one")
			s.age()
			s.look()
			s.age()
			s.raw.onDelete = crash(s)
			_, err := s.Collect(t.Context(), s.id.OrganizationID)
			require.ErrorContains(t, err, "killed")
			s.raw.onDelete = nil

			limited, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, s.store.HoldBlobs(limited, s.id.OrganizationID, []string{digest}), context.Canceled)
			require.Zero(t, s.look().Deleted, "it may be going on elsewhere")
			require.Equal(t, 1, s.count("SELECT count(*) FROM condemned_blobs WHERE deleting_at IS NOT NULL"))
			s.exec("UPDATE condemned_blobs SET deleting_at = deleting_at - interval '3 minutes'")
			s.look()
			require.False(t, s.there("one"))
			s.put("one")
			require.True(t, s.there("one"))
			require.Zero(t, s.count("SELECT count(*) FROM condemned_blobs"))
		})
	}
}

func TestCollect_deletesNothingWhenAListIsMissing(t *testing.T) {
	s := newScene(t)
	project := s.project("site")
	in := s.deploy(project, map[string]string{"index.html": "page"})
	s.put("unreferred")
	s.age()
	s.look()
	s.age()
	require.NoError(t, s.raw.Store.Delete(t.Context(), blob.Key{Scope: s.id.OrganizationID, Digest: in.Build.OutputDigest}))
	_, err := s.Collect(t.Context(), s.id.OrganizationID)
	require.ErrorContains(t, err, in.Build.OutputDigest)
	require.True(t, s.there("unreferred"))
}

func TestCollect_leavesAloneWhatIsNotOurs(t *testing.T) {
	s := newScene(t)
	digest := s.put("ours")
	folder := filepath.Join(s.root, s.id.OrganizationID)
	strange := []string{filepath.Join(folder, "README"), filepath.Join(folder, digest[:2], "lost+found"), filepath.Join(folder, digest[:2], digest+".bak")}
	for _, name := range strange {
		require.NoError(t, os.WriteFile(name, []byte("not ours"), 0o600))
	}
	unknown := filepath.Join(s.root, "org_unknown", digest[:2], digest)
	require.NoError(t, os.MkdirAll(filepath.Dir(unknown), 0o700))
	require.NoError(t, os.WriteFile(unknown, []byte("ours"), 0o600))
	s.settle()
	require.False(t, s.there("ours"))
	require.Equal(t, int64(len(strange)), s.look().Strangers)
	for _, name := range append(strange, unknown) {
		require.FileExists(t, name)
	}
}

func TestCollect_dryRunChangesNothing(t *testing.T) {
	s := newScene(t)
	project := s.project("goes")
	s.deploy(project, map[string]string{"index.html": "page"})
	_, err := s.store.DeleteProject(t.Context(), s.id.OrganizationID, project.ID, nil)
	require.NoError(t, err)
	before := s.objects()
	s.age()
	cached := s.count("SELECT count(*) FROM build_cache")
	result, err := s.collector(true).Collect(t.Context(), s.id.OrganizationID)
	require.NoError(t, err)
	assert.Equal(t, int64(len(before)), result.Unreferred)
	assert.Equal(t, before, s.objects())
	assert.Zero(t, s.count("SELECT count(*) FROM condemned_blobs"))
	assert.Equal(t, cached, s.count("SELECT count(*) FROM build_cache"))
}

// What workflows of an earlier release know of is in no row.
func TestCollect_waitsForDeploymentsFromBeforeTheUpgrade(t *testing.T) {
	s := newScene(t)
	in := s.build(s.sync(s.request(s.project("site"), map[string]string{"index.html": "page"}, true)))
	s.exec("UPDATE deployments SET output_digest = NULL")
	s.exec("DELETE FROM build_cache")
	s.age()
	require.True(t, s.look().Waiting)
	// The same of one that a worker of the earlier release built after the upgrade.
	s.exec(`UPDATE deployments SET output_digest = '', state = jsonb_set(state, '{steps,build,status}', '"completed"')`)
	require.True(t, s.look().Waiting)
	s.settle()
	s.end(s.goLive(in), models.OutcomeSucceeded)
	require.False(t, s.look().Waiting)
}

func TestCollect_touchesNothingOfOrganizationsItNeverKnew(t *testing.T) {
	s := newScene(t)
	key, err := blob.PutBytes(t.Context(), s.raw, "org_unknown", []byte("theirs"))
	require.NoError(t, err)
	s.age()
	_, err = s.Collect(t.Context(), "org_unknown")
	require.Equal(t, models.CodeOrganizationNotFound, models.CodeOf(err))
	require.Zero(t, s.count("SELECT count(*) FROM condemned_blobs"))
	_, err = s.raw.Stat(t.Context(), key)
	require.NoError(t, err)
}

func TestCollect_aTransferLeavesNothingBehindAndTakesAll(t *testing.T) {
	s := newScene(t)
	other := s.organization("other")
	project := s.project("site")
	files := map[string]string{"index.html": "page", "style.css": long}
	s.deploy(project, files)
	// A copy that was begun before, and given up.
	for _, content := range []string{"page", "never finished"} {
		other.put(content)
	}
	s.age()
	other.look()
	s.age()

	project, err := s.store.Project(t.Context(), s.id.OrganizationID, project.ID)
	require.NoError(t, err)
	transfer, err := s.store.TransferParts(t.Context(), project)
	require.NoError(t, err)
	transfer.To = other.id.OrganizationID
	missing, err := blob.Missing(t.Context(), s.blobs, transfer.To, s.objects())
	require.NoError(t, err)
	require.NotContains(t, missing, blob.Digest([]byte("page")))
	for _, digest := range missing {
		content, err := blob.ReadAll(t.Context(), s.blobs, blob.Key{Scope: transfer.From, Digest: digest}, 1<<20)
		require.NoError(t, err)
		_, err = blob.PutBytes(t.Context(), s.blobs, transfer.To, content)
		require.NoError(t, err)
	}
	other.look()
	require.False(t, other.there("never finished"))
	moved, err := s.store.TransferProject(t.Context(), transfer)
	require.NoError(t, err)
	s.settle()
	other.settle()
	require.Empty(t, s.objects())
	next := other.goLive(other.build(other.sync(other.request(moved, map[string]string{"more.html": "more"}, false))))
	require.Equal(t, 3, next.Sync.Files)
	_, err = other.steps.Deploy(t.Context(), next)
	require.NoError(t, err)
}

func TestCollect_deletesWhatADeletedOrganizationLeaves(t *testing.T) {
	s := newScene(t)
	s.put("left")
	require.NoError(t, s.store.DeleteOrganization(t.Context(), s.id.OrganizationID))
	for range 3 {
		s.age()
		require.NoError(t, s.Due(t.Context()))
	}
	require.Empty(t, s.objects())
	require.Zero(t, s.count("SELECT count(*) FROM blob_collections WHERE organization_id = $1", s.id.OrganizationID))
}

func TestDue_looksAtEachOrganizationOnceInItsTime(t *testing.T) {
	s := newScene(t)
	other := s.organization("other")
	s.put("mine")
	other.put("theirs")
	s.age()
	looked := map[string]int{}
	s.raw.onList = func(_ context.Context, key blob.Key) error {
		looked[key.Scope]++
		return nil
	}
	for range 3 {
		require.NoError(t, s.Due(t.Context()))
	}
	require.Equal(t, map[string]int{s.id.OrganizationID: 1, other.id.OrganizationID: 1}, looked)
	require.Equal(t, 2, s.count("SELECT count(*) FROM condemned_blobs"))
	s.age()
	require.NoError(t, s.Due(t.Context()))
	require.False(t, s.there("mine"))
	require.False(t, other.there("theirs"))
}

func TestDue_oneOrganizationsFailureIsNotTheOthers(t *testing.T) {
	s := newScene(t)
	other := s.organization("other")
	in := s.deploy(s.project("site"), map[string]string{"index.html": "page"})
	require.NoError(t, s.raw.Store.Delete(t.Context(), blob.Key{Scope: s.id.OrganizationID, Digest: in.Build.OutputDigest}))
	other.put("theirs")
	for range 2 {
		s.age()
		require.NoError(t, s.Due(t.Context()))
	}
	require.False(t, other.there("theirs"))
	require.Equal(t, 1, s.count("SELECT count(*) FROM blob_collections WHERE collected_at IS NULL AND leased_until > now()"))
}
