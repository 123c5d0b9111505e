// Package auth knows people: accounts, passwords, sessions, and signing in with
// another provider. Its routes below /api/auth speak the wire format of the
// better-auth client (https://www.better-auth.com/docs).
package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/sirupsen/logrus"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/mail"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// SessionCookie holds the session's token; over HTTPS its name begins with __Secure-.
const SessionCookie = "better-auth.session_token"

// Prefix is the path that all routes are below.
const Prefix = "/api/auth/"

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// SignUp says who may make an account.
type SignUp string

// Who may make an account.
const (
	SignUpOpen SignUp = "open"
	// SignUpInvited asks for an invitation to the address.
	SignUpInvited SignUp = "invited"
	SignUpClosed  SignUp = "closed"
)

// Options are what an Auth needs. Store, Secret, AppURL and Mail are required.
type Options struct {
	Store *models.Store
	// Secret signs cookies; all processes of an installation need the same.
	Secret string
	// AppURL is where people reach the service, without a slash at the end. With
	// https cookies are Secure.
	AppURL string
	// TrustedOrigins are pages, besides the one a request goes to, that may act for
	// people and that they may be sent back to.
	TrustedOrigins []string
	// SignUp is SignUpInvited when empty.
	SignUp SignUp
	// ConfirmEmail makes an account only when a link mailed to its address was
	// followed, so that a sign-up tells nothing about who has an account. It needs a
	// Mail that delivers.
	ConfirmEmail bool
	// SessionTTL is how long a session lives that is not used; 7 days.
	SessionTTL time.Duration

	GitHub    GitHub
	Turnstile Turnstile
	Mail      mail.Sender
	// Log is the standard logger when nil. It gets no passwords, tokens or links.
	Log logrus.FieldLogger
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Limiter bounds attempts; nil bounds none.
	Limiter ratelimit.Limiter
	Rates   Rates
	// PasswordCost is what hashing a password costs; nil is 19 MiB and two passes.
	PasswordCost *argon2id.Params
	// Client calls GitHub and Turnstile; nil is one with a timeout of 10 s.
	Client *http.Client
}

// Rates bound attempts per minute; 0 is no bound.
type Rates struct {
	// SignInAccount is of attempts on one account from one network.
	SignInAccount int
	// SignInAddress is of attempts from one network.
	SignInAddress int
}

// Auth answers below /api/auth/ and knows who a session is. Safe for concurrent use.
type Auth struct {
	opts      Options
	store     *models.Store
	log       logrus.FieldLogger
	secret    []byte
	secure    bool
	protect   *Origins
	origins   []string
	addresses clientaddr.Finder
	passwords *passwords
	routes    map[string]route
	// Letters and what strangers try are worked on apart from the answer, which must
	// not take longer when there is an account; Close waits for them.
	working            sync.WaitGroup
	sending, recording chan struct{}
}

// handler answers a request, or says with which error it is to be answered.
type handler func(w http.ResponseWriter, r *http.Request) error

type route struct {
	method string
	handle handler
}

// New makes an Auth.
func New(opts Options) (*Auth, error) {
	if opts.Store == nil || opts.Secret == "" || opts.AppURL == "" || opts.Mail == nil {
		return nil, errors.New("auth: Store, Secret, AppURL and Mail are required")
	}
	app, err := url.Parse(opts.AppURL)
	if err != nil {
		return nil, models.Errorf(models.CodeValidation, "NEXT_PUBLIC_APP_URL is no address.")
	}
	if opts.Log == nil {
		opts.Log = logrus.StandardLogger()
	}
	if opts.SignUp == "" {
		opts.SignUp = SignUpInvited
	}
	if opts.SessionTTL <= 0 {
		opts.SessionTTL = 7 * 24 * time.Hour
	}
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: 10 * time.Second}
	}
	trusted := append([]string{originOf(app)}, opts.TrustedOrigins...)
	protect, err := NewOrigins(trusted)
	if err != nil {
		return nil, err
	}
	hashing, err := newPasswords(opts.PasswordCost)
	if err != nil {
		return nil, err
	}
	a := &Auth{
		opts: opts, store: opts.Store, log: opts.Log, secret: []byte(opts.Secret), secure: app.Scheme == "https",
		protect: protect, origins: trusted, passwords: hashing, addresses: clientaddr.New(opts.TrustedProxies),
		sending: make(chan struct{}, maxLetters), recording: make(chan struct{}, maxRecords),
	}
	a.routes = a.table()
	return a, nil
}

// Close waits for letters that are still being sent, and entries being written.
func (a *Auth) Close() { a.working.Wait() }

