package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// plainCookie holds a session's token as it is, or signed. It is read, never set.
	plainCookie = "session"
	stateCookie = "better-auth.state"
	// boundCookie names the session that this browser was signed in to.
	boundCookie = "better-auth.session_bound"
	// maxCookies bounds the cookies of one name that are looked at, and
	// maxCookieValue the length of each.
	maxCookies     = 8
	maxCookieValue = 1024
)

// cookieName is the name a cookie has here: over HTTPS browsers hold the prefixes
// to what they say (RFC 6265bis §4.1.3). The client knows __Secure- of a session;
// the others are nobody's but ours, and with __Host- no page on a sibling host can
// plant that of a sign-in of its own.
func (a *Auth) cookieName(name string) string {
	switch {
	case !a.secure:
		return name
	case name == stateCookie, name == boundCookie:
		return "__Host-" + name
	}
	return "__Secure-" + name
}

// setCookie sets a signed cookie of this host alone. maxAge 0 lasts as long as the
// browser, below it removes the cookie.
func (a *Auth) setCookie(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	cookie := &http.Cookie{Name: a.cookieName(name), Path: "/", MaxAge: int(maxAge / time.Second), HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode}
	if maxAge >= 0 {
		cookie.Value = url.QueryEscape(value + "." + a.signature(value))
	}
	http.SetCookie(w, cookie)
}

func (a *Auth) clearCookie(w http.ResponseWriter, name string) {
	a.setCookie(w, name, "", -time.Second)
}

// setSession gives a browser a session's token. Over HTTPS another cookie, which
// nobody but this host can set, says that the session was begun in this browser.
func (a *Auth) setSession(w http.ResponseWriter, session models.Session, token string, maxAge time.Duration) {
	a.setCookie(w, SessionCookie, token, maxAge)
	if a.secure {
		a.setCookie(w, boundCookie, session.ID, maxAge)
	}
}

func (a *Auth) clearSession(w http.ResponseWriter) {
	a.clearCookie(w, SessionCookie)
	if a.secure {
		a.clearCookie(w, boundCookie)
	}
}

// boundHere leaves the sessions that were begun in the browser which asks. A program
// that hands a person's session on does not say Sec-Fetch-Site, as browsers do over
// HTTPS (https://www.w3.org/TR/fetch-metadata/), and has planted nothing on itself.
func (a *Auth) boundHere(r *http.Request, sessions []models.Session) []models.Session {
	if !a.secure || r.Header.Get("Sec-Fetch-Site") == "" {
		return sessions
	}
	here := a.signedCookies(r, boundCookie)
	return slices.DeleteFunc(sessions, func(s models.Session) bool { return !slices.Contains(here, s.ID) })
}

// signature is that of better-auth: HMAC-SHA256 in base64.
func (a *Auth) signature(value string) string {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(value))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// unsign gives the value of a signed cookie.
func (a *Auth) unsign(raw string) (value string, ok bool) {
	if len(raw) > maxCookieValue {
		return "", false
	}
	raw, err := url.PathUnescape(raw)
	if err != nil {
		return "", false
	}
	at := strings.LastIndexByte(raw, '.')
	if at <= 0 {
		return "", false
	}
	value = raw[:at]
	return value, hmac.Equal([]byte(raw[at+1:]), []byte(a.signature(value)))
}

// signedCookies are the different values of a cookie that we have signed. There
// may be several: a page on a sibling host can set one for ours.
func (a *Auth) signedCookies(r *http.Request, name string) []string {
	var values []string
	for _, cookie := range namedCookies(r, a.cookieName(name)) {
		if value, ok := a.unsign(cookie); ok && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

// tokens are the session tokens a request brings, at most maxCookies. The plain
// cookie only counts where there is no signed one.
func (a *Auth) tokens(r *http.Request) []string {
	if signed := a.signedCookies(r, SessionCookie); len(signed) > 0 {
		return signed
	}
	var values []string
	for _, cookie := range namedCookies(r, plainCookie) {
		value, ok := a.unsign(cookie)
		if !ok {
			value = cookie
		}
		if value != "" && len(value) <= maxCookieValue && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

func namedCookies(r *http.Request, name string) []string {
	var values []string
	for _, cookie := range r.CookiesNamed(name) {
		if len(values) == maxCookies {
			break
		}
		values = append(values, cookie.Value)
	}
	return values
}
