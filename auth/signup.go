package auth

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/mail"
	"github.com/slipwayhq/slipway/models"
)

// The kinds of verifications, and how long each proves something.
const (
	kindSignUp = "sign-up"
	kindReset  = "password-reset"
	kindGitHub = "github"

	signUpTTL = 24 * time.Hour
	resetTTL  = time.Hour
	stateTTL  = 10 * time.Minute
)

// pendingUser is a sign-up whose address is not confirmed yet.
type pendingUser struct {
	Email, Name, Image, PasswordHash string
}

// signUpEmail makes an account with a password. With Options.ConfirmEmail it only
// mails a link, with which and the password signing in does, and an address that
// has an account is answered alike; who brings the token of an invitation has the
// mail already.
func (a *Auth) signUpEmail(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name        *string `json:"name"`
		Email       *string `json:"email"`
		Password    *string `json:"password"`
		Image       string  `json:"image"`
		CallbackURL string  `json:"callbackURL"`
		RememberMe  *bool   `json:"rememberMe"`
		// InvitationToken is no field of better-auth's; its client passes it on.
		InvitationToken string `json:"invitationToken"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	user := pendingUser{Image: body.Image}
	password, err := a.signUpFields(&user, body.Name, body.Email, body.Password)
	if err != nil {
		return err
	}
	if err := a.checkURL("callbackURL", body.CallbackURL); err != nil {
		return err
	}
	if err := a.limitAddress(r, "sign-up"); err != nil {
		return err
	}
	if err := a.captcha(r); err != nil {
		return err
	}
	if err := a.maySignUp(r.Context(), user.Email); err != nil {
		return err
	}
	if user.PasswordHash, err = a.passwords.hash(r.Context(), password); err != nil {
		return err
	}
	verified := false
	if body.InvitationToken != "" {
		if verified, err = a.store.InvitedBy(r.Context(), body.InvitationToken, user.Email); err != nil {
			return err
		}
	}
	if a.opts.ConfirmEmail && !verified {
		return a.askToConfirm(w, r, user, body.CallbackURL)
	}
	made, err := a.makeUser(r.Context(), user, verified)
	if models.CodeOf(err) == models.CodeConflict {
		return refuse(http.StatusUnprocessableEntity, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", "User already exists. Use another email.")
	}
	if err != nil {
		return err
	}
	session, token, err := a.begin(w, r, made, body.RememberMe == nil || *body.RememberMe)
	if err != nil {
		return err
	}
	a.record(w, r, didSignUp, made.ID, session.ID, models.AuditTargets{"created": made.ID})
	a.send(r, mail.Welcome(made.Email, made.Name, a.opts.AppURL+appPage))
	writeJSON(w, http.StatusOK, signedUp{&token, shownUser(made)})
	return nil
}

type signedUp struct {
	Token *string  `json:"token"`
	User  userBody `json:"user"`
}

func (a *Auth) signUpFields(user *pendingUser, name, email, password *string) (string, error) {
	shown, err := required("name", name)
	if err != nil {
		return "", err
	}
	address, err := required("email", email)
	if err != nil {
		return "", err
	}
	secret, err := required("password", password)
	if err != nil {
		return "", err
	}
	var ok bool
	if user.Email, ok = NormalizeEmail(address); !ok {
		return "", invalid("email", "this is no e-mail address")
	}
	if user.Name, err = displayName(shown); err != nil {
		return "", err
	}
	if !saneImage(user.Image) {
		return "", invalid("image", "expected an https address")
	}
	return secret, a.passwords.check(secret)
}

// saneImage lets no script and no data in where a page shows a picture.
func saneImage(image string) bool {
	if image == "" {
		return true
	}
	u, err := url.Parse(image)
	return err == nil && len(image) <= 2048 && u.Scheme == "https" && u.Host != "" && printable(image, 2048) == image
}

// maySignUp says whether somebody with this address may make an account.
func (a *Auth) maySignUp(ctx context.Context, email string) error {
	switch a.opts.SignUp {
	case SignUpOpen:
		return nil
	case SignUpInvited:
		invited, err := a.store.Invited(ctx, email)
		if err == nil && !invited {
			err = refuse(http.StatusForbidden, "SIGN_UP_BY_INVITATION", "An account needs an invitation to this address. Ask somebody who is here.")
		}
		return err
	default:
		return refuse(http.StatusBadRequest, "EMAIL_PASSWORD_SIGN_UP_DISABLED", "Email and password sign up is not enabled")
	}
}

// makeUser makes the account with an organization of its own. CodeConflict when
// the address has one.
func (a *Auth) makeUser(ctx context.Context, p pendingUser, verified bool) (models.User, error) {
	return a.store.CreateUser(ctx, models.NewUser{
		Email: p.Email, EmailVerified: verified, Name: p.Name, Image: p.Image,
		ProviderID: models.ProviderCredential, PasswordHash: p.PasswordHash, OrganizationName: organizationOf(p.Name, p.Email),
	})
}

// organizationOf names a person's own organization.
func organizationOf(name, email string) string {
	if name == "" {
		name, _, _ = strings.Cut(email, "@")
	}
	return name
}

// askToConfirm mails the link that the account is made with, or to who has one that
// they have. The answer is the same.
func (a *Auth) askToConfirm(w http.ResponseWriter, r *http.Request, p pendingUser, callbackURL string) error {
	existing, _, found, err := a.store.UserByEmail(r.Context(), p.Email)
	if err != nil {
		return err
	}
	secret := models.NewSecret("")
	letter := mail.Confirm(p.Email, a.link("verify-email?token="+secret, callbackURL))
	if found {
		letter = mail.HaveAccount(p.Email, a.link("reset-password/"+secret+"?", resetPage))
		err = a.store.AddVerification(r.Context(), kindReset, secret, &existing.ID, nil, time.Now().UTC().Add(resetTTL))
	} else {
		err = a.store.AddVerification(r.Context(), kindSignUp, secret, nil, p, time.Now().UTC().Add(signUpTTL))
	}
	if err != nil {
		return err
	}
	if may, err := a.mayWriteTo(r, p.Email); err != nil {
		return err
	} else if may {
		a.send(r, letter)
	}
	now := time.Now()
	writeJSON(w, http.StatusOK, signedUp{nil, shownUser(models.User{
		ID: models.NewID(models.PrefixUser), Email: p.Email, Name: p.Name, Image: p.Image, CreatedAt: now, UpdatedAt: now,
	})})
	return nil
}

// link is an address of ours that goes on to callbackURL.
func (a *Auth) link(path, callbackURL string) string {
	link := a.opts.AppURL + Prefix + path
	if callbackURL == "" {
		return link
	}
	if !strings.HasSuffix(link, "?") {
		link += "&"
	}
	return link + "callbackURL=" + url.QueryEscape(callbackURL)
}

// verifyEmail leads on to where one signs in with the token of the mailed link. It
// makes no account: the link shows whose the address is, but not who chose the
// password.
func (a *Auth) verifyEmail(w http.ResponseWriter, r *http.Request) error {
	page := signInPage
	if target := r.URL.Query().Get("callbackURL"); target != "" {
		if err := a.checkURL("callbackURL", target); err != nil {
			return err
		}
		page = withQuery(page, "callbackURL", target)
	}
	secret := r.URL.Query().Get("token")
	valid, err := a.store.HasVerification(r.Context(), kindSignUp, secret)
	if err != nil {
		return err
	}
	if !valid {
		return redirect(w, withQuery(page, "error", "INVALID_TOKEN"))
	}
	return redirect(w, withQuery(page, "confirmationToken", secret))
}

// waiting is the sign-up of an address whose mailed link had the token; an empty
// one when there is none.
func (a *Auth) waiting(ctx context.Context, token, email string) (p pendingUser, err error) {
	if token == "" {
		return p, nil
	}
	found, err := a.store.ReadVerification(ctx, kindSignUp, token, &p)
	if err != nil || !found || p.Email != email {
		return pendingUser{}, err
	}
	return p, nil
}

// confirm makes the account of a sign-up for who has shown both its password and
// the mailed token. The token is spent after that: nothing is lost half-way, and
// where there is an account it is of no use. CodeConflict when there is one now.
func (a *Auth) confirm(w http.ResponseWriter, r *http.Request, token string, p pendingUser) (models.User, error) {
	made, err := a.makeUser(r.Context(), p, true)
	if err != nil {
		return made, err
	}
	if _, err := a.store.SpendVerification(r.Context(), kindSignUp, token, &p); err != nil {
		return made, err
	}
	a.record(w, r, didConfirm, made.ID, "", models.AuditTargets{"created": made.ID})
	a.send(r, mail.Welcome(made.Email, made.Name, a.opts.AppURL+appPage))
	return made, nil
}
