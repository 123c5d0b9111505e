package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Turnstile asks Cloudflare whether a person is there
// (https://developers.cloudflare.com/turnstile/get-started/server-side-validation/).
// It is on when Secret is set.
type Turnstile struct {
	Secret, SiteKey string
	// URL is where a token is verified.
	URL string
}

func (t Turnstile) siteKey() string {
	if t.Secret == "" {
		return ""
	}
	return t.SiteKey
}

// captcha lets a request pass whose header holds a token that Turnstile accepts,
// answering like better-auth's captcha plugin. A service that does not answer
// lets nobody pass.
func (a *Auth) captcha(r *http.Request) error {
	t := a.opts.Turnstile
	if t.Secret == "" {
		return nil
	}
	token := r.Header.Get("X-Captcha-Response")
	if token == "" || len(token) > 2048 { // what Turnstile gives is no longer
		return refuse(http.StatusBadRequest, "MISSING_RESPONSE", "Missing CAPTCHA response")
	}
	question := map[string]string{"secret": t.Secret, "response": token}
	if from := a.addresses.Of(r); from.IsValid() {
		question["remoteip"] = from.String()
	}
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := a.opts.Client.Do(req)
	if err != nil {
		return unknownCaptcha(err)
	}
	defer answer.Body.Close()
	var verdict struct {
		Success bool     `json:"success"`
		Errors  []string `json:"error-codes"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&verdict); err != nil {
		return unknownCaptcha(fmt.Errorf("%s: %w", answer.Status, err))
	}
	if !verdict.Success {
		a.log.WithField("reasons", verdict.Errors).Info("Turnstile refuses a sign-in")
		return refuse(http.StatusForbidden, "VERIFICATION_FAILED", "Captcha verification failed")
	}
	return nil
}

func unknownCaptcha(err error) error {
	return fmt.Errorf("ask Turnstile: %w: %w", refuse(http.StatusInternalServerError, "UNKNOWN_ERROR", "Something went wrong"), err)
}
