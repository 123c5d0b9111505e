package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// fakeGitHub is a GitHub with one person, who always agrees.
type fakeGitHub struct {
	*httptest.Server
	profile, addresses string

	mu         sync.Mutex
	challenges map[string]string // by code
}

func newFakeGitHub(t *testing.T) *fakeGitHub {
	g := &fakeGitHub{
		profile:    `{"id":4242,"login":"ada","name":"Ada Lovelace","avatar_url":"https://avatars.example.com/ada.png","email":"public@example.com"}`,
		addresses:  `[{"email":"old@example.com","primary":false,"verified":true},{"email":"Ada@Example.com","primary":true,"verified":true}]`,
		challenges: map[string]string{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("client_id") != "the-id" || q.Get("code_challenge_method") != "S256" || q.Get("scope") != "read:user user:email" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		g.mu.Lock()
		code := fmt.Sprintf("code-%d", len(g.challenges))
		g.challenges[code] = q.Get("code_challenge")
		g.mu.Unlock()
		http.Redirect(w, r, q.Get("redirect_uri")+"?code="+code+"&state="+url.QueryEscape(q.Get("state")), http.StatusFound)
	})
	mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		challenge, known := g.challenges[r.FormValue("code")]
		delete(g.challenges, r.FormValue("code"))
		g.mu.Unlock()
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		w.Header().Set("Content-Type", "application/json")
		if !known || r.FormValue("client_secret") != "the-secret" || base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
			fmt.Fprint(w, `{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired."}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"gho_secret","scope":"read:user,user:email","token_type":"bearer"}`)
	})
	serve := func(body *string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer gho_secret" {
				http.Error(w, "{}", http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, *body)
		}
	}
	mux.HandleFunc("GET /api/user", serve(&g.profile))
	mux.HandleFunc("GET /api/user/emails", serve(&g.addresses))
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

func (g *fakeGitHub) configure(o *Options) {
	o.GitHub = GitHub{ID: "the-id", Secret: "the-secret", URL: g.URL, APIURL: g.URL + "/api/"}
}

// leave begins a sign-in and gives the address GitHub sends the person back to.
func (b *browser) leave(body map[string]any) string {
	b.Helper()
	body["provider"] = "github"
	var away struct {
		URL      string
		Redirect bool
	}
	b.post("sign-in/social", body).decode(b, &away)
	res := b.do(http.MethodGet, away.URL, nil)
	require.Equal(b, http.StatusFound, res.StatusCode, string(res.body))
	return res.Header.Get("Location")
}

// arrive follows it, and gives where the person ends.
func (b *browser) arrive(back string) string {
	b.Helper()
	res := b.do(http.MethodGet, back, nil)
	require.Equal(b, http.StatusFound, res.StatusCode, string(res.body))
	return res.Header.Get("Location")
}

func TestGitHub_makesAPersonOnceAndKnowsThemAgain(t *testing.T) {
	hub := newFakeGitHub(t)
	s := newService(t, hub.configure)
	b := s.browser()
	require.Equal(t, "/welcome", b.arrive(b.leave(map[string]any{"callbackURL": "/app/x", "newUserCallbackURL": "/welcome"})))
	me := b.me()
	require.Equal(t, "ada@example.com", me.User.Email)
	require.True(t, me.User.EmailVerified)
	require.Equal(t, "https://avatars.example.com/ada.png", *me.User.Image)

	// The address may change there: the account is found by its id.
	hub.addresses = `[{"email":"new@example.com","primary":true,"verified":true}]`
	again := s.browser()
	require.Equal(t, "/app/x", again.arrive(again.leave(map[string]any{"callbackURL": "/app/x", "newUserCallbackURL": "/welcome"})))
	require.Equal(t, me.User.ID, again.me().User.ID)
	require.NotContains(t, s.log.String(), "gho_secret")
}

