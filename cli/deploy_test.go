package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// site makes a folder named site with two files that have one content.
func site(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "My Site!")
	writeFile(t, filepath.Join(folder, "index.html"), "<h1>hello</h1>")
	writeFile(t, filepath.Join(folder, "copy.html"), "<h1>hello</h1>")
	writeFile(t, filepath.Join(folder, "bin", "run"), "#!/bin/sh\n")
	require.NoError(t, os.Chmod(filepath.Join(folder, "bin", "run"), 0o755))
	writeFile(t, filepath.Join(folder, "node_modules", "x", "index.js"), "x")
	writeFile(t, filepath.Join(folder, ".gitignore"), "*.log\n")
	writeFile(t, filepath.Join(folder, "debug.log"), "x")
	return folder
}

func TestDeploy_sendsTheFolderAndPrintsTheURL(t *testing.T) {
	f := newFakeAPI(t)
	f.statuses = []models.Status{statusAt(1, models.StepValidate), statusAt(2, models.StepBuild), succeeded(3)}
	f.lines = []string{"npm ci", "built in 2s"}
	folder := site(t)

	got := f.run("deploy", folder)
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, "http://site.localhost:3005/\n", got.out)
	require.Contains(t, got.err, "Created project my-site: 4 files, 44 B\n")
	require.Contains(t, got.err, "Uploaded 3 files, 30 B\n")
	require.Contains(t, got.err, "[build] started\n")
	// Steps and log lines come from two places: their order is each one's own.
	require.Regexp(t, `(?s)  \| npm ci\n.*  \| built in 2s\n`, got.err)
	require.Contains(t, got.err, "[cleanup] completed in 0.5s\n")
	require.NotContains(t, got.err, "\x1b")

	require.Len(t, f.sent(), 1)
	sent := f.sent()[0]
	require.NotEmpty(t, sent.key)
	require.Equal(t, fakeOrg, sent.body.OrgID)
	require.Equal(t, fakeUser, sent.body.UserID)
	modes := map[string]uint32{}
	for _, file := range sent.body.Files {
		modes[file.Path] = file.Mode
		require.Contains(t, f.blobs, file.SHA256)
	}
	require.Equal(t, map[string]uint32{".gitignore": 0o644, "bin/run": 0o755, "copy.html": 0o644, "index.html": 0o644}, modes)

	link, ok, err := readLink(folder)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, Link{ProjectID: f.projects[0].ID, OrganizationID: fakeOrg, WorkerName: "my-site"}, link)
	ignore, err := os.ReadFile(filepath.Join(folder, ".slipway", ".gitignore"))
	require.NoError(t, err)
	require.Equal(t, "*\n", string(ignore))
}

func TestDeploy_ofTheSameFolderSendsOnlyWhatIsNew(t *testing.T) {
	f := newFakeAPI(t)
	f.statuses = []models.Status{succeeded(1)}
	folder := site(t)
	require.Equal(t, ExitOK, f.run("deploy", folder).code)
	writeFile(t, filepath.Join(folder, "new.html"), "new")
	f.takeRequests()
	require.Equal(t, ExitOK, f.run("deploy", folder).code)
	require.Len(t, f.projects, 1)
	puts := 0
	for _, r := range f.takeRequests() {
		if len(r) > 3 && r[:3] == "PUT" {
			puts++
		}
	}
	require.Equal(t, 1, puts)
	sent := f.sent()
	require.NotEqual(t, sent[0].key, sent[1].key)
	require.Len(t, sent[1].body.Files, 5)
}

func TestDeploy_repeatsARequestWithItsKeyWhenTheAnswerIsLost(t *testing.T) {
	f := newFakeAPI(t)
	f.statuses = []models.Status{succeeded(1)}
	lost := 0
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/deploy" || lost == 2 {
			return false
		}
		lost++
		if lost == 1 {
			f.deploy(discard{w.Header()}, r)
			panic(http.ErrAbortHandler)
		}
		refuse(w, models.CodeDatabase, "The database is away.", nil)
		return true
	}
	got := f.run("deploy", site(t))
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, 3, f.asks("POST /deploy"))
	sent := f.sent()
	require.Len(t, sent, 2)
	require.Equal(t, sent[0], sent[1])
}

