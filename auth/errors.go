package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/ratelimit"
)

// failure is an answer that says no, as the client knows it: {code, message}.
type failure struct {
	status  int
	code    string
	message string
	// retryAfter is when to come again; 0 says nothing of it.
	retryAfter time.Duration
	// rate is what it was too much for, nil for what was not too much.
	rate *ratelimit.Decision
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func refuse(status int, code, message string) *failure {
	return &failure{status: status, code: code, message: message}
}

// The failures by their code. Code, status and message are those of better-auth
// where it has them.
func invalidEmail() error { return refuse(http.StatusBadRequest, "INVALID_EMAIL", "Invalid email") }
func invalidToken() error { return refuse(http.StatusBadRequest, "INVALID_TOKEN", "Invalid token") }
func invalidPassword() error {
	return refuse(http.StatusBadRequest, "INVALID_PASSWORD", "Invalid password")
}
func invalidCredentials() error {
	return refuse(http.StatusUnauthorized, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password")
}
func unauthorized() error { return refuse(http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized") }
func invalid(field, problem string) error {
	return refuse(http.StatusBadRequest, "VALIDATION_ERROR", "[body."+field+"] Invalid input: "+problem)
}
func busy() error {
	return &failure{http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "Too many people sign in at once. Try again in a few seconds.", 5 * time.Second, nil}
}

// writeError answers with the failure in err; what is none is ours and is logged.
func (a *Auth) writeError(w http.ResponseWriter, r *http.Request, err error) {
	f := a.failureOf(err)
	if f.status >= http.StatusInternalServerError && r.Context().Err() == nil {
		a.log.WithError(err).WithFields(map[string]any{"path": r.URL.Path, "request_id": w.Header().Get("X-Request-Id")}).Error("signing in fails on our side")
	}
	if f.rate != nil {
		f.rate.Show(w.Header())
	}
	if f.retryAfter > 0 {
		seconds := strconv.Itoa(int((f.retryAfter + time.Second - 1) / time.Second))
		w.Header().Set("Retry-After", seconds)
		w.Header().Set("X-Retry-After", seconds)
	}
	writeJSON(w, f.status, struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{f.code, f.message})
}

func (a *Auth) failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	switch code := models.CodeOf(err); code {
	case models.CodeDatabase:
		return &failure{http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", models.MessageOf(err), 5 * time.Second, nil}
	case models.CodeInternal:
		return refuse(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "Something went wrong on our side; the request id in the log says what.")
	default:
		return refuse(code.HTTPStatus(), string(code), models.MessageOf(err))
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