func TestGitHub_takesOverNoAccountWhoseAddressNobodyVerified(t *testing.T) {
	hub := newFakeGitHub(t)
	s := newService(t, hub.configure)
	squatter := s.browser()
	squatter.signUp("ada@example.com")
	b := s.browser()
	require.Equal(t, "/oops?error=account_not_linked", b.arrive(b.leave(map[string]any{"errorCallbackURL": "/oops"})))
	require.Nil(t, b.me())

	// And one whose address GitHub has not verified gets none.
	for _, addresses := range []string{`[{"email":"eve@example.com","primary":true,"verified":false}]`, `[{"email":"eve@example.com","primary":false,"verified":true}]`, `[]`} {
		hub.addresses = addresses
		require.Equal(t, "/oops?error=email_not_found", b.arrive(b.leave(map[string]any{"errorCallbackURL": "/oops"})))
	}
}

func TestGitHub_linksAVerifiedAddress(t *testing.T) {
	hub := newFakeGitHub(t)
	s := newService(t, hub.configure)
	user, err := s.store.CreateUser(t.Context(), models.NewUser{Email: "ada@example.com", EmailVerified: true, ProviderID: models.ProviderCredential, OrganizationName: "A"})
	require.NoError(t, err)
	b := s.browser()
	require.Equal(t, "/app", b.arrive(b.leave(map[string]any{})))
	require.Equal(t, user.ID, b.me().User.ID)

	// Another person of GitHub with the same address is not linked as well.
	hub.profile = `{"id":777,"login":"eve"}`
	other := s.browser()
	require.Equal(t, Prefix+"error?error=unable_to_link_account", other.arrive(other.leave(map[string]any{})))
}

func TestGitHub_stateIsOfOneBrowserAndOnce(t *testing.T) {
	hub := newFakeGitHub(t)
	s := newService(t, hub.configure)
	b := s.browser()
	back := b.leave(map[string]any{"errorCallbackURL": "/oops"})

	victim := s.browser()
	require.Equal(t, Prefix+"error?error=state_mismatch", victim.arrive(back))
	require.Nil(t, victim.me())
	victim.leave(map[string]any{})
	require.Equal(t, Prefix+"error?error=state_mismatch", victim.arrive(back))
	require.Nil(t, victim.me())

	u, err := url.Parse(back)
	require.NoError(t, err)
	for change, want := range map[string]string{
		"state=": "state_not_found", "": "state_not_found", "state=x&code=code-0": "state_mismatch", "code=code-0&state=" + strings.Repeat("x", 9000): "state_mismatch",
	} {
		u.RawQuery = change
		require.Equal(t, Prefix+"error?error="+want, b.arrive(u.String()), change)
	}

	require.Equal(t, "/app", b.arrive(back))
	require.NotNil(t, b.me())
	require.Equal(t, Prefix+"error?error=state_mismatch", b.arrive(back))

	// What GitHub refuses ends where the page wants.
	denied := b.leave(map[string]any{"errorCallbackURL": "/oops?a=b"})
	require.Equal(t, "/oops?a=b&error=access_denied", b.arrive(strings.Replace(denied, "code=", "error=access_denied&x=", 1)))
	forged := b.leave(map[string]any{"errorCallbackURL": "/oops"})
	require.Equal(t, "/oops?error=unable_to_get_user_info", b.arrive(strings.Replace(forged, "code=", "code=x", 1)))
	require.NotContains(t, s.log.String(), "code-")
}

func TestGitHub_letsInWhoMaySignUp(t *testing.T) {
	hub := newFakeGitHub(t)
	s := newService(t, hub.configure, func(o *Options) { o.SignUp = SignUpInvited })
	b := s.browser()
	require.Equal(t, Prefix+"error?error=signup_disabled", b.arrive(b.leave(map[string]any{})))
	s.invite("ada@example.com")
	require.Equal(t, "/app", b.arrive(b.leave(map[string]any{})))
	var config struct{ GitHub bool }
	require.NoError(t, json.Unmarshal(b.get("config").body, &config))
	require.True(t, config.GitHub)
}
