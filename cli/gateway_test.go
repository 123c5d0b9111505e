package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	temporal "go.temporal.io/sdk/client"
	temporallog "go.temporal.io/sdk/log"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/tools/leaks"
	"github.com/slipwayhq/slipway/variables"
	"github.com/slipwayhq/slipway/webhook"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(pgtest.Wrap(m)) }

// gateway is the real API on a real database and blob store. In the place of a
// workflow, outcome says how the deployments of the test go.
type gateway struct {
	t       *testing.T
	store   *models.Store
	blobs   blob.Store
	owner   models.Identity
	outcome models.Outcome
	work    sync.WaitGroup
	// delivers stands in for the workflow of a delivery.
	delivers func(models.Delivery) error
}

// newGateway starts one and makes it the API of whatever runs next.
func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, outcome: models.OutcomeSucceeded}
	var err error
	g.store, err = models.OpenStore(models.StoreOptions{URL: modelstest.URL(t)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.store.Close() })
	g.blobs, err = fs.New(fs.Options{Root: t.TempDir()})
	require.NoError(t, err)
	g.owner, err = g.store.EnsureOwner(t.Context(), "Org", "owner@example.com")
	require.NoError(t, err)
	_, token, err := g.store.CreateToken(t.Context(), models.NewToken{OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "test"})
	require.NoError(t, err)

	log := logrus.New()
	log.SetOutput(io.Discard)
	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	server, err := api.New(api.Options{
		Store: g.store, Blobs: g.blobs, Variables: variables.New(g.store, key), Temporal: unreachableTemporal(t), Log: log, Version: "test",
		Start: g.start, BuildQueue: "builds", ActiveTimeout: time.Minute, ParkTimeout: time.Hour,
		SiteURL: func(worker string) string { return "http://" + worker + ".slipway.test/" }, Domain: "slipway.test", CNAMETarget: "dispatcher.slipway.test",
		WebhookVault: webhook.NewVault(key), Deliver: func(_ context.Context, d models.Delivery) (string, error) { return "run-" + d.ID, g.delivers(d) },
		CheckDomain:  func(_ context.Context, d models.Domain) (string, error) { return "run-" + d.ID, nil },
		StartRollout: func(_ context.Context, r models.Rollout) (string, error) { return "run-" + r.ID, nil },
		CancelRollout: func(ctx context.Context, id string) error {
			return g.store.EndRollout(ctx, id, models.RolloutCanceled, "It was canceled.")
		},
	})
	require.NoError(t, err)
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	t.Cleanup(g.work.Wait)

	t.Setenv("SLIPWAY_API_URL", listening.URL)
	t.Setenv("SLIPWAY_TOKEN", token)
	t.Setenv("SLIPWAY_ORG_ID", g.owner.OrganizationID)
	t.Setenv("SLIPWAY_USER_ID", g.owner.UserID)
	return g
}