// discard is an answer nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestDeploy_failsWithTheDiagnosis(t *testing.T) {
	f := newFakeAPI(t)
	s := statusAt(4, models.StepBuild)
	s.Status, s.Outcome, s.Error, s.ErrorCode = models.StatusFailed, models.OutcomeRejected, "The build failed. Add a build script.", models.CodeBuildFailed
	s.Steps.Build.Status, s.Steps.Build.Error = models.StepFailed, "The build failed. Add a build script."
	s.Diagnosis = &models.Diagnosis{Step: "build", Command: "npm run build", ExitCode: 1, Cause: "missing_script", Advice: "Add a build script.", Tail: []string{"npm error \x1b[31mMissing script\x1b]0;owned\x07", "x"}}
	f.statuses = []models.Status{s}
	got := f.run("deploy", site(t))
	require.Equal(t, ExitFailure, got.code)
	require.Empty(t, got.out)
	require.Contains(t, got.err, "[build] failed: The build failed.\n")
	require.Contains(t, got.err, "The deployment failed (at build).\n  The build failed.\n  command  npm run build (exit code 1)\n  cause    missing_script\n  advice   Add a build script.\n")
	require.Contains(t, got.err, "  │ npm error Missing script\n  │ x\n")

	got = f.run("deploy", site(t), "--name", "my-site", "--json")
	require.Equal(t, ExitFailure, got.code)
	require.Empty(t, got.err)
	var document models.Status
	require.NoError(t, json.Unmarshal([]byte(got.out), &document))
	require.Equal(t, "Add a build script.", document.Diagnosis.Advice)
}

func TestDeploy_ofAParkedDeploymentSaysHowToGoOn(t *testing.T) {
	f := newFakeAPI(t)
	s := statusAt(4, models.StepDeploy)
	s.Status, s.Outcome, s.Error = models.StatusFailed, models.OutcomeDeadLetter, "The blob store does not answer."
	f.statuses = []models.Status{s}
	got := f.run("deploy", site(t))
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "slipway retry "+fakeDep)
}

func TestDeploy_interruptedLetsTheDeploymentGoOn(t *testing.T) {
	f := newFakeAPI(t)
	f.statuses = []models.Status{statusAt(1, models.StepBuild)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/deploy-status" {
			cancel()
		}
		return false
	}
	f.setEnvironment()
	got := runProgram(ctx, "deploy", site(t))
	require.Equal(t, ExitInterrupted, got.code)
	require.Contains(t, got.err, "goes on without this terminal.\n  slipway logs -f "+fakeDep)
	require.Zero(t, f.asks("POST /deployments/"+fakeDep+"/cancel"))

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	got = runProgram(ctx, "deploy", site(t), "--name", "my-site", "--json")
	require.Equal(t, ExitInterrupted, got.code)
	require.Empty(t, got.err)
	var document struct {
		Error   string
		Details struct{ DeploymentID string }
	}
	require.NoError(t, json.Unmarshal([]byte(got.out), &document))
	require.Equal(t, "INTERRUPTED", document.Error)
	require.Equal(t, fakeDep, document.Details.DeploymentID)
}

func TestDeploy_detachedPrintsTheID(t *testing.T) {
	f := newFakeAPI(t)
	got := f.run("deploy", site(t), "--detach", "--priority", "1", "--domain", "www.example.com")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, fakeDep+"\n", got.out)
	require.Zero(t, f.asks("GET /deploy-status"))
	require.Equal(t, "www.example.com", f.sent()[0].body.CustomDomain)
	require.Equal(t, 1, f.sent()[0].body.Priority)
}

