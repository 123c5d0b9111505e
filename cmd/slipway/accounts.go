package main

import (
	"context"
	"encoding/hex"
	"path/filepath"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/mail"
	"github.com/slipwayhq/slipway/ratelimit"
)

// accounts know people and write to them.
type accounts struct {
	*auth.Auth
	letters mail.Sender
}

// SendInvitation is api.Mailer.
func (a *accounts) SendInvitation(ctx context.Context, m api.InvitationMail) error {
	return a.letters.Send(ctx, mail.Invitation(m.To, m.Organization, m.Inviter, string(m.Role), m.Link))
}

// people are the accounts of this process, made when first asked for: its roles
// share what bounds the work of passwords.
func (p *platform) people() (*accounts, error) {
	p.accountsMu.Lock()
	defer p.accountsMu.Unlock()
	if p.accounts != nil {
		return p.accounts, nil
	}
	c := p.config
	post := mail.Options{
		From: c.Mail.From, ResendKey: c.Mail.ResendKey, ResendURL: c.Mail.ResendURL,
		SMTPAddr: c.Mail.SMTPAddr, SMTPUser: c.Mail.SMTPUser, SMTPPassword: c.Mail.SMTPPassword, SMTPTLS: c.Mail.SMTPTLS,
		Dir: filepath.Join(c.DataDir, "mail"), Log: p.log,
	}
	letters, err := mail.New(post)
	if err != nil {
		return nil, err
	}
	secret := c.Auth.Secret
	if secret == "" {
		secret = hex.EncodeToString(p.key.Derive("sessions"))
	}
	known, err := auth.New(auth.Options{
		Store: p.store, Secret: secret, AppURL: c.AppURL(), TrustedOrigins: c.Origins(),
		SignUp: auth.SignUp(c.WhoSignsUp()), ConfirmEmail: post.Delivers(), SessionTTL: c.Auth.SessionTTL,
		GitHub:    auth.GitHub{ID: c.Auth.GitHubClientID, Secret: c.Auth.GitHubClientSecret, URL: c.Auth.GitHubURL, APIURL: c.Auth.GitHubAPIURL},
		Turnstile: auth.Turnstile{Secret: c.Auth.TurnstileSecret, SiteKey: c.Auth.TurnstileSiteKey, URL: c.Auth.TurnstileURL},
		Mail:      letters, Log: p.log, TrustedProxies: c.Auth.TrustedProxies,
		Limiter: ratelimit.NewShared(p.store), Rates: auth.Rates{SignInAccount: c.Rates.SignInAccount, SignInAddress: c.Rates.SignInAddress},
	})
	if err != nil {
		return nil, err
	}
	p.accounts = &accounts{known, letters}
	return p.accounts, nil
}