// unreachableTemporal is a client of a server that is not there: the gateway
// then answers from its rows.
func unreachableTemporal(t *testing.T) temporal.Client {
	t.Helper()
	// Port 1 is never handed out to another test, as one that was just let go of may be.
	c, err := temporal.NewLazyClient(temporal.Options{HostPort: "127.0.0.1:1", Logger: silentLog{}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

type silentLog struct{}

var _ temporallog.Logger = silentLog{}

func (silentLog) Debug(string, ...any) {}
func (silentLog) Info(string, ...any)  {}
func (silentLog) Warn(string, ...any)  {}
func (silentLog) Error(string, ...any) {}

func (g *gateway) start(_ context.Context, d models.Deployment) (string, error) {
	g.work.Add(1)
	go func() {
		defer g.work.Done()
		if err := g.carryOut(context.Background(), d); err != nil {
			g.t.Errorf("carry %s out: %v", d.ID, err)
		}
	}()
	return "run-" + d.ID, nil
}

// carryOut leaves behind what a workflow would: log lines, states, a release.
func (g *gateway) carryOut(ctx context.Context, d models.Deployment) error {
	s := statusAt(1, models.StepBuild)
	s.DeploymentID, s.Timestamp, s.Logs = d.ID, time.Now(), []string{}
	errs := []error{
		g.store.RecordStatus(ctx, s),
		g.store.AppendLog(ctx, models.LogChunk{DeploymentID: d.ID, FirstLine: 1, Lines: []string{"$ npm ci", "$ npm run build"}}),
	}
	final := succeeded(2)
	final.DeploymentID, final.Timestamp, final.Logs, final.Outcome = d.ID, time.Now(), []string{}, g.outcome
	final.Status = g.outcome.Status()
	if g.outcome == models.OutcomeSucceeded {
		release, err := g.store.WriteRelease(ctx, models.Release{
			ProjectID: d.ProjectID, OrganizationID: d.OrganizationID, DeploymentID: d.ID, Sequence: d.Sequence,
			ManifestDigest: d.SourceDigest, Framework: "static", Files: 2, Bytes: 2048,
		})
		checkErr := g.store.MarkChecked(ctx, release.ID)
		_, liveErr := g.store.GoLive(ctx, release)
		errs = append(errs, err, checkErr, liveErr)
		final.ReleaseID = release.ID
	}
	if g.outcome.Final() {
		key, err := blob.PutBytes(ctx, g.blobs, d.OrganizationID, []byte("$ npm ci\n$ npm run build\n"))
		errs = append(errs, err, g.store.CloseLog(ctx, d.ID, key.Digest))
	}
	return errors.Join(append(errs, g.store.RecordStatus(ctx, final))...)
}

func run(t *testing.T, args ...string) result { return runProgram(t.Context(), args...) }

func TestGateway_takesADeploymentFromTheClientToItsEnd(t *testing.T) {
	g := newGateway(t)
	folder := site(t)
	got := run(t, "deploy", folder, "--priority", "1")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, "http://site.localhost:3005/\n", got.out)
	require.Contains(t, got.err, "Created project my-site: 4 files, 44 B\nUploaded 3 files, 30 B\n")
	require.Contains(t, got.err, "  | $ npm ci\n  | $ npm run build\n")

	link, _, err := readLink(folder)
	require.NoError(t, err)
	rows, err := g.store.Deployments(t.Context(), models.DeploymentFilter{OrganizationID: g.owner.OrganizationID, ProjectID: link.ProjectID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, 1, rows[0].Priority)

	t.Chdir(folder)
	got = run(t, "status")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.out, "Status      completed (succeeded), 100%\n")
	got = run(t, "list")
	require.Contains(t, got.out, rows[0].ID+"  succeeded")
	got = run(t, "list", "--projects")
	require.Contains(t, got.out, "http://my-site.slipway.test/")
	for _, args := range [][]string{{"logs"}, {"logs", "-f"}, {"logs", rows[0].ID, "--dir", "/"}} {
		got = run(t, args...)
		require.Equal(t, "$ npm ci\n$ npm run build\n", got.out, "%v: %s", args, got.err)
	}
	require.Equal(t, "http://my-site.slipway.test/\n", run(t, "open").out)
}

func TestGateway_rollsBackAndForth(t *testing.T) {
	newGateway(t)
	folder := site(t)
	require.Equal(t, ExitOK, run(t, "deploy", folder).code)
	t.Chdir(folder)
	got := run(t, "rollback")
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "RELEASE_NOT_FOUND")

	writeFile(t, filepath.Join(folder, "new.html"), "new")
	require.Equal(t, ExitOK, run(t, "deploy").code)
	releases := func() []Release {
		var page Page[Release]
		require.NoError(t, json.Unmarshal([]byte(run(t, "releases", "--json").out), &page))
		return page.Items
	}
	before := releases()
	require.Len(t, before, 2)
	require.True(t, before[0].Live)
	got = run(t, "rollback")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, "http://my-site.slipway.test/\n", got.out)
	require.Contains(t, got.err, "Release "+before[1].ID+" is live instead of "+before[0].ID)
	require.True(t, releases()[1].Live)
	require.Equal(t, ExitOK, run(t, "rollback", before[0].ID).code)
	require.True(t, releases()[0].Live)
}

func TestGateway_showsWhatIsParkedAndRefusesWhatIsNot(t *testing.T) {
	g := newGateway(t)
	g.outcome = models.OutcomeDeadLetter
	folder := site(t)
	got := run(t, "deploy", folder)
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "is parked")
	got = run(t, "dead-letters")
	require.Contains(t, got.out, "dead_letter")
	got = run(t, "status", "--dir", folder)
	require.Equal(t, ExitFailure, got.code)

	g.outcome = models.OutcomeSucceeded
	require.Equal(t, ExitOK, run(t, "deploy", folder).code)
	var page Page[Deployment]
	require.NoError(t, json.Unmarshal([]byte(run(t, "list", "--dir", folder, "--json", "--limit", "1").out), &page))
	require.Equal(t, models.OutcomeSucceeded, page.Items[0].Outcome)
	for action, code := range map[string]string{"retry": "DEPLOYMENT_NOT_PARKED", "abandon": "DEPLOYMENT_NOT_PARKED", "cancel": "DEPLOYMENT_NOT_RUNNING"} {
		got = run(t, action, page.Items[0].ID)
		require.Equal(t, ExitFailure, got.code)
		require.Contains(t, got.err, code)
	}
}

