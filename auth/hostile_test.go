package auth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// request is one with the browser's cookies, for asking Session.
func (b *browser) request(cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, b.http.URL+"/", nil)
	u, err := url.Parse(b.http.URL)
	require.NoError(b, err)
	for _, c := range append(b.client.Jar.Cookies(u), cookies...) {
		r.AddCookie(c)
	}
	return r
}

// sessionCookie is the browser's, as it was set.
func (b *browser) sessionCookie() *http.Cookie {
	b.Helper()
	c, err := b.request().Cookie(SessionCookie)
	require.NoError(b, err)
	return c
}

func (s *service) identityOf(r *http.Request) (models.Identity, bool) {
	s.Helper()
	identity, found, err := s.auth.Session(r)
	require.NoError(s, err)
	return identity, found
}

func TestSession_isFixedByNobody(t *testing.T) {
	s := newService(t)
	mallory, ada := s.browser(), s.browser()
	mallory.signUp("mallory@example.com")
	ada.signUp("ada@example.com")
	ada.post("sign-out", nil)

	// Mallory plants her session in Ada's browser, and Ada signs in.
	planted := mallory.sessionCookie()
	u, err := url.Parse(s.http.URL)
	require.NoError(t, err)
	ada.client.Jar.SetCookies(u, []*http.Cookie{planted})
	require.Equal(t, http.StatusOK, ada.signIn("ada@example.com", goodPassword).StatusCode)
	require.NotEqual(t, planted.Value, ada.sessionCookie().Value)
	require.Equal(t, "ada@example.com", ada.me().User.Email)
	require.Nil(t, mallory.me(), "what was planted has ended")

	// Each sign-in is a new token, and the one before it ends.
	before := ada.sessionCookie()
	ada.signIn("ada@example.com", goodPassword)
	require.NotEqual(t, before.Value, ada.sessionCookie().Value)
	fresh := s.browser()
	fresh.client.Jar.SetCookies(u, []*http.Cookie{before})
	require.Nil(t, fresh.me())
}

func TestSession_ofTwoThatLiveCountsNeither(t *testing.T) {
	s := newService(t)
	mallory, ada := s.browser(), s.browser()
	mallory.signUp("mallory@example.com")
	ada.signUp("ada@example.com")
	planted := mallory.sessionCookie()
	_, found := s.identityOf(ada.request(planted))
	require.False(t, found)
	junk := &http.Cookie{Name: SessionCookie, Value: "junk.junk"}
	identity, found := s.identityOf(ada.request(junk, junk, junk))
	require.True(t, found, "what we have not signed does not count")
	require.Equal(t, ada.me().User.ID, identity.UserID)
	// The same cookie twice is one.
	_, found = s.identityOf(ada.request(ada.sessionCookie()))
	require.True(t, found)
	// Neither is removed, as the wrong one could stay.
	req := ada.request(planted)
	w := httptest.NewRecorder()
	req.URL.Path = Prefix + "get-session"
	s.auth.Handler().ServeHTTP(w, req)
	require.Equal(t, "null\n", w.Body.String())
	require.Empty(t, w.Result().Cookies())
}

func TestSession_takesItsTokenInThePlainCookieToo(t *testing.T) {
	s := newService(t)
	b := s.browser()
	var in signedUp
	b.post("sign-up/email", map[string]any{"email": "ada@example.com", "password": goodPassword, "name": "Ada"}).decode(t, &in)
	empty := s.browser()
	for _, value := range []string{*in.Token, b.sessionCookie().Value} {
		identity, found := s.identityOf(empty.request(&http.Cookie{Name: "session", Value: value}))
		require.True(t, found)
		require.Equal(t, in.User.ID, identity.UserID)
	}
	// A signed cookie stands above it.
	other := s.browser()
	other.signUp("eve@example.com")
	identity, found := s.identityOf(b.request(&http.Cookie{Name: "session", Value: other.sessionCookie().Value}))
	require.True(t, found)
	require.Equal(t, in.User.ID, identity.UserID)
	// What is shown of a session signs nobody in.
	_, found = s.identityOf(empty.request(&http.Cookie{Name: "session", Value: b.me().Session.Token}))
	require.False(t, found)
}

