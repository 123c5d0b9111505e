package collect_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/activities"
	"github.com/slipwayhq/slipway/blob"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/collect"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/tools/leaks"
	"github.com/slipwayhq/slipway/variables"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(pgtest.Wrap(m)) }

const grace = 24 * time.Hour

// scene is an installation with its steps, on a real database and store.
type scene struct {
	*collect.Collector
	t     *testing.T
	steps *activities.Activities
	store *models.Store
	conn  *pgx.Conn
	log   *logrus.Logger
	// raw is the store itself, blobs what everybody else has.
	raw   *hooked
	blobs blob.Store
	root  string
	url   string
	id    models.Identity
}

// hooked is a store in which things can happen at the worst moment.
type hooked struct {
	blob.Store
	onList, onDelete func(context.Context, blob.Key) error
}

func (h *hooked) List(ctx context.Context, scope, after string, fn func(blob.Object) error) error {
	if h.onList != nil {
		if err := h.onList(ctx, blob.Key{Scope: scope}); err != nil {
			return err
		}
	}
	return h.Store.List(ctx, scope, after, fn)
}

func (h *hooked) Delete(ctx context.Context, key blob.Key) error {
	if h.onDelete != nil {
		if err := h.onDelete(ctx, key); err != nil {
			return err
		}
	}
	return h.Store.Delete(ctx, key)
}

// started is where every worker starts.
type started struct{}

func (started) Smoke(context.Context, edge.Release) error { return nil }

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, url: modelstest.URL(t), root: t.TempDir(), log: logrus.New()}
	s.log.SetOutput(t.Output())
	var err error
	s.store, err = models.OpenStore(models.StoreOptions{URL: s.url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.store.Close()) })
	s.conn, err = pgx.Connect(t.Context(), s.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.conn.Close(context.Background()) })
	raw, err := blobfs.New(blobfs.Options{Root: s.root})
	require.NoError(t, err)
	s.raw = &hooked{Store: raw}
	s.blobs = blob.Hold(s.raw, s.store)
	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	s.steps, err = activities.New(activities.Options{Store: s.store, Blobs: s.blobs, Variables: variables.New(s.store, key), Log: s.log,
		ToolchainVersion: "1", Workers: started{}, SiteURL: func(w string) string { return "http://" + w + ".test/" }})
	require.NoError(t, err)
	s.id, err = s.store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	s.Collector = s.collector(false)
	return s
}

func (s *scene) collector(dryRun bool) *collect.Collector {
	return collect.New(collect.Options{Store: s.store, Blobs: s.raw, Every: 24 * time.Hour, Grace: grace, DryRun: dryRun, Log: s.log})
}

// organization makes another one, whose things the scene returned makes.
func (s *scene) organization(name string) *scene {
	s.t.Helper()
	other := *s
	var err error
	other.id, err = s.store.EnsureOwner(s.t.Context(), name, name+"@example.com")
	require.NoError(s.t, err)
	require.NotEqual(s.t, s.id.OrganizationID, other.id.OrganizationID)
	return &other
}

func (s *scene) project(worker string) models.Project {
	s.t.Helper()
	project, err := s.store.CreateProject(s.t.Context(), s.id.OrganizationID, worker, worker)
	require.NoError(s.t, err)
	return project
}

func (s *scene) put(content string) string {
	s.t.Helper()
	key, err := blob.PutBytes(s.t.Context(), s.blobs, s.id.OrganizationID, []byte(content))
	require.NoError(s.t, err)
	return key.Digest
}

func (s *scene) missing(digests ...string) []string {
	s.t.Helper()
	missing, err := blob.Missing(s.t.Context(), s.blobs, s.id.OrganizationID, digests)
	require.NoError(s.t, err)
	return missing
}

// there looks without holding.
func (s *scene) there(content string) bool {
	s.t.Helper()
	missing, err := blob.Missing(s.t.Context(), s.raw, s.id.OrganizationID, []string{blob.Digest([]byte(content))})
	require.NoError(s.t, err)
	return len(missing) == 0
}

