package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func decode(t *testing.T, text string, out any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), out), text)
}

// lines is what a program writes, to be looked at while it runs.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// signsIn goes the way of somebody new to the command line.
func signsIn(s *system, _ []string) {
	home := s.t.TempDir()
	site := filepath.Join(s.t.TempDir(), "from-afar")
	require.NoError(s.t, os.Mkdir(site, 0o755))
	require.NoError(s.t, os.WriteFile(filepath.Join(site, "index.html"), []byte("from the command line\n"), 0o644))
	env := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config")}
	run := func(args ...string) (stdout, stderr string, err error) {
		s.t.Helper()
		return runSlipway(s.t, site, env, args...)
	}
	_, stderr, err := run("whoami", "--api", s.APIURL)
	require.Error(s.t, err)
	require.Contains(s.t, stderr, "slipway login")

	var out, said lines
	login := slipwayCommand(s.t, site, env, "login", "--api", s.APIURL, "--scope", "admin")
	login.Stdout, login.Stderr = &out, &said
	require.NoError(s.t, login.Start())
	ended := make(chan error, 1)
	go func() { ended <- login.Wait() }()
	code := s.confirms(&said)
	select {
	case err := <-ended:
		require.NoError(s.t, err, said.text())
	case <-time.After(patience):
		s.t.Fatalf("slipway login did not hear that %s was confirmed:\n%s", code, said.text())
	}
	require.Contains(s.t, out.text(), "Signed in to "+s.APIURL+" as "+s.Email)
	file := filepath.Join(home, ".config", "slipway", "credentials.json")
	state, err := os.Stat(file)
	require.NoError(s.t, err)
	require.Equal(s.t, os.FileMode(0o600), state.Mode().Perm())
	content, err := os.ReadFile(file)
	require.NoError(s.t, err)
	var kept struct{ Token, TokenID string }
	decode(s.t, string(content), &kept)
	require.NotContains(s.t, out.text()+said.text(), kept.Token)

	stdout, stderr, err := run("whoami", "--json")
	require.NoError(s.t, err, stderr)
	var me struct {
		User         struct{ ID string }
		Organization struct{ ID string }
		Scope        string
		TokenID      string
	}
	decode(s.t, stdout, &me)
	require.Equal(s.t, []string{s.UserID, s.OrgID, "deploy", kept.TokenID}, []string{me.User.ID, me.Organization.ID, me.Scope, me.TokenID}, "what was confirmed, not what was asked for")

	stdout, stderr, err = run("deploy")
	require.NoError(s.t, err, stderr)
	require.Contains(s.t, stdout, "://from-afar.")
	page, content := s.get("from-afar", "/")
	require.Equal(s.t, http.StatusOK, page.StatusCode)
	require.Equal(s.t, "from the command line\n", string(content))
	_, stderr, err = run("env", "set", "A=1")
	require.Error(s.t, err, "a token to deploy with changes no variables")
	require.Contains(s.t, stderr, "admin")

	_, stderr, err = run("logout")
	require.NoError(s.t, err, stderr)
	require.NoFileExists(s.t, file)
	_, stderr, err = run("whoami", "--api", s.APIURL)
	require.Error(s.t, err)
	require.Contains(s.t, stderr, "slipway login")
	_, stderr, err = runSlipway(s.t, site, append(env, "SLIPWAY_API_URL="+s.APIURL, "SLIPWAY_TOKEN="+kept.Token), "whoami")
	require.Error(s.t, err, "the token is revoked, not forgotten")
	require.NotContains(s.t, stderr, kept.Token)
	page, _ = s.get("from-afar", "/")
	require.Equal(s.t, http.StatusOK, page.StatusCode, "what was deployed stays")
}

// confirms does in a browser what `slipway login` asks its person to, and gives the
// code.
func (s *system) confirms(said *lines) (code string) {
	s.t.Helper()
	asks := regexp.MustCompile(`confirm the code ([A-Z]{4}-[A-Z]{4})`)
	s.wait(patience, "the code", func() bool {
		found := asks.FindStringSubmatch(said.text())
		if found != nil {
			code = found[1]
		}
		return found != nil
	})
	// The address leads to a page of the dashboard's, which asks the API these.
	require.Regexp(s.t, `http://\S+/app/device\?code=`+code, said.text())
	owner := s.signedIn()
	var device struct{ Status, Scope, ClientName string }
	owner.must(http.MethodGet, "/device/"+code, "", nil, &device)
	require.Equal(s.t, []string{"pending", "admin"}, []string{device.Status, device.Scope})
	name, err := os.Hostname()
	require.NoError(s.t, err)
	require.Equal(s.t, name, device.ClientName)
	owner.must(http.MethodPost, "/device/"+code+"/approve", "", map[string]any{"orgId": s.OrgID, "scope": "deploy"}, nil)
	status, body := owner.call(http.MethodPost, "/device/"+code+"/approve", "", map[string]any{"orgId": s.OrgID, "scope": "admin"}, nil)
	require.Equal(s.t, http.StatusConflict, status, "once: %s", body)
	return code
}