func TestGateway_completesIDsInTheShell(t *testing.T) {
	g := newGateway(t)
	folder := site(t)
	require.Equal(t, ExitOK, run(t, "deploy", folder).code)
	require.Equal(t, ExitOK, run(t, "deploy", folder).code)
	t.Chdir(folder)
	candidates := func(command string) []string {
		got := run(t, "__complete", command, "")
		require.Equal(t, ExitOK, got.code)
		var ids []string
		for line := range strings.Lines(got.out) {
			if id, _, ok := strings.Cut(line, "\t"); ok {
				ids = append(ids, id)
			}
		}
		return ids
	}
	rows, err := g.store.Deployments(t.Context(), models.DeploymentFilter{OrganizationID: g.owner.OrganizationID, Limit: 10})
	require.NoError(t, err)
	// A gateway that takes longer than a press of the Tab key may cost offers nothing.
	offers := func(command string, want ...string) {
		got := candidates(command)
		for deadline := time.Now().Add(time.Minute); len(got) == 0 && time.Now().Before(deadline); {
			got = candidates(command)
		}
		require.Equal(t, want, got, command)
	}
	offers("status", rows[0].ID, rows[1].ID)
	offers("rollback", rows[1].ReleaseID)
	require.Empty(t, candidates("retry"))
	require.Empty(t, candidates("cancel"))
	t.Setenv("SLIPWAY_API_URL", "http://127.0.0.1:1")
	require.Empty(t, candidates("status"))
}

func TestGateway_refusalsReachThePerson(t *testing.T) {
	g := newGateway(t)
	folder := site(t)
	got := run(t, "deploy", folder, "--domain", "x.slipway.test")
	require.Equal(t, ExitFailure, got.code)
	require.NotContains(t, got.err, "expected JSON")

	t.Setenv("SLIPWAY_TOKEN", "slw_wrong")
	got = run(t, "list", "--projects")
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, nextStep(models.CodeUnauthorized))

	t.Setenv("SLIPWAY_USER_ID", "usr_other")
	_, token, err := g.store.CreateToken(t.Context(), models.NewToken{OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "again"})
	require.NoError(t, err)
	t.Setenv("SLIPWAY_TOKEN", token)
	got = run(t, "deploy", folder)
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "userId: is not the user that you act as")
}

func TestGateway_repeatedUploadsAndKeysAreHarmless(t *testing.T) {
	newGateway(t)
	ctx := t.Context()
	creds, err := loadCredentials(Commands(Options{})[0])
	require.NoError(t, err)
	client, err := NewClient(ClientOptions{APIURL: creds.APIURL, Token: creds.Token})
	require.NoError(t, err)
	t.Cleanup(client.http.CloseIdleConnections)
	source, err := Scan(ctx, site(t), DefaultLimits())
	require.NoError(t, err)
	defer source.Close()
	project, err := client.CreateProject(ctx, "Site", "site")
	require.NoError(t, err)

	_, err = client.Deploy(ctx, DeployRequest{ProjectID: project.ID, OrgID: creds.OrganizationID, UserID: creds.UserID, Files: source.References()}, "key")
	require.Error(t, err, "the files are not there yet")
	for range 2 {
		_, err = upload(ctx, client, source, func(uploadState) {})
		require.NoError(t, err)
		require.NoError(t, client.PutBlob(ctx, source.Files[0].Digest, mustRead(t, source, 0)))
	}
	err = client.PutBlob(ctx, source.Files[0].Digest, []byte("other"))
	require.True(t, hasCode(err, models.CodeDigestMismatch), "%v", err)

	request := DeployRequest{ProjectID: project.ID, OrgID: creds.OrganizationID, UserID: creds.UserID, Files: source.References()}
	first, err := client.Deploy(ctx, request, "key")
	require.NoError(t, err)
	second, err := client.Deploy(ctx, request, "key")
	require.NoError(t, err)
	require.Equal(t, first.DeploymentID, second.DeploymentID)
	request.Priority = 5
	_, err = client.Deploy(ctx, request, "key")
	require.True(t, hasCode(err, models.CodeIdempotency), "%v", err)
}

func mustRead(t *testing.T, source *Source, i int) []byte {
	t.Helper()
	content, err := source.Read(source.Files[i])
	require.NoError(t, err)
	return content
}
