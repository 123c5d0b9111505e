package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestClient_repeatsOnlyWhatMayBeRepeated(t *testing.T) {
	f := newFakeAPI(t)
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, models.CodeDatabase, "The database is away.", nil)
		return true
	}
	_, err := f.client().Project(t.Context(), "prj_x")
	require.True(t, hasCode(err, models.CodeDatabase))
	require.Equal(t, maxAttempts, f.asks("GET /projects/prj_x"))

	_, err = f.client().Act(t.Context(), fakeDep, ActionRetry)
	require.True(t, hasCode(err, models.CodeDatabase))
	require.Equal(t, 1, f.asks("POST /deployments/"+fakeDep+"/retry"))
}

func TestClient_doesNotRepeatWhatIsRefused(t *testing.T) {
	f := newFakeAPI(t)
	_, err := f.client().Project(t.Context(), "prj_x")
	require.True(t, hasCode(err, models.CodeProjectNotFound))
	require.Equal(t, 1, f.asks("GET /projects/prj_x"))
}

func TestClient_waitsWhenAskedToSlowDown(t *testing.T) {
	f := newFakeAPI(t)
	first := true
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		if !first {
			return false
		}
		first = false
		w.Header().Set("Retry-After", "0")
		refuse(w, models.CodeRateLimited, "Slower.", nil)
		return true
	}
	_, err := f.client().CreateProject(t.Context(), "a", "a")
	require.NoError(t, err)
}

func TestClient_saysWhenNobodyAnswers(t *testing.T) {
	clearEnvironment(t)
	const address = "http://127.0.0.1:1" // a port that nobody is given
	got := runProgram(t.Context(), "list", "--projects", "--api", address)
	require.Equal(t, ExitFailure, got.code)
	require.Equal(t, "Error: No Slipway answers at "+address+"; is 'slipway dev' running?\n", got.err)
}

func TestClient_saysWhenSomethingElseAnswers(t *testing.T) {
	f := newFakeAPI(t)
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "<html>not here</html>", http.StatusNotFound)
		return true
	}
	got := f.run("list", "--projects")
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "is that the address of the API?")
}

func TestErrors_showTheFieldsAndWhatToDo(t *testing.T) {
	f := newFakeAPI(t)
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Request-Id", "req1")
		refuse(w, models.CodeForbidden, "The token does not belong to them.", []map[string]string{{"field": "orgId", "in": "body", "message": "is not the organization of this token"}})
		return true
	}
	got := f.run("list", "--projects")
	require.Equal(t, ExitFailure, got.code)
	require.Equal(t, "Error: The token does not belong to them.\n  orgId: is not the organization of this token\n"+
		"  "+nextStep(models.CodeForbidden)+"\n  (FORBIDDEN, HTTP 403, request req1)\n", got.err)

	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, models.CodeValidation, "name: A name must not be empty.", []map[string]string{{"field": "name", "in": "body", "message": "A name must not be empty."}})
		return true
	}
	got = f.run("list", "--projects")
	require.Equal(t, "Error: name: A name must not be empty.\n  (VALIDATION_ERROR, HTTP 400)\n", got.err, "nothing is said twice")
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, models.CodeForbidden, "The token does not belong to them.", nil)
		return true
	}

	got = f.run("list", "--projects", "--json")
	require.Equal(t, ExitFailure, got.code)
	require.Empty(t, got.err)
	var document map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.out), &document))
	require.Equal(t, "FORBIDDEN", document["error"])
	require.Equal(t, false, document["success"])
}

func TestUsage_mistakesExitWithTwo(t *testing.T) {
	clearEnvironment(t)
	t.Chdir(t.TempDir())
	for _, args := range [][]string{
		{"statos"}, {"status", "--bogus"}, {"retry"}, {"list", "--limit", "0", "--projects"}, {"list"}, {"list", "--api", "nonsense"},
	} {
		got := runProgram(t.Context(), args...)
		require.Equal(t, ExitUsage, got.code, "%v: %s", args, got.err)
		require.Contains(t, got.err, "--help", "%v", args)
	}
}

func TestList_turnsPagesUpToTheLimit(t *testing.T) {
	f := newFakeAPI(t)
	for _, name := range []string{"one", "two", "three"} {
		f.projects = append(f.projects, Project{ID: "prj_" + name, WorkerName: name, URL: "http://" + name})
	}
	got := f.run("list", "--projects", "--json", "--limit", "2")
	var page Page[Project]
	require.NoError(t, json.Unmarshal([]byte(got.out), &page))
	require.Len(t, page.Items, 2)
	require.NotEmpty(t, page.NextCursor)

	got = f.run("list", "--projects")
	require.Contains(t, got.out, "WORKER")
	require.Contains(t, got.out, "three")
	got = f.run("open", "--project", "three")
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "nothing of this project is live yet")
}

func TestCredentials_comeFromTheNearestDataFolder(t *testing.T) {
	clearEnvironment(t)
	f := newFakeAPI(t)
	top := t.TempDir()
	write := func(at, token string) {
		data, err := json.Marshal(Credentials{APIURL: f.URL, Token: token, OrganizationID: fakeOrg, UserID: fakeUser})
		require.NoError(t, err)
		writeFile(t, at, string(data))
		require.NoError(t, os.Chmod(at, 0o600))
	}
	write(filepath.Join(top, ".slipway", "credentials.json"), fakeToken)
	deep := filepath.Join(top, "a", "b")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	t.Chdir(deep)
	require.Equal(t, ExitOK, runProgram(t.Context(), "list", "--projects").code)

	write(filepath.Join(top, "a", ".slipway", "credentials.json"), "stale")
	require.Equal(t, ExitFailure, runProgram(t.Context(), "list", "--projects").code)

	t.Setenv("SLIPWAY_DATA_DIR", filepath.Join(top, ".slipway"))
	require.Equal(t, ExitOK, runProgram(t.Context(), "list", "--projects").code)

	require.NoError(t, os.Chmod(filepath.Join(top, ".slipway", "credentials.json"), 0o644))
	require.Contains(t, runProgram(t.Context(), "list", "--projects").err, "others can read it")
}

func TestCredentials_neverGoToAnotherAddressThanTheirOwn(t *testing.T) {
	clearEnvironment(t)
	var seen []string
	f := newFakeAPI(t)
	f.before = func(_ http.ResponseWriter, r *http.Request) bool {
		seen = append(seen, r.Header.Get("Authorization"))
		return false
	}
	folder := t.TempDir()
	file := filepath.Join(folder, ".slipway", "credentials.json")
	writeFile(t, file, `{"apiUrl":"http://elsewhere.invalid","token":"secret","orgId":"o","userId":"u"}`)
	t.Chdir(folder)

	runProgram(t.Context(), "list", "--projects", "--api", f.URL)
	require.Equal(t, []string{""}, seen, "the file's token is for the file's address")

	cmd := Commands(Options{})[0]
	t.Setenv("SLIPWAY_TOKEN", "mine")
	creds, err := loadCredentials(cmd)
	require.NoError(t, err)
	require.Equal(t, DefaultAPIURL, creds.APIURL, "the environment's token is not for the file's address")
	require.Equal(t, "mine", creds.Token)
}

func TestInterrupt_beforeTheDeploymentExitsWith130(t *testing.T) {
	f := newFakeAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.before = func(_ http.ResponseWriter, r *http.Request) bool {
		// The server notices that the client has left once the body is read.
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
		return true
	}
	f.setEnvironment()
	got := runProgram(ctx, "deploy", site(t))
	require.Equal(t, ExitInterrupted, got.code)
	require.Equal(t, "Error: interrupted\n", got.err)
}
