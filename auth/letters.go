package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/mail"
)

const (
	// maxLetters are sent at once; further ones are dropped, as only a flood asks
	// for so many.
	maxLetters     = 32
	lettersPerHour = 5
	// maxRecords are written apart at once, and apartTimeout bounds each work there.
	maxRecords   = 32
	apartTimeout = 20 * time.Second
)

// The pages that links lead to, unless a request names another.
const (
	appPage   = "/app"
	resetPage = "/app/reset-password"
	// signInPage takes confirmationToken, callbackURL and error in its query.
	signInPage = "/app/sign-in"
)

// send sends a letter apart from the answer, which so takes no longer when there
// is an account than when there is none.
func (a *Auth) send(r *http.Request, letter mail.Message) {
	a.apart(r, a.sending, aLetter, func(ctx context.Context) error { return a.opts.Mail.Send(ctx, letter) })
}

// aLetter names what is sent in our log.
const aLetter = "a letter"

// apart works apart from the answer, in one of the turns; what has none is dropped.
func (a *Auth) apart(r *http.Request, turns chan struct{}, what string, work func(ctx context.Context) error) {
	select {
	case turns <- struct{}{}:
	default:
		a.log.Warn(what + " was dropped, as too many are under way")
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), apartTimeout)
	a.working.Go(func() {
		defer func() { <-turns }()
		defer cancel()
		if err := work(ctx); err != nil {
			a.log.WithError(err).Error(what + " was not sent")
		}
	})
}