// request writes a deployment as the gateway would.
func (s *scene) request(project models.Project, files map[string]string, replace bool) models.StepInput {
	s.t.Helper()
	set := models.FileSet{Replace: replace}
	for path, content := range files {
		set.Files = append(set.Files, models.File{Path: path, Digest: s.put(content), Size: int64(len(content))})
	}
	return s.requestOf(project, set)
}

func (s *scene) requestOf(project models.Project, set models.FileSet) models.StepInput {
	s.t.Helper()
	input := models.DeploymentInput{DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: project.ID, OrgID: s.id.OrganizationID, UserID: s.id.UserID}
	if len(set.Files) > 0 {
		data, err := set.Encode()
		require.NoError(s.t, err)
		input.RequestDigest = s.put(string(data))
	}
	row, _, err := s.store.CreateDeployment(s.t.Context(), models.NewDeployment{Input: input})
	require.NoError(s.t, err)
	input.Sequence = row.Sequence
	return models.StepInput{Deployment: input}
}

func (s *scene) sync(in models.StepInput) models.StepInput {
	s.t.Helper()
	result, err := s.steps.Sync(s.t.Context(), in)
	require.NoError(s.t, err)
	in.Sync = &result
	return in
}

func (s *scene) build(in models.StepInput) models.StepInput {
	s.t.Helper()
	result, err := s.steps.Build(s.t.Context(), in)
	require.NoError(s.t, err)
	in.Build = &result
	return in
}

func (s *scene) goLive(in models.StepInput) models.StepInput {
	s.t.Helper()
	result, err := s.steps.Deploy(s.t.Context(), in)
	require.NoError(s.t, err)
	in.Deploy = &result
	return in
}

// end closes a deployment's log and row.
func (s *scene) end(in models.StepInput, outcome models.Outcome) {
	s.t.Helper()
	in.Outcome = outcome
	require.NoError(s.t, s.steps.Cleanup(s.t.Context(), in))
	row, err := s.store.Deployment(s.t.Context(), in.Deployment.DeploymentID)
	require.NoError(s.t, err)
	status, err := row.RecordedStatus()
	require.NoError(s.t, err)
	status.Outcome, status.Status, status.Progress, status.Version = outcome, outcome.Status(), models.ProgressDone, status.Version+1
	status.Timestamp = time.Now().UTC()
	require.NoError(s.t, s.store.RecordStatus(s.t.Context(), status))
}

// deploy brings files live.
func (s *scene) deploy(project models.Project, files map[string]string) models.StepInput {
	s.t.Helper()
	in := s.goLive(s.build(s.sync(s.request(project, files, true))))
	s.end(in, models.OutcomeSucceeded)
	return in
}

func (s *scene) exec(statement string, args ...any) {
	s.t.Helper()
	_, err := s.conn.Exec(s.t.Context(), statement, args...)
	require.NoError(s.t, err)
}

func (s *scene) count(query string, args ...any) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.conn.QueryRow(s.t.Context(), query, args...).Scan(&n))
	return n
}

// age lets time pass: more than the grace.
func (s *scene) age() {
	s.t.Helper()
	for _, column := range []string{
		"condemned_blobs SET condemned_at = condemned_at", "condemned_blobs SET deleting_at = deleting_at", "build_cache SET created_at = created_at",
		"deployments SET created_at = created_at", "blob_collections SET collected_at = collected_at",
	} {
		s.exec("UPDATE " + column + " - interval '25 hours'")
	}
	require.NoError(s.t, filepath.WalkDir(s.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		then := info.ModTime().Add(-25 * time.Hour)
		return os.Chtimes(path, then, then)
	}))
}

func (s *scene) look() collect.Result {
	s.t.Helper()
	result, err := s.Collect(s.t.Context(), s.id.OrganizationID)
	require.NoError(s.t, err)
	return result
}

// settle looks, with time passing, until nothing is left to be done.
func (s *scene) settle() {
	s.t.Helper()
	for range 3 {
		s.age()
		s.look()
	}
}

// objects are the digests of all of the organization's.
func (s *scene) objects() []string {
	s.t.Helper()
	digests := []string{}
	require.NoError(s.t, s.raw.Store.List(s.t.Context(), s.id.OrganizationID, "", func(object blob.Object) error {
		digests = append(digests, object.Key.Digest)
		return nil
	}))
	return digests
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}
