package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/mail"
	"github.com/slipwayhq/slipway/models"
)

// noPost takes letters and sends none.
type noPost struct{}

func (noPost) Send(context.Context, mail.Message) error { return nil }

// accountHolder is somebody with a browser at a gateway where people sign in.
type accountHolder struct {
	*gateway
	client *http.Client
	url    string
}

func newAccountHolder(t *testing.T) *accountHolder {
	t.Helper()
	p := &accountHolder{}
	p.gateway = newGateway(t, func(o *api.Options) {
		people, err := auth.New(auth.Options{
			Store: o.Store, Secret: "a secret of thirty-two characters", AppURL: "http://slipway.test", SignUp: auth.SignUpOpen, Mail: noPost{}, Log: o.Log,
			PasswordCost: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		})
		require.NoError(t, err)
		t.Cleanup(people.Close)
		o.Sessions, o.Auth, o.AppURL = people, people.Handler(), "http://slipway.test"
	})
	p.url = p.gateway.http.URL
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	p.client = &http.Client{Jar: jar}
	return p
}

func (p *accountHolder) call(method, path, body string, header ...string) (int, string) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, p.url+path, strings.NewReader(body))
	require.NoError(p, err)
	req.Header.Set("Origin", p.url)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := p.client.Do(req)
	require.NoError(p, err)
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	require.NoError(p, err)
	return res.StatusCode, string(content)
}

func TestSessions_actLikeTheirPerson(t *testing.T) {
	p := newAccountHolder(t)
	status, _ := p.call("GET", "/projects", "")
	require.Equal(t, http.StatusUnauthorized, status)
	status, body := p.call("POST", "/api/auth/sign-up/email", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`)
	require.Equal(t, http.StatusOK, status, body)
	status, body = p.call("POST", "/projects", `{"name":"Mine","workerName":"mine"}`)
	require.Equal(t, http.StatusCreated, status, body)
	status, body = p.call("GET", "/projects", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"mine"`)
	require.NotContains(t, body, `"shop"`)

	// Another site's page changes nothing, and neither does one that does not say.
	for _, origin := range []string{"https://evil.example", "null", ""} {
		status, body = p.call("POST", "/projects", `{"name":"Evil","workerName":"evil"}`, "Origin", origin)
		require.Equal(t, http.StatusForbidden, status)
		require.Contains(t, body, string(models.CodeCrossSite))
	}

	// The organization acted in last is gone on in.
	user, _, found, err := p.store.UserByEmail(t.Context(), "ada@example.com")
	require.NoError(t, err)
	require.True(t, found)
	second, err := p.store.FoundOrganization(t.Context(), user.ID, "Second")
	require.NoError(t, err)
	_, body = p.call("GET", "/projects", "")
	require.Contains(t, body, `"mine"`)
	_, body = p.call("GET", "/projects", "", "X-Slipway-Organization", second.ID)
	require.NotContains(t, body, `"mine"`)
	_, body = p.call("GET", "/projects", "")
	require.NotContains(t, body, `"mine"`)
	status, _ = p.call("GET", "/projects", "", "X-Slipway-Organization", p.owner.OrganizationID)
	require.Equal(t, http.StatusNotFound, status)

	status, _ = p.call("POST", "/api/auth/sign-out", "")
	require.Equal(t, http.StatusOK, status)
	status, _ = p.call("GET", "/projects", "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotContains(t, p.log.String(), "correct horse")
}

// A link on another site's page is followed with the session's cookie.
func TestSessions_aFollowedLinkDoesNotMoveThemToAnotherOrganization(t *testing.T) {
	p := newAccountHolder(t)
	status, body := p.call("POST", "/api/auth/sign-up/email", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`)
	require.Equal(t, http.StatusOK, status, body)
	user, _, _, err := p.store.UserByEmail(t.Context(), "ada@example.com")
	require.NoError(t, err)
	second, err := p.store.FoundOrganization(t.Context(), user.ID, "Second")
	require.NoError(t, err)
	for _, site := range []string{"cross-site", "same-site"} {
		status, body = p.call("GET", "/orgs/"+second.ID, "", "Sec-Fetch-Site", site, "Origin", "")
		require.Equal(t, http.StatusOK, status, body)
		_, body = p.call("GET", "/me", "")
		require.NotContains(t, body, second.ID, site)
	}
	p.call("GET", "/orgs/"+second.ID, "", "Sec-Fetch-Site", "same-origin")
	_, body = p.call("GET", "/me", "")
	require.Contains(t, body, second.ID)
}

func TestSessions_secretsOfLinksStayOutOfTheLog(t *testing.T) {
	p := newAccountHolder(t)
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	status, _ := p.call("GET", "/api/auth/reset-password/the-secret?callbackURL=%2Fapp", "")
	require.Equal(t, http.StatusFound, status)
	require.Contains(t, p.log.String(), "/api/auth/reset-password/…")
	require.NotContains(t, p.log.String(), "the-secret")
}

func TestSessions_bodiesOfNoEndAreCutOff(t *testing.T) {
	p := newAccountHolder(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/api/auth/sign-in/email", io.LimitReader(endless{}, 10<<20))
	r.Header.Set("Content-Type", "application/json")
	p.server.ServeHTTP(w, r)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}
