package auth

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// trustedURL says whether people may be sent there: a path of the page they are
// at, or an address of a trusted origin, but not where tenants' code answers by
// path: what it is sent to, such as the token of a mailed link, it keeps. What
// browsers and servers read in two ways is refused (backslashes, control
// characters, //host).
func (a *Auth) trustedURL(target string) bool {
	if len(target) > 2048 || strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == '\\' || c >= 0x7f && c < 0xa0 }) {
		return false
	}
	u, err := url.Parse(target)
	if err != nil || u.User != nil || isTenants(u.Path) {
		return false
	}
	if strings.HasPrefix(target, "/") {
		escaped := strings.ToLower(u.EscapedPath())
		return u.Scheme == "" && u.Host == "" && !strings.HasPrefix(target, "//") && !strings.Contains(escaped, "%2f") && !strings.Contains(escaped, "%5c")
	}
	return slices.Contains(a.origins, originOf(u))
}

// isTenants says whether a path of a dispatcher's own host, decoded, leads to a
// tenant. The origin of such a host is a trusted one; see dispatcher.
func isTenants(decoded string) bool {
	clean := strings.ToLower(path.Clean("/" + decoded))
	for _, base := range []string{"/dispatch", "/api/dispatch"} {
		if rest, ok := strings.CutPrefix(clean, base); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// originOf is scheme and host, in the form of the Origin header.
func originOf(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if scheme != "http" && scheme != "https" {
		return "no web address"
	}
	if scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	} else {
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host
}

// checkURL refuses a target that is not trusted, with the code that better-auth
// has for the field; "" is none and fine.
func (a *Auth) checkURL(field, target string) error {
	if target == "" || a.trustedURL(target) {
		return nil
	}
	codes := map[string]string{
		"callbackURL": "INVALID_CALLBACK_URL", "redirectTo": "INVALID_REDIRECT_URL",
		"errorCallbackURL": "INVALID_ERROR_CALLBACK_URL", "newUserCallbackURL": "INVALID_NEW_USER_CALLBACK_URL",
	}
	return refuse(http.StatusForbidden, codes[field], "Invalid "+field+": it must be a path, or an address of this service.")
}

// withQuery adds a parameter to a trusted target.
func withQuery(target, key, value string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "/"
	}
	query := u.Query()
	query.Set(key, value)
	u.RawQuery = query.Encode()
	return u.String()
}

func redirect(w http.ResponseWriter, target string) error {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusFound)
	return nil
}

// LoggedPath is a path as it may stand in a log: without the secret that the one
// of a password reset ends with.
func LoggedPath(path string) string {
	const reset = Prefix + "reset-password/"
	if strings.HasPrefix(path, reset) {
		return reset + "…"
	}
	return path
}