func TestDeploy_doesNotReplaceAnotherSiteOfTheSameFolderName(t *testing.T) {
	f := newFakeAPI(t)
	f.statuses = []models.Status{succeeded(1)}
	require.Equal(t, ExitOK, f.run("deploy", site(t)).code)
	other := site(t)
	got := f.run("deploy", other)
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "slipway deploy --name my-site")
	require.Len(t, f.sent(), 1)

	got = f.run("deploy", other, "--name", "My-Site")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, f.projects[0].ID, f.sent()[1].body.ProjectID)
	require.Len(t, f.projects, 1)
}

func TestDeploy_withANameOfItsOwnChangesTheFoldersProject(t *testing.T) {
	f := newFakeAPI(t)
	f.statuses = []models.Status{succeeded(1)}
	folder := site(t)
	require.Equal(t, ExitOK, f.run("deploy", folder).code)
	require.Equal(t, ExitOK, f.run("deploy", folder, "--name", "staging").code)
	require.Equal(t, ExitOK, f.run("deploy", folder).code)
	require.Len(t, f.projects, 2)
	require.Equal(t, f.projects[1].ID, f.sent()[2].body.ProjectID)
}

func TestDeploy_refusesBeforeAnythingIsSent(t *testing.T) {
	f := newFakeAPI(t)
	folder := site(t)
	cases := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"reserved name", []string{folder, "--name", "www"}, ExitUsage, "reserved"},
		{"bad name", []string{folder, "--name", "a_b"}, ExitUsage, "letters, numbers, and hyphens"},
		{"priority", []string{folder, "--priority", "9"}, ExitUsage, "--priority is 1 to 5"},
		{"no folder", []string{folder + "x"}, ExitUsage, "there is no folder"},
		{"empty folder", []string{t.TempDir()}, ExitFailure, "holds no files"},
		{"two folders", []string{folder, folder}, ExitUsage, "does not know what to do with"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := f.run(append([]string{"deploy"}, c.args...)...)
			require.Equal(t, c.code, got.code)
			require.Contains(t, got.err, c.says)
		})
	}
	require.Empty(t, f.takeRequests())

	t.Setenv("SLIPWAY_MAX_FILES", "2")
	got := f.run("deploy", folder)
	require.Contains(t, got.err, "more than 2 files")
	t.Setenv("SLIPWAY_MAX_FILES", "two")
	require.Equal(t, ExitUsage, f.run("deploy", folder).code)
	require.Empty(t, f.takeRequests())
}

func TestDeploy_ofAFolderOfAnotherInstallationSaysSo(t *testing.T) {
	f := newFakeAPI(t)
	folder := site(t)
	require.NoError(t, writeLink(folder, Link{ProjectID: "prj_x", OrganizationID: "org_other", WorkerName: "site"}))
	got := f.run("deploy", folder)
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "organization org_other")
	require.Contains(t, got.err, "project.json")
}

func TestFollow_bearsWithAnAPIThatRestarts(t *testing.T) {
	f := newFakeAPI(t)
	f.statuses = []models.Status{statusAt(1, models.StepBuild), succeeded(2)}
	away := 0
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/deploy-status" && away < 2*maxAttempts {
			away++
			http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
			return true
		}
		return false
	}
	follower := newFollower(f.client(), silentView{}, fakeDep)
	follower.pollEvery = time.Millisecond
	s, _, err := follower.run(t.Context())
	require.NoError(t, err)
	require.Equal(t, models.OutcomeSucceeded, s.Outcome)

	away = -1 << 30
	follower.patience = 10 * time.Millisecond
	_, _, err = follower.run(t.Context())
	require.ErrorContains(t, err, "502 Bad Gateway")
}

func TestRetry_isNotFooledByTheStateBeforeIt(t *testing.T) {
	f := newFakeAPI(t)
	parked := statusAt(7, models.StepDeploy)
	parked.Status, parked.Outcome = models.StatusFailed, models.OutcomeDeadLetter
	f.statuses = []models.Status{parked, parked, parked, statusAt(8, models.StepDeploy), succeeded(9)}
	f.lines = []string{"one", "two"}
	got := f.run("retry", fakeDep)
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, "http://site.localhost:3005/\n", got.out)
	require.Equal(t, []string{"2"}, f.resumed, "lines of before the retry are not shown again")
}
