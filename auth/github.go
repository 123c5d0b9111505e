package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/slipwayhq/slipway/models"
)

// GitHub signs people in by an OAuth app of GitHub, or of a GitHub Enterprise
// server; its callback is <AppURL>/api/auth/callback/github. It is on when ID and
// Secret are set.
type GitHub struct {
	ID, Secret string
	// URL is the site's, APIURL the API's.
	URL, APIURL string
}

func (g GitHub) on() bool { return g.ID != "" && g.Secret != "" }

func (a *Auth) oauth() *oauth2.Config {
	g := a.opts.GitHub
	site := strings.TrimRight(g.URL, "/")
	return &oauth2.Config{
		ClientID: g.ID, ClientSecret: g.Secret, RedirectURL: a.opts.AppURL + Prefix + "callback/github", Scopes: []string{"read:user", "user:email"},
		Endpoint: oauth2.Endpoint{AuthURL: site + "/login/oauth/authorize", TokenURL: site + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

// journey is what is kept while a person is at GitHub.
type journey struct {
	Verifier                            string
	CallbackURL, ErrorURL, NewPersonURL string
}

// signInSocial sends a person to GitHub with a state that only this browser can
// bring back, and a PKCE challenge (RFC 7636).
func (a *Auth) signInSocial(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Provider           *string `json:"provider"`
		CallbackURL        string  `json:"callbackURL"`
		ErrorCallbackURL   string  `json:"errorCallbackURL"`
		NewUserCallbackURL string  `json:"newUserCallbackURL"`
		DisableRedirect    bool    `json:"disableRedirect"`
		IDToken            any     `json:"idToken"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	provider, err := required("provider", body.Provider)
	if err != nil {
		return err
	}
	for field, target := range map[string]string{"callbackURL": body.CallbackURL, "errorCallbackURL": body.ErrorCallbackURL, "newUserCallbackURL": body.NewUserCallbackURL} {
		if err := a.checkURL(field, target); err != nil {
			return err
		}
	}
	if provider != models.ProviderGitHub || !a.opts.GitHub.on() {
		return refuse(http.StatusNotFound, "PROVIDER_NOT_FOUND", "Provider not found")
	}
	if body.IDToken != nil {
		return refuse(http.StatusNotFound, "ID_TOKEN_NOT_SUPPORTED", "id_token not supported")
	}
	if err := a.limitAddress(r, "sign-in elsewhere"); err != nil {
		return err
	}
	j := journey{Verifier: oauth2.GenerateVerifier(), CallbackURL: body.CallbackURL, ErrorURL: body.ErrorCallbackURL, NewPersonURL: body.NewUserCallbackURL}
	if j.CallbackURL == "" {
		j.CallbackURL = appPage
	}
	state := models.NewSecret("")
	if err := a.store.AddVerification(r.Context(), kindGitHub, state, nil, j, time.Now().UTC().Add(stateTTL)); err != nil {
		return err
	}
	a.setCookie(w, stateCookie, state, stateTTL)
	target := a.oauth().AuthCodeURL(state, oauth2.S256ChallengeOption(j.Verifier))
	if !body.DisableRedirect {
		w.Header().Set("Location", target)
	}
	writeJSON(w, http.StatusOK, struct {
		URL      string `json:"url"`
		Redirect bool   `json:"redirect"`
	}{target, !body.DisableRedirect})
	return nil
}

// callback is where GitHub sends people back to.
func (a *Auth) callback(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	errorURL := Prefix + "error"
	fail := func(code string) error { return redirect(w, withQuery(errorURL, "error", code)) }
	state := query.Get("state")
	if state == "" {
		return fail("state_not_found")
	}
	// Before the state is spent: a link with somebody else's state must not end
	// their journey, nor begin a session here.
	if !slices.Contains(a.signedCookies(r, stateCookie), state) {
		return fail("state_mismatch")
	}
	a.clearCookie(w, stateCookie)
	var j journey
	found, err := a.store.SpendVerification(r.Context(), kindGitHub, state, &j)
	if err != nil {
		return err
	}
	if !found {
		return fail("state_mismatch")
	}
	if j.ErrorURL != "" {
		errorURL = j.ErrorURL
	}
	switch {
	case lastPart(r) != models.ProviderGitHub || !a.opts.GitHub.on():
		return fail("oauth_provider_not_found")
	case query.Get("error") == "access_denied":
		return fail("access_denied")
	case query.Get("code") == "":
		return fail("no_code")
	}
	person, err := a.askGitHub(r.Context(), query.Get("code"), j.Verifier)
	if err != nil {
		a.log.WithError(err).Warn("GitHub did not say who signs in")
		return fail("unable_to_get_user_info")
	}
	if person.email == "" {
		return fail("email_not_found")
	}
	user, how, code, err := a.userOf(r.Context(), person)
	if err != nil {
		return err
	}
	if code != "" {
		a.recordRefusal(w, r, didComeBack, user.ID, "")
		return fail(code)
	}
	session, _, err := a.begin(w, r, user, true)
	if err != nil {
		return err
	}
	targets := models.AuditTargets{"provider": models.ProviderGitHub}
	switch how {
	case wayMade:
		targets["created"] = user.ID
	case wayLinked:
		targets["linked"] = user.ID
	}
	a.record(w, r, didComeBack, user.ID, session.ID, targets)
	if how == wayMade && j.NewPersonURL != "" {
		return redirect(w, j.NewPersonURL)
	}
	return redirect(w, j.CallbackURL)
}

// gitHubPerson is who GitHub says it is; email is their primary address, and
// only when GitHub has verified it.
type gitHubPerson struct{ id, name, image, email string }

func (a *Auth) askGitHub(ctx context.Context, code, verifier string) (gitHubPerson, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, a.opts.Client)
	token, err := a.oauth().Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return gitHubPerson{}, exchangeError(err)
	}
	var profile struct {
		ID        int64  `json:"id"`
		Login     string `json:"login"`
		Name      string `json:"name"`
		AvatarURL string `json:"avatar_url"`
	}
	if err := a.readGitHub(ctx, token, "/user", &profile); err != nil {
		return gitHubPerson{}, err
	}
	if profile.ID == 0 {
		return gitHubPerson{}, errors.New("the profile has no id")
	}
	var addresses []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if err := a.readGitHub(ctx, token, "/user/emails", &addresses); err != nil {
		return gitHubPerson{}, err
	}
	person := gitHubPerson{id: strconv.FormatInt(profile.ID, 10)}
	for _, name := range []string{profile.Name, profile.Login} {
		if shown, err := displayName(name); err == nil && shown != "" {
			person.name = shown
			break
		}
	}
	if saneImage(profile.AvatarURL) {
		person.image = profile.AvatarURL
	}
	for _, address := range addresses {
		if email, ok := NormalizeEmail(address.Email); ok && address.Primary && address.Verified {
			person.email = email
		}
	}
	return person, nil
}

// exchangeError leaves GitHub's answer out, which may repeat the code.
func exchangeError(err error) error {
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) {
		return fmt.Errorf("exchange the code: %s", printable(answered.ErrorCode, 64))
	}
	var dial *url.Error
	if errors.As(err, &dial) {
		return fmt.Errorf("exchange the code: %w", dial.Err)
	}
	return errors.New("exchange the code: the answer is no token")
}

func (a *Auth) readGitHub(ctx context.Context, token *oauth2.Token, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(a.opts.GitHub.APIURL, "/")+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("User-Agent", "slipway")
	token.SetAuthHeader(req)
	answer, err := a.opts.Client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// way is how a person at GitHub came to a user here.
type way int

const (
	wayKnown way = iota
	wayLinked
	wayMade
)

// userOf finds or makes the user of a person at GitHub. A user who signs in in
// another way is linked only when both sides have verified the address: else
// somebody who signed up with another's address would share the account.
func (a *Auth) userOf(ctx context.Context, p gitHubPerson) (user models.User, how way, code string, err error) {
	user, found, err := a.store.UserOfAccount(ctx, models.ProviderGitHub, p.id)
	if err != nil || found {
		return user, wayKnown, "", err
	}
	user, _, found, err = a.store.UserByEmail(ctx, p.email)
	if err != nil {
		return user, wayKnown, "", err
	}
	if found {
		if !user.EmailVerified {
			return user, wayKnown, "account_not_linked", nil
		}
		err = a.store.LinkAccount(ctx, user.ID, models.ProviderGitHub, p.id)
		if err != nil && models.CodeOf(err) == models.CodeConflict {
			return user, wayKnown, "unable_to_link_account", nil
		}
		return user, wayLinked, "", err
	}
	if err := a.maySignUp(ctx, p.email); err != nil {
		if isRefusal(err) {
			return user, wayKnown, "signup_disabled", nil
		}
		return user, wayKnown, "", err
	}
	user, err = a.store.CreateUser(ctx, models.NewUser{
		Email: p.email, EmailVerified: true, Name: p.name, Image: p.image, ProviderID: models.ProviderGitHub, AccountID: p.id,
		OrganizationName: organizationOf(p.name, p.email),
	})
	if err != nil && models.CodeOf(err) == models.CodeConflict {
		// The same person was made by another request a moment ago.
		return user, wayKnown, "unable_to_link_account", nil
	}
	return user, wayMade, "", err
}

func isRefusal(err error) bool {
	var f *failure
	return errors.As(err, &f)
}