func TestSession_cookiesThatAreNone(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.signUp("ada@example.com")
	good := b.sessionCookie().Value
	token, _, _ := strings.Cut(good, ".")
	empty := s.browser()
	for _, value := range []string{
		"", ".", "..", token, token + ".", good[:len(good)-4], good[1:], strings.ToUpper(good), "%", "%zz", url.QueryEscape(good), token + "." + token,
		strings.Repeat("a", 10<<20), strings.Repeat("a.", 500), "null", "undefined", "'; DROP TABLE sessions; --", "\x00",
	} {
		for _, name := range []string{SessionCookie, "__Secure-" + SessionCookie, plainCookie, knownCookie} {
			if name == plainCookie && value == token {
				continue
			}
			r := empty.request()
			r.Header.Set("Cookie", name+"="+value)
			_, found := s.identityOf(r)
			require.False(t, found, "%s=%.40s", name, value)
		}
	}
	r := empty.request()
	r.Header.Set("Cookie", strings.Repeat(SessionCookie+"=x.y; ", 20_000)+SessionCookie+"="+good)
	_, found := s.identityOf(r)
	require.False(t, found, "only a few are looked at")

	other := newService(t, func(o *Options) { o.Secret = "the secret of another installation" })
	_, found = other.identityOf(b.request())
	require.False(t, found)
}

func TestCookies_areSecureWhereThePageIs(t *testing.T) {
	s := newService(t, func(o *Options) { o.AppURL = "https://slipway.example.com" })
	b := s.browser()
	b.header.Set("Origin", "https://slipway.example.com")
	res := b.post("sign-up/email", map[string]any{"email": "ada@example.com", "password": goodPassword, "name": "Ada"})
	require.Equal(t, http.StatusOK, res.StatusCode)
	cookies := map[string]*http.Cookie{}
	for _, c := range res.Cookies() {
		require.True(t, c.Secure && c.HttpOnly && c.SameSite == http.SameSiteLaxMode && c.Path == "/" && c.Domain == "")
		cookies[c.Name] = c
	}
	require.Equal(t, int((7 * 24 * time.Hour).Seconds()), cookies["__Secure-"+SessionCookie].MaxAge)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "__Secure-" + SessionCookie, Value: cookies["__Secure-"+SessionCookie].Value})
	_, found := s.identityOf(r)
	require.True(t, found)
	// One without the prefix may have come over plain HTTP.
	r = httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: SessionCookie, Value: cookies["__Secure-"+SessionCookie].Value})
	_, found = s.identityOf(r)
	require.False(t, found)
}

// A page on a sibling host can set cookies for ours, but none that begins with
// __Host-: it signs nobody in to the account of its own that it went to GitHub with.
func TestCookies_aStateCannotBePlantedFromASiblingHost(t *testing.T) {
	hub := newFakeGitHub(t)
	s := newService(t, hub.configure, func(o *Options) { o.AppURL = "https://slipway.example.com" })
	b := s.browser()
	b.header.Set("Origin", "https://slipway.example.com")
	res := b.post("sign-in/social", map[string]any{"provider": "github"})
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Len(t, res.Cookies(), 1)
	own := res.Cookies()[0]
	require.Equal(t, "__Host-"+stateCookie, own.Name)
	require.True(t, own.Secure && own.Path == "/" && own.Domain == "")
	state, ok := s.auth.unsign(own.Value)
	require.True(t, ok)
	for _, planted := range []string{"__Secure-" + stateCookie, stateCookie} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, Prefix+"callback/github?code=x&state="+state, nil)
		r.AddCookie(&http.Cookie{Name: planted, Value: own.Value})
		s.auth.Handler().ServeHTTP(w, r)
		require.Contains(t, w.Header().Get("Location"), "state_mismatch")
		require.Empty(t, w.Result().Cookies())
	}
}

