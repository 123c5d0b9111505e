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
	letterTimeout  = 20 * time.Second
)

// The pages that links lead to, unless a request names another.
const (
	appPage   = "/app"
	resetPage = "/app/reset-password"
)

// send sends a letter apart from the answer, which so takes no longer when there
// is an account than when there is none.
func (a *Auth) send(r *http.Request, letter mail.Message) {
	a.apart(r, func(ctx context.Context) error { return a.opts.Mail.Send(ctx, letter) })
}

func (a *Auth) apart(r *http.Request, work func(ctx context.Context) error) {
	select {
	case a.sending <- struct{}{}:
	default:
		a.log.Warn("a letter was dropped, as too many are being sent")
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), letterTimeout)
	a.letters.Go(func() {
		defer func() { <-a.sending }()
		defer cancel()
		if err := work(ctx); err != nil {
			a.log.WithError(err).Error("a letter was not sent")
		}
	})
}
