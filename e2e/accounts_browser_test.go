package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// TestDashboard_signsPeopleIn goes through the ways into the dashboard with a real
// browser; e2e/browser/accounts.mjs says what it holds them to.
func TestDashboard_signsPeopleIn(t *testing.T) {
	needDashboard(t)
	services := newOutsideServices(t)
	s := boot(t, append(services.env(), "SLIPWAY_SIGN_UP=open", "SLIPWAY_RATE_SIGN_IN_ACCOUNT=0", "SLIPWAY_RATE_SIGN_IN_ADDRESS=0")...)

	runVisit(t, "accounts.mjs", s.APIURL, services.URL, s.Email, s.Password, shots(t))
}

// outsideServices are those that signing in asks, on one address: Turnstile, which
// takes what begins with person- once, Resend, and GitHub with one person.
type outsideServices struct {
	*httptest.Server

	mu         sync.Mutex
	letters    []string
	spent      map[string]bool
	challenges map[string]string // of GitHub, by code
}

func newOutsideServices(t *testing.T) *outsideServices {
	o := &outsideServices{letters: []string{}, spent: map[string]bool{}, challenges: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /siteverify", o.verify)
	mux.HandleFunc("POST /emails", o.send)
	mux.HandleFunc("GET /letters", func(w http.ResponseWriter, _ *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		reply(w, o.letters)
	})
	mux.HandleFunc("GET /login/oauth/authorize", o.authorize)
	mux.HandleFunc("POST /login/oauth/access_token", o.exchange)
	mux.HandleFunc("GET /user", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"id": 4242, "login": "hub", "name": "Hub Person"})
	})
	mux.HandleFunc("GET /user/emails", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, []map[string]any{{"email": "hub@example.com", "primary": true, "verified": true}})
	})
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	o.Server = httptest.NewServer(mux)
	t.Cleanup(o.Close)
	return o
}

func (o *outsideServices) env() []string {
	return []string{
		"TURNSTILE_SECRET_KEY=the-turnstile-secret", "TURNSTILE_SITE_KEY=the-site-key", "TURNSTILE_VERIFY_URL=" + o.URL + "/siteverify",
		"RESEND_API_KEY=the-resend-key", "RESEND_API_URL=" + o.URL,
		"BETTER_GITHUB_CLIENT_ID=the-id", "BETTER_GITHUB_CLIENT_SECRET=the-secret", "SLIPWAY_GITHUB_URL=" + o.URL, "SLIPWAY_GITHUB_API_URL=" + o.URL,
	}
}

func (o *outsideServices) verify(w http.ResponseWriter, r *http.Request) {
	var question struct{ Secret, Response string }
	_ = json.NewDecoder(r.Body).Decode(&question)
	o.mu.Lock()
	passed := question.Secret == "the-turnstile-secret" && strings.HasPrefix(question.Response, "person-") && !o.spent[question.Response]
	o.spent[question.Response] = true
	o.mu.Unlock()
	reply(w, map[string]any{"success": passed, "error-codes": []string{}})
}

func (o *outsideServices) send(w http.ResponseWriter, r *http.Request) {
	var letter struct {
		To            []string
		Subject, Text string
	}
	_ = json.NewDecoder(r.Body).Decode(&letter)
	o.mu.Lock()
	o.letters = append(o.letters, strings.Join(append(letter.To, letter.Subject, letter.Text), "\n"))
	o.mu.Unlock()
	reply(w, map[string]any{"id": "sent"})
}

// consent is where GitHub asks its person.
var consent = template.Must(template.New("consent").Parse(`<!doctype html><html lang="en"><title>Authorize</title>
<p>Authorize Slipway?</p><p><a href="{{.Yes}}">Authorize</a> <a href="{{.No}}">Cancel</a></p></html>`))

func (o *outsideServices) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o.mu.Lock()
	code := "code-" + q.Get("state")
	o.challenges[code] = q.Get("code_challenge")
	o.mu.Unlock()
	back := func(key, value string) string {
		return q.Get("redirect_uri") + "?" + url.Values{key: {value}, "state": {q.Get("state")}}.Encode()
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = consent.Execute(w, map[string]string{"Yes": back("code", code), "No": back("error", "access_denied")})
}

func (o *outsideServices) exchange(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	challenge, known := o.challenges[r.FormValue("code")]
	delete(o.challenges, r.FormValue("code"))
	o.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !known || r.FormValue("client_secret") != "the-secret" || base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
		reply(w, map[string]string{"error": "bad_verification_code"})
		return
	}
	reply(w, map[string]string{"access_token": "gho_secret", "token_type": "bearer", "scope": "read:user,user:email"})
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