func TestOrigin_keepsOtherPagesFromSigningAnybodyInOrOut(t *testing.T) {
	s := newService(t, func(o *Options) { o.TrustedOrigins = []string{"https://app.example.com"} })
	b := s.browser()
	b.signUp("ada@example.com")
	paths := []string{"sign-in/email", "sign-up/email", "sign-in/social", "sign-out", "revoke-session", "revoke-sessions", "revoke-other-sessions",
		"change-password", "request-password-reset", "forget-password", "reset-password", "update-user"}
	for _, path := range paths {
		for _, c := range []struct{ origin, site, code string }{
			{"https://evil.example", "cross-site", "INVALID_ORIGIN"},
			{"https://evil.example", "", "INVALID_ORIGIN"},
			{strings.Replace(s.http.URL, "//", "//shop.", 1), "same-site", "INVALID_ORIGIN"},
			{"null", "cross-site", "MISSING_OR_NULL_ORIGIN"},
			{"", "", "MISSING_OR_NULL_ORIGIN"},
		} {
			b.header = http.Header{}
			if c.origin != "" {
				b.header.Set("Origin", c.origin)
			}
			if c.site != "" {
				b.header.Set("Sec-Fetch-Site", c.site)
			}
			res := b.post(path, map[string]any{"email": "ada@example.com", "password": goodPassword})
			require.Equal(t, http.StatusForbidden, res.StatusCode, path)
			require.Equal(t, c.code, res.code(t), path)
		}
	}
	b.header = http.Header{"Origin": {"https://app.example.com"}, "Sec-Fetch-Site": {"cross-site"}}
	require.NotNil(t, b.me())
	require.Equal(t, http.StatusOK, b.post("sign-out", nil).StatusCode)

	// A program without cookies is no browser that somebody else steers.
	program := s.browser()
	program.header = http.Header{}
	require.Equal(t, http.StatusOK, program.signIn("ada@example.com", goodPassword).StatusCode)
	// A page of another site without cookies is.
	page := s.browser()
	page.header = http.Header{"Origin": {"https://evil.example"}}
	require.Equal(t, "INVALID_ORIGIN", page.signIn("ada@example.com", goodPassword).code(t))
}

func TestRedirects_leadToNobodyElse(t *testing.T) {
	hub := newFakeGitHub(t)
	s := newService(t, hub.configure, func(o *Options) { o.TrustedOrigins = []string{"https://app.example.com"} })
	for _, target := range []string{
		"/app", "/", "/app?x=https://evil.example", "https://app.example.com/x", "https://APP.example.com:443/x", s.http.URL + "/x",
	} {
		require.True(t, s.auth.trustedURL(target), target)
	}
	for _, target := range []string{
		"https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "\n//evil.example", " //evil.example",
		"https:evil.example", "https:///evil.example", "javascript:alert(1)", "data:text/html,x", "http://app.example.com", "https://app.example.com.evil.example",
		"https://app.example.com@evil.example", "https://u:p@app.example.com/", "https://app.example.com:444/", "app", "evil.example", "/%2fevil.example", "/%5cevil.example",
		"https://app.example.com\\@evil.example", "/\x00", "/" + strings.Repeat("a", 3000), "%", "/%",
	} {
		require.False(t, s.auth.trustedURL(target), target)
		b := s.browser()
		for path, fields := range map[string][]string{
			"sign-in/social": {"callbackURL", "errorCallbackURL", "newUserCallbackURL"}, "sign-in/email": {"callbackURL"},
			"sign-up/email": {"callbackURL"}, "request-password-reset": {"redirectTo"},
		} {
			for _, field := range fields {
				res := b.post(path, map[string]any{"provider": "github", "email": "a@example.com", "password": goodPassword, "name": "x", field: target})
				require.Equal(t, http.StatusForbidden, res.StatusCode, "%s %s %q %s", path, field, target, res.body)
				require.Empty(t, res.Header.Get("Location"))
			}
		}
		for _, path := range []string{"reset-password/x", "verify-email"} {
			res := b.get(path + "?callbackURL=" + url.QueryEscape(target))
			require.Equal(t, http.StatusForbidden, res.StatusCode, "%s %q", path, target)
		}
	}
}