// table is every route by its path below Prefix; a path that ends with a slash
// has one more part.
func (a *Auth) table() map[string]route {
	return map[string]route{
		"ok":                     {http.MethodGet, a.ok},
		"config":                 {http.MethodGet, a.config},
		"error":                  {http.MethodGet, a.errorPage},
		"sign-up/email":          {http.MethodPost, a.signUpEmail},
		"verify-email":           {http.MethodGet, a.verifyEmail},
		"sign-in/email":          {http.MethodPost, a.signInEmail},
		"sign-in/social":         {http.MethodPost, a.signInSocial},
		"callback/":              {http.MethodGet, a.callback},
		"sign-out":               {http.MethodPost, a.signOut},
		"get-session":            {http.MethodGet, a.getSession},
		"list-sessions":          {http.MethodGet, a.listSessions},
		"revoke-session":         {http.MethodPost, a.revokeSession},
		"revoke-sessions":        {http.MethodPost, a.revokeSessions},
		"revoke-other-sessions":  {http.MethodPost, a.revokeOtherSessions},
		"change-password":        {http.MethodPost, a.changePassword},
		"request-password-reset": {http.MethodPost, a.requestPasswordReset},
		"forget-password":        {http.MethodPost, a.requestPasswordReset},
		"reset-password":         {http.MethodPost, a.resetPassword},
		"reset-password/":        {http.MethodGet, a.resetPasswordLink},
		"update-user":            {http.MethodPost, a.updateUser},
	}
}

// Handler answers everything below Prefix.
func (a *Auth) Handler() http.Handler { return http.HandlerFunc(a.serve) }

func (a *Auth) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	route, ok := a.route(r.URL.Path)
	switch {
	case !ok:
		a.writeError(w, r, refuse(http.StatusNotFound, "NOT_FOUND", "There is no such route below "+Prefix+"."))
	case r.Method != route.method:
		header.Set("Allow", route.method)
		a.writeError(w, r, refuse(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "This route answers "+route.method+"."))
	default:
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		err := a.checkOrigin(r)
		if err == nil {
			err = route.handle(w, r)
		}
		if err != nil {
			a.writeError(w, r, err)
		}
	}
}

func (a *Auth) route(path string) (route, bool) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok || strings.HasSuffix(rest, "/") {
		return route{}, false
	}
	if found, ok := a.routes[rest]; ok {
		return found, true
	}
	at := strings.IndexByte(rest, '/')
	if at < 0 || strings.Contains(rest[at+1:], "/") {
		return route{}, false
	}
	found, ok := a.routes[rest[:at+1]]
	return found, ok
}

// lastPart is what follows the path of a route that ends with a slash.
func lastPart(r *http.Request) string {
	return r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
}

// checkOrigin refuses what another site's page made a browser send, to sign in
// as well: a person who is signed in to a stranger's account gives the stranger
// what they do. Every browser says where such a request comes from; what brings
// neither that nor a cookie is no browser.
func (a *Auth) checkOrigin(r *http.Request) error {
	if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Cookie") == "" {
		return nil
	}
	err := a.protect.Check(r)
	switch origin := r.Header.Get("Origin"); {
	case err == nil:
		return nil
	case origin == "" || origin == "null":
		return refuse(http.StatusForbidden, "MISSING_OR_NULL_ORIGIN", "Missing or null Origin")
	default:
		return refuse(http.StatusForbidden, "INVALID_ORIGIN", "Invalid origin")
	}
}

func (a *Auth) ok(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	return nil
}

// config tells a page how people sign in here.
func (a *Auth) config(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, struct {
		SignUp           SignUp `json:"signUp"`
		ConfirmEmail     bool   `json:"confirmEmail"`
		GitHub           bool   `json:"github"`
		TurnstileSiteKey string `json:"turnstileSiteKey,omitempty"`
	}{a.opts.SignUp, a.opts.ConfirmEmail, a.opts.GitHub.on(), a.opts.Turnstile.siteKey()})
	return nil
}

// errorPage is where a sign-in elsewhere ends that went wrong before it could be
// told where to go back to.
func (a *Auth) errorPage(w http.ResponseWriter, r *http.Request) error {
	code := r.URL.Query().Get("error")
	if code == "" || len(code) > 64 || strings.ContainsFunc(code, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	}) {
		code = "unknown"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusBadRequest)
	_, err := w.Write([]byte("Signing in did not work (" + code + "). Go back and try again.\n"))
	if err != nil {
		a.log.WithError(err).Debug("the error page was not read")
	}
	return nil
}

// take counts one attempt of key, which may happen so often a minute.
func (a *Auth) take(ctx context.Context, key string, limit ratelimit.Limit) error {
	if a.opts.Limiter == nil || limit.Unbounded() {
		return nil
	}
	decision, err := a.opts.Limiter.Take(ctx, key, limit)
	if err != nil {
		return err
	}
	if !decision.Allowed {
		return &failure{http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Too many requests. Please try again later.", decision.RetryAfter, &decision}
	}
	return nil
}
