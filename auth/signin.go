package auth

import (
	"net/http"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// signInEmail signs in with a password. An account that is not there, one
// without a password and a wrong password are answered alike and cost the same.
// With the token of a mailed link and the password of the sign-up that it was
// mailed for, it makes that account first.
func (a *Auth) signInEmail(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Email       *string `json:"email"`
		Password    *string `json:"password"`
		CallbackURL string  `json:"callbackURL"`
		RememberMe  *bool   `json:"rememberMe"`
		// ConfirmationToken is no field of better-auth's; its client passes it on.
		ConfirmationToken string `json:"confirmationToken"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	address, err := required("email", body.Email)
	if err != nil {
		return err
	}
	password, err := required("password", body.Password)
	if err != nil {
		return err
	}
	if err := a.checkURL("callbackURL", body.CallbackURL); err != nil {
		return err
	}
	email, ok := NormalizeEmail(address)
	if !ok {
		return invalidEmail()
	}
	if len(password) > 4*maxPassword {
		return tooLong()
	}
	if err := a.limitSignIn(r, email); err != nil {
		return err
	}
	if err := a.captcha(r); err != nil {
		return err
	}
	// Before the account: where another request has just made it, one of them is there.
	waiting, err := a.waiting(r.Context(), body.ConfirmationToken, email)
	if err != nil {
		return err
	}
	user, hash, found, err := a.store.UserByEmail(r.Context(), email)
	if err != nil {
		return err
	}
	if !found {
		hash = waiting.PasswordHash
	}
	match, stale, err := a.passwords.verify(r.Context(), password, hash)
	if err != nil {
		return err
	}
	if !match {
		a.log.WithField("from", a.network(r)).Info("a sign-in was refused")
		a.recordRefusal(w, r, didSignIn, user.ID, "")
		return invalidCredentials()
	}
	if !found {
		user, err = a.confirm(w, r, body.ConfirmationToken, waiting)
		if models.CodeOf(err) == models.CodeConflict {
			user, err = a.madeMeanwhile(r, email, password)
		}
		if err != nil {
			return err
		}
	}
	if stale {
		if err := a.rehash(r, user.ID, password); err != nil {
			return err
		}
	}
	session, token, err := a.begin(w, r, user, body.RememberMe == nil || *body.RememberMe)
	if err != nil {
		return err
	}
	a.record(w, r, didSignIn, user.ID, session.ID, nil)
	if body.CallbackURL != "" {
		w.Header().Set("Location", body.CallbackURL)
	}
	writeJSON(w, http.StatusOK, struct {
		Redirect bool     `json:"redirect"`
		Token    string   `json:"token"`
		URL      string   `json:"url,omitempty"`
		User     userBody `json:"user"`
	}{body.CallbackURL != "", token, body.CallbackURL, shownUser(user)})
	return nil
}

// madeMeanwhile is the account that an address got while a password was checked
// against its sign-up, if the password is that account's too: it may have come of
// another sign-up, or by GitHub.
func (a *Auth) madeMeanwhile(r *http.Request, email, password string) (models.User, error) {
	user, hash, found, err := a.store.UserByEmail(r.Context(), email)
	if err != nil {
		return user, err
	}
	match, _, err := a.passwords.verify(r.Context(), password, hash)
	if err == nil && !(found && match) {
		err = invalidCredentials()
	}
	return user, err
}

// rehash keeps a password at today's cost, now that it is known.
func (a *Auth) rehash(r *http.Request, userID, password string) error {
	hash, err := a.passwords.hash(r.Context(), password)
	if err != nil {
		return err
	}
	return a.store.SetPassword(r.Context(), userID, hash)
}

// limitSignIn bounds attempts from a network, on an account from a network, and
// on an account from everywhere. The second is what a guesser meets first, so
// that the owner of the account still gets in from elsewhere; the third, ten
// times as wide, is for one who has many addresses. It does not count where the
// owner has been signed in before: those browsers have a bound of their own.
func (a *Auth) limitSignIn(r *http.Request, email string) error {
	from := a.network(r)
	if err := a.take(r.Context(), "sign-in address "+from, ratelimit.PerMinute(a.opts.Rates.SignInAddress)); err != nil {
		return err
	}
	account := a.opaque(email)
	if known := a.knownAs(r, account); known != "" {
		return a.take(r.Context(), "sign-in browser "+known, ratelimit.PerMinute(a.opts.Rates.SignInAccount))
	}
	if err := a.take(r.Context(), "sign-in account "+account+" "+from, ratelimit.PerMinute(a.opts.Rates.SignInAccount)); err != nil {
		return err
	}
	return a.take(r.Context(), "sign-in account "+account, ratelimit.PerMinute(10*a.opts.Rates.SignInAccount))
}

// network is what a request comes from, as attempts are counted.
func (a *Auth) network(r *http.Request) string { return clientaddr.Network(a.addresses.Of(r)) }

// opaque names an address in the limiter's rows without giving it away.
func (a *Auth) opaque(email string) string { return a.signature("address " + email)[:22] }

// knownCookie says that somebody has signed in to an account in this browser; it
// signs nobody in.
const (
	knownCookie = "better-auth.known"
	knownTTL    = 365 * 24 * time.Hour
)

func (a *Auth) markKnown(w http.ResponseWriter, email string) {
	a.setCookie(w, knownCookie, a.opaque(email)+":"+models.NewSecret("")[:16], knownTTL)
}

// knownAs is the name of a browser that the account was signed in to, "" for one
// that it was not.
func (a *Auth) knownAs(r *http.Request, account string) string {
	for _, value := range a.signedCookies(r, knownCookie) {
		if name, ok := strings.CutPrefix(value, account+":"); ok {
			return name
		}
	}
	return ""
}

// limitAddress bounds what may be done without an account from a network.
func (a *Auth) limitAddress(r *http.Request, what string) error {
	return a.take(r.Context(), what+" address "+a.network(r), ratelimit.PerMinute(a.opts.Rates.SignInAddress))
}

// mayWriteTo bounds the letters that strangers can have sent to an address.
func (a *Auth) mayWriteTo(r *http.Request, email string) (bool, error) {
	err := a.take(r.Context(), "letters "+a.opaque(email), ratelimit.Limit{Count: lettersPerHour, Period: time.Hour})
	if f, ok := err.(*failure); ok && f.status == http.StatusTooManyRequests { //nolint:errorlint // made by take, wrapped by nobody
		return false, nil
	}
	return err == nil, err
}