// The dispatcher's own origin is a trusted one, and serves tenants by path: a link
// to a new password that led there would give its token to a tenant.
func TestRedirects_leadToNoTenantOnAnOwnHost(t *testing.T) {
	s := newService(t, func(o *Options) { o.TrustedOrigins = []string{"https://sites.example.com"} })
	s.browser().signUp("ada@example.com")
	for _, target := range []string{
		"https://sites.example.com/dispatch/evil/steal", "https://sites.example.com/api/dispatch/evil", "https://sites.example.com/dispatch?worker=evil",
		"/dispatch/evil/", "/dispatch?worker=evil", "/x/../dispatch/evil", "/%64ispatch/evil", "/./api/./dispatch/evil", "https://sites.example.com/x/%2e%2e/dispatch/evil",
		"https://sites.example.com//dispatch/evil", "/Dispatch/evil",
	} {
		res := s.browser().post("request-password-reset", map[string]any{"email": "ada@example.com", "redirectTo": target})
		require.Equal(t, http.StatusForbidden, res.StatusCode, target)
		require.Equal(t, "INVALID_REDIRECT_URL", res.code(t))
	}
	for _, target := range []string{"https://sites.example.com/", "/app/dispatch/x", "/dispatches"} {
		require.True(t, s.auth.trustedURL(target), target)
	}
}

