package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

const securePage = "https://slipway.example.com"

// secured is a service over HTTPS, as its cookies go; and somebody signed up there.
func secured(t *testing.T) *service {
	return newService(t, func(o *Options) { o.AppURL = securePage })
}

// cookiesOf are those that an answer sets, by name.
func cookiesOf(res *http.Response) map[string]*http.Cookie {
	set := map[string]*http.Cookie{}
	for _, c := range res.Cookies() {
		set[c.Name] = c
	}
	return set
}

func (s *service) securely(email string) map[string]*http.Cookie {
	s.Helper()
	b := s.browser()
	b.header.Set("Origin", securePage)
	res := b.post("sign-up/email", map[string]any{"email": email, "password": goodPassword, "name": "Ada"})
	require.Equal(s, http.StatusOK, res.StatusCode)
	return cookiesOf(res.Response)
}

// visit asks with cookies, as a browser over HTTPS or as a program.
func visit(path string, browser bool, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, securePage+path, nil)
	if browser {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range cookies {
		if c != nil {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	return r
}

const (
	secureSession = "__Secure-" + SessionCookie
	secureBound   = "__Host-" + boundCookie
)

// A page on a sibling host can set the session's cookie for ours, and so sign a
// visitor in to an account of its own; it cannot set one that begins with __Host-.
func TestBound_aSessionCannotBePlantedFromASiblingHost(t *testing.T) {
	s := secured(t)
	mallory, ada := s.securely("mallory@example.com"), s.securely("ada@example.com")
	bound := ada[secureBound]
	require.True(t, bound.Secure && bound.HttpOnly && bound.Path == "/" && bound.Domain == "" && bound.MaxAge == ada[secureSession].MaxAge)

	_, found := s.identityOf(visit("/", true, mallory[secureSession]))
	require.False(t, found, "planted in somebody who is signed out")
	_, found = s.identityOf(visit("/", true, mallory[secureSession], bound))
	require.False(t, found, "planted where another session was begun")
	plain := &http.Cookie{Name: plainCookie, Value: mallory[secureSession].Value}
	_, found = s.identityOf(visit("/", true, plain))
	require.False(t, found, "planted by the name that is read, too")
	for _, name := range []string{boundCookie, "__Secure-" + boundCookie} {
		_, found = s.identityOf(visit("/", true, mallory[secureSession], &http.Cookie{Name: name, Value: mallory[secureBound].Value}))
		require.False(t, found, name)
	}

	// Nor does it sign anybody out: of two that live the one that was begun here counts.
	identity, found := s.identityOf(visit("/", true, mallory[secureSession], ada[secureSession], bound))
	require.True(t, found)
	own, found := s.identityOf(visit("/", true, ada[secureSession], bound))
	require.True(t, found)
	require.Equal(t, own, identity)

	// A page's server hands on the cookies it knows and does not say Sec-Fetch-Site.
	identity, found = s.identityOf(visit("/", false, ada[secureSession]))
	require.True(t, found)
	require.Equal(t, own, identity)
}

func TestBound_endsAndLivesWithTheSession(t *testing.T) {
	s := secured(t)
	ada := s.securely("ada@example.com")
	ask := func(method, path string) *http.Response {
		r := visit(Prefix+path, true, ada[secureSession], ada[secureBound])
		r.Method = method
		r.Header.Set("Origin", securePage)
		w := httptest.NewRecorder()
		s.auth.Handler().ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		return w.Result()
	}
	require.Empty(t, ask("GET", "get-session").Cookies())
	s.exec("UPDATE sessions SET expires_at = expires_at - interval '2 days'")
	renewed := cookiesOf(ask("GET", "get-session"))
	require.Equal(t, ada[secureBound].Value, renewed[secureBound].Value)
	require.Equal(t, renewed[secureSession].MaxAge, renewed[secureBound].MaxAge)
	out := cookiesOf(ask("POST", "sign-out"))
	require.Negative(t, out[secureSession].MaxAge)
	require.Negative(t, out[secureBound].MaxAge)
	_, found := s.identityOf(visit("/", true, ada[secureSession], ada[secureBound]))
	require.False(t, found)
}
