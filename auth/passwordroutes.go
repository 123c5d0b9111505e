package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/mail"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// requestPasswordReset mails a link to a new password. It is answered alike
// whether or not there is an account, and does its work apart from the answer.
func (a *Auth) requestPasswordReset(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Email      *string `json:"email"`
		RedirectTo string  `json:"redirectTo"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	address, err := required("email", body.Email)
	if err != nil {
		return err
	}
	if err := a.checkURL("redirectTo", body.RedirectTo); err != nil {
		return err
	}
	email, ok := NormalizeEmail(address)
	if !ok {
		return invalid("email", "this is no e-mail address")
	}
	if err := a.limitAddress(r, "password reset"); err != nil {
		return err
	}
	if err := a.captcha(r); err != nil {
		return err
	}
	may, err := a.mayWriteTo(r, email)
	if err != nil {
		return err
	}
	if may {
		target := body.RedirectTo
		if target == "" {
			target = resetPage
		}
		entry := a.entry(w, r, didAskForReset, "", "")
		a.apart(r, a.sending, aLetter, func(ctx context.Context) error { return a.mailReset(ctx, email, target, entry) })
	}
	writeJSON(w, http.StatusOK, struct {
		Status  bool   `json:"status"`
		Message string `json:"message"`
	}{true, "If this email exists in our system, check your email for the reset link"})
	return nil
}

// mailReset writes to who has an account, and records that somebody asked for it.
func (a *Auth) mailReset(ctx context.Context, email, target string, asked models.AuditEntry) error {
	user, _, found, err := a.store.UserByEmail(ctx, email)
	if err != nil || !found {
		return err
	}
	asked.UserID = user.ID
	a.recordRarely(ctx, asked)
	secret := models.NewSecret("")
	if err := a.store.AddVerification(ctx, kindReset, secret, &user.ID, nil, time.Now().UTC().Add(resetTTL)); err != nil {
		return err
	}
	return a.opts.Mail.Send(ctx, mail.ResetPassword(user.Email, a.link("reset-password/"+secret+"?", target)))
}

// resetPasswordLink is where the mailed link leads: on to the page that asks for
// the password.
func (a *Auth) resetPasswordLink(w http.ResponseWriter, r *http.Request) error {
	target := r.URL.Query().Get("callbackURL")
	if target == "" {
		target = resetPage
	}
	if err := a.checkURL("callbackURL", target); err != nil {
		return err
	}
	secret := lastPart(r)
	valid, err := a.store.HasVerification(r.Context(), kindReset, secret)
	if err != nil {
		return err
	}
	if !valid {
		return redirect(w, withQuery(target, "error", "INVALID_TOKEN"))
	}
	return redirect(w, withQuery(target, "token", secret))
}

// resetPassword sets a new password with a mailed link's token, once, and ends
// all sessions.
func (a *Auth) resetPassword(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		NewPassword *string `json:"newPassword"`
		Token       string  `json:"token"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	password, err := required("newPassword", body.NewPassword)
	if err != nil {
		return err
	}
	secret := body.Token
	if secret == "" {
		secret = r.URL.Query().Get("token")
	}
	if secret == "" {
		return invalidToken()
	}
	if err := a.passwords.check(password); err != nil {
		return err
	}
	if err := a.limitAddress(r, "password reset"); err != nil {
		return err
	}
	valid, err := a.store.HasVerification(r.Context(), kindReset, secret)
	if err != nil {
		return err
	}
	if !valid {
		return invalidToken()
	}
	hash, err := a.passwords.hash(r.Context(), password)
	if err != nil {
		return err
	}
	userID, found, err := a.store.ResetPassword(r.Context(), kindReset, secret, hash)
	if err != nil {
		return err
	}
	if !found {
		return invalidToken()
	}
	a.record(w, r, didReset, userID, "", nil)
	a.tellOfChange(r, userID)
	return done(w)
}

// changePassword sets another password of somebody who is signed in and knows
// the one they have.
func (a *Auth) changePassword(w http.ResponseWriter, r *http.Request) error {
	session, user, err := a.needUser(r)
	if err != nil {
		return err
	}
	var body struct {
		NewPassword         *string `json:"newPassword"`
		CurrentPassword     *string `json:"currentPassword"`
		RevokeOtherSessions bool    `json:"revokeOtherSessions"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	password, err := required("newPassword", body.NewPassword)
	if err != nil {
		return err
	}
	current, err := required("currentPassword", body.CurrentPassword)
	if err != nil {
		return err
	}
	if err := a.passwords.check(password); err != nil {
		return err
	}
	if len(current) > 4*maxPassword {
		return tooLong()
	}
	if err := a.take(r.Context(), "password of "+user.ID, ratelimit.PerMinute(a.opts.Rates.SignInAccount)); err != nil {
		return err
	}
	hash, err := a.store.PasswordHash(r.Context(), user.ID)
	if err != nil {
		return err
	}
	if hash == "" {
		return refuse(http.StatusBadRequest, "CREDENTIAL_ACCOUNT_NOT_FOUND", "Credential account not found")
	}
	if match, _, err := a.passwords.verify(r.Context(), current, hash); err != nil {
		return err
	} else if !match {
		a.recordRefusal(w, r, didChange, user.ID, session.ID)
		return invalidPassword()
	}
	if hash, err = a.passwords.hash(r.Context(), password); err != nil {
		return err
	}
	if err := a.store.SetPassword(r.Context(), user.ID, hash); err != nil {
		return err
	}
	a.record(w, r, didChange, user.ID, session.ID, nil)
	answer := signedUp{nil, shownUser(user)}
	if body.RevokeOtherSessions {
		if err := a.store.EndSessions(r.Context(), user.ID, session.ID); err != nil {
			return err
		}
		a.record(w, r, didRevokeOthers, user.ID, session.ID, nil)
		_, token, err := a.begin(w, r, user, session.Remembered)
		if err != nil {
			return err
		}
		answer.Token = &token
	}
	a.tellOfChange(r, user.ID)
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (a *Auth) tellOfChange(r *http.Request, userID string) {
	a.apart(r, a.sending, aLetter, func(ctx context.Context) error {
		user, found, err := a.store.User(ctx, userID)
		if err != nil || !found {
			return err
		}
		return a.opts.Mail.Send(ctx, mail.PasswordChanged(user.Email, a.opts.AppURL+appPage))
	})
}

// updateUser changes how a person is shown.
func (a *Auth) updateUser(w http.ResponseWriter, r *http.Request) error {
	session, err := a.need(r)
	if err != nil {
		return err
	}
	var body struct {
		Name  *string         `json:"name"`
		Image json.RawMessage `json:"image"`
		Email any             `json:"email"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	var image *string
	if body.Image != nil {
		// null removes it.
		image = new(string)
		if err := json.Unmarshal(body.Image, image); err != nil || !saneImage(*image) {
			return invalid("image", "expected an https address")
		}
	}
	switch {
	case body.Email != nil:
		return refuse(http.StatusBadRequest, "EMAIL_CAN_NOT_BE_UPDATED", "Email can not be updated")
	case body.Name == nil && image == nil:
		return refuse(http.StatusBadRequest, "NO_FIELDS_TO_UPDATE", "No fields to update")
	}
	if body.Name != nil {
		name, err := displayName(*body.Name)
		if err != nil {
			return err
		}
		body.Name = &name
	}
	if _, err := a.store.UpdateUser(r.Context(), session.UserID, body.Name, image); err != nil {
		return err
	}
	a.record(w, r, didChangeProfile, session.UserID, session.ID, nil)
	return done(w)
}