func TestBodies_thatAreNone(t *testing.T) {
	s := newService(t)
	b := s.browser()
	require.Equal(t, "PAYLOAD_TOO_LARGE", b.post("sign-in/email", `{"email":"`+strings.Repeat("a", 100<<10)+`"}`).code(t))
	for body, code := range map[string]string{
		"": "VALIDATION_ERROR", "null": "VALIDATION_ERROR", "[]": "VALIDATION_ERROR", `"x"`: "VALIDATION_ERROR", "{": "VALIDATION_ERROR", "{}": "VALIDATION_ERROR",
		`{"email":null,"password":"x"}`: "VALIDATION_ERROR", `{"email":{},"password":"x"}`: "VALIDATION_ERROR", `{"email":"a@example.com"}`: "VALIDATION_ERROR",
		`{"email":"a@example.com","password":7}`: "VALIDATION_ERROR", `{"email":"a@example.com","password":"x","rememberMe":"yes"}`: "VALIDATION_ERROR",
		`{"email":"","password":"x"}`: "INVALID_EMAIL", `{"email":"a\u0000@example.com","password":"x"}`: "INVALID_EMAIL", `{"email":"a@example.com","password":"\u0000"}`: "INVALID_EMAIL_OR_PASSWORD",
		"{\"email\":\"a@example.com\",\"password\":\"\xff\"}": "INVALID_EMAIL_OR_PASSWORD", `{"email":"a@example.com","password":"x"}{}`: "VALIDATION_ERROR",
		strings.Repeat(`{"a":`, 10_000): "VALIDATION_ERROR",
	} {
		require.Equal(t, code, b.post("sign-in/email", body).code(t), "%.80s", body)
	}
	b.header.Set("Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, "UNSUPPORTED_MEDIA_TYPE", b.post("sign-in/email", "email=a%40example.com&password=x").code(t))
	for _, path := range []string{"", "x", "sign-in", "sign-in/", "sign-in/email/", "sign-in/email/x", "callback", "callback/", "callback/a/b", "reset-password/a/b", "ok/"} {
		require.Equal(t, http.StatusNotFound, b.get(path).StatusCode, path)
	}
	for _, method := range []string{"HEAD", "DELETE", "PUT", "PATCH", "OPTIONS"} {
		res := b.do(method, "verify-email", nil)
		require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
		require.Equal(t, "GET", res.Header.Get("Allow"))
	}
	require.JSONEq(t, `{"ok":true}`, string(b.get("ok").body))
	require.Equal(t, "no-store", b.get("ok").Header.Get("Cache-Control"))
	for given, shown := range map[string]string{"state_mismatch": "state_mismatch", "<script>": "unknown", strings.Repeat("a", 99): "unknown", "": "unknown"} {
		res := b.get("error?error=" + url.QueryEscape(given))
		require.Contains(t, string(res.body), "("+shown+")")
		require.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"))
	}
}

func TestRevoke_endsOnesOwnSessionsAlone(t *testing.T) {
	s := newService(t)
	ada, eve := s.browser(), s.browser()
	ada.signUp("ada@example.com")
	eve.signUp("eve@example.com")
	var token signedUp
	ada.signIn("ada@example.com", goodPassword).decode(t, &token)
	for _, name := range []string{ada.me().Session.ID, *token.Token, "", "x", strings.Repeat("x", 60_000), "\x00", "ses_" + strings.Repeat("a", 26)} {
		res := eve.post("revoke-session", map[string]any{"token": name})
		require.Equal(t, http.StatusOK, res.StatusCode, "answered alike, whosoever it is")
	}
	require.NotNil(t, ada.me())
	require.NotNil(t, eve.me())
	require.Equal(t, http.StatusOK, ada.post("revoke-session", map[string]any{"token": ada.me().Session.Token}).StatusCode)
	require.Nil(t, ada.me())
}

// attempt is one sign-in from an address, without a network between.
func (s *service) attempt(from, email, password string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, Prefix+"sign-in/email", strings.NewReader(fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", s.http.URL)
	r.RemoteAddr = from + ":4711"
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.auth.Handler().ServeHTTP(w, r)
	return w
}

// unhurried is a limiter that gives permits back a thousand times as slowly, so that
// it does not matter how long a test takes to use them up.
type unhurried struct{ ratelimit.Limiter }

func (u unhurried) Take(ctx context.Context, key string, limit ratelimit.Limit) (ratelimit.Decision, error) {
	limit.Period *= 1000
	return u.Limiter.Take(ctx, key, limit)
}

func TestSignIn_tenThousandAttemptsLockNobodyOut(t *testing.T) {
	s := newService(t, func(o *Options) {
		o.Limiter, o.Rates = unhurried{ratelimit.NewLocal()}, Rates{SignInAccount: 10, SignInAddress: 60}
	})
	owner := s.browser()
	owner.signUp("ada@example.com")
	known, err := owner.request().Cookie(knownCookie)
	require.NoError(t, err)

	flood := func(from func(i int) string) (limited int64) {
		var next, refused atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := next.Add(1); i <= 5000; i = next.Add(1) {
					if w := s.attempt(from(int(i)), "ada@example.com", "guess"); w.Code == http.StatusTooManyRequests {
						refused.Add(1)
					}
				}
			})
		}
		wg.Wait()
		return refused.Load()
	}
	// From one address: others are not touched.
	hashes := s.cost(func() { require.Greater(t, flood(func(int) string { return "198.51.100.7" }), int64(4900)) })
	require.Less(t, hashes, int64(60))
	w := s.attempt("203.0.113.9", "ada@example.com", goodPassword)
	require.Equal(t, http.StatusOK, w.Code, w.Body)

	// From everywhere: what is left is small, and a browser that is known still
	// gets in.
	hashes = s.cost(func() { flood(func(i int) string { return fmt.Sprintf("10.0.%d.%d", i/250, i%250) }) })
	require.Less(t, hashes, int64(300))
	w = s.attempt("203.0.113.10", "ada@example.com", goodPassword)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Equal(t, "0", w.Header().Get(ratelimit.RemainingHeader), "of the limit that was met, not of a wider one")
	require.Contains(t, w.Body.String(), "TOO_MANY_REQUESTS")
	require.Equal(t, http.StatusOK, s.attempt("203.0.113.10", "ada@example.com", goodPassword, known).Code)
	// Somebody else's such cookie is of no use, and one's own has a bound.
	eve := s.browser()
	eve.auth.opts.Limiter = nil
	eve.signUp("eve@example.com")
	s.auth.opts.Limiter = unhurried{ratelimit.NewLocal()}
	of, err := eve.request().Cookie(knownCookie)
	require.NoError(t, err)
	guesses := 0
	for range 30 {
		if s.attempt("203.0.113.11", "ada@example.com", "guess", known).Code == http.StatusUnauthorized {
			guesses++
		}
	}
	require.LessOrEqual(t, guesses, 11)
	for range 30 {
		s.attempt("203.0.113.12", "ada@example.com", "guess", of)
	}
	require.Equal(t, http.StatusTooManyRequests, s.attempt("203.0.113.12", "ada@example.com", "guess", of).Code)
}

func TestPasswords_hashAFewAtATime(t *testing.T) {
	p, err := newPasswords(nil)
	require.NoError(t, err)
	p.turns = make(chan struct{}, 1)
	release := make(chan struct{})
	held := make(chan error)
	go func() { held <- p.turn(t.Context(), func() error { <-release; return nil }) }()
	require.Eventually(t, func() bool { return len(p.turns) == 1 }, time.Minute, time.Millisecond)
	waiting := make(chan error)
	for range waitingPasswords - 1 {
		go func() { waiting <- p.turn(t.Context(), func() error { return nil }) }()
	}
	require.Eventually(t, func() bool { return p.waiting.Load() == waitingPasswords }, time.Minute, time.Millisecond)
	for range 100 {
		var f *failure
		require.ErrorAs(t, p.turn(t.Context(), func() error { panic("no turn") }), &f)
		require.Equal(t, http.StatusServiceUnavailable, f.status)
	}
	close(release)
	require.NoError(t, <-held)
	for range waitingPasswords - 1 {
		require.NoError(t, <-waiting)
	}
	require.Zero(t, p.waiting.Load())
	require.Equal(t, max(runtime.GOMAXPROCS(0), 2), cap(must(newPasswords(nil)).turns))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAddress_comesFromTrustedProxiesAlone(t *testing.T) {
	s := newService(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	b := s.browser()
	b.header.Set("X-Forwarded-For", "evil, 192.0.2.1, 2001:db8::7")
	b.signUp("ada@example.com")
	require.Equal(t, "2001:db8::7", b.me().Session.IPAddress)
}

func TestTurnstile_letsPassWhomItKnows(t *testing.T) {
	var asked atomic.Value
	verifier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked.Store(string(body))
		switch {
		case strings.Contains(string(body), "good"):
			fmt.Fprint(w, `{"success":true}`)
		case strings.Contains(string(body), "broken"):
			w.WriteHeader(http.StatusBadGateway)
		default:
			fmt.Fprint(w, `{"success":false,"error-codes":["invalid-input-response"]}`)
		}
	}))
	defer verifier.Close()
	s := newService(t, func(o *Options) {
		o.Turnstile = Turnstile{Secret: "the turnstile secret", SiteKey: "0xSITE", URL: verifier.URL}
	})
	b := s.browser()
	require.Contains(t, string(b.get("config").body), `"turnstileSiteKey":"0xSITE"`)
	for _, path := range []string{"sign-up/email", "sign-in/email", "request-password-reset"} {
		body := map[string]any{"email": "ada@example.com", "password": goodPassword, "name": "Ada"}
		b.header.Del("X-Captcha-Response")
		require.Equal(t, "MISSING_RESPONSE", b.post(path, body).code(t), path)
		b.header.Set("X-Captcha-Response", strings.Repeat("x", 3000))
		require.Equal(t, "MISSING_RESPONSE", b.post(path, body).code(t), path)
		for token, want := range map[string]int{"bad": http.StatusForbidden, "broken": http.StatusInternalServerError, "good": http.StatusOK} {
			b.header.Set("X-Captcha-Response", token)
			require.Equal(t, want, b.post(path, body).StatusCode, "%s %s", path, token)
			require.JSONEq(t, `{"secret":"the turnstile secret","response":"`+token+`","remoteip":"127.0.0.1"}`, asked.Load().(string))
		}
	}
	require.NotContains(t, s.log.String(), "the turnstile secret")
}
