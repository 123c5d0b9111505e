package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// activity is what the audit log has of an account, the oldest first.
func (s *service) activity(userID string) []models.AuditEntry {
	s.Helper()
	s.auth.Close()
	entries, err := s.store.AuditLog(s.Context(), models.AuditFilter{UserID: userID, OldestFirst: true, Limit: 1000})
	require.NoError(s, err)
	return entries
}

// told is an activity in short: "sign-out", "sign-in-with-email refused".
func told(entries []models.AuditEntry) []string {
	var list []string
	for _, e := range entries {
		line := e.Action
		if e.Outcome == models.AuditRefused {
			line += " refused"
		}
		list = append(list, line)
	}
	return list
}

func TestActivity_saysWhatWasDoneAboutAnAccountFromWhere(t *testing.T) {
	s := newService(t)
	laptop, phone := s.browser(), s.browser()
	user := laptop.signUp("ada@example.com")
	signUp := s.activity(user.ID)[0]
	require.Nil(t, signUp.OrganizationID)
	require.Equal(t, laptop.me().Session.ID, signUp.SessionID)
	require.Equal(t, models.AuditTargets{"created": user.ID}, signUp.Targets)
	require.Equal(t, "127.0.0.1", signUp.Address)
	require.Equal(t, "a browser", signUp.UserAgent)

	phone.header.Set("User-Agent", "evil\u202e"+strings.Repeat("é", 300))
	phone.signIn("ada@example.com", "not the password")
	require.Equal(t, http.StatusOK, phone.signIn("ada@example.com", goodPassword).StatusCode)
	of := phone.me().Session.ID
	laptop.post("revoke-session", map[string]any{"token": of})
	laptop.post("revoke-session", map[string]any{"token": of})
	laptop.post("revoke-other-sessions", nil)
	laptop.post("change-password", map[string]any{"currentPassword": "not the password", "newPassword": "the new password"})
	laptop.post("change-password", map[string]any{"currentPassword": goodPassword, "newPassword": "the new password", "revokeOtherSessions": true})
	laptop.post("update-user", map[string]any{"name": "Ada King"})
	laptop.post("request-password-reset", map[string]any{"email": "ada@example.com"})
	sent := s.lettersTo("ada@example.com")
	_, token, _ := strings.Cut(laptop.arrive(s.linkIn(sent[len(sent)-1])), "token=")
	require.Equal(t, http.StatusOK, phone.post("reset-password", map[string]any{"newPassword": goodPassword, "token": token}).StatusCode)
	phone.signIn("ada@example.com", goodPassword)
	phone.post("sign-out", nil)
	phone.post("sign-out", nil)
	phone.signIn("ada@example.com", goodPassword)
	phone.post("revoke-sessions", nil)

	entries := s.activity(user.ID)
	// What was tried is written apart, so its place among the others is not certain.
	require.ElementsMatch(t, []string{
		"sign-up-with-email", "sign-in-with-email refused", "sign-in-with-email", "revoke-session", "revoke-other-sessions",
		"change-password refused", "change-password", "revoke-other-sessions", "update-user", "request-password-reset", "reset-password",
		"sign-in-with-email", "sign-out", "sign-in-with-email", "revoke-sessions",
	}, told(entries))
	documented := map[string]bool{}
	for _, route := range describedRoutes() {
		documented[route.id] = true
	}
	for _, e := range entries {
		assert.True(t, documented[e.Action], e.Action)
		assert.NotContains(t, e.UserAgent, "\u202e")
		assert.LessOrEqual(t, len(e.UserAgent), 260)
		switch {
		case e.Outcome == models.AuditRefused:
			assert.Equal(t, models.CodeUnauthorized, e.Code)
		case e.Action == "revoke-session":
			assert.Equal(t, models.AuditTargets{"sessionId": of}, e.Targets)
		}
		for _, secret := range []string{goodPassword, token, "ada@example.com"} {
			for _, target := range e.Targets {
				assert.NotContains(t, target, secret)
			}
		}
	}
}

func TestActivity_ofConfirmingAndOfGitHub(t *testing.T) {
	hub := newFakeGitHub(t)
	hub.addresses = `[{"email":"ada@example.com","primary":true,"verified":true}]`
	s := newService(t, hub.configure, func(o *Options) { o.ConfirmEmail = true })
	b := s.browser()
	require.Equal(t, http.StatusOK, b.confirm("ada@example.com", goodPassword, b.ask("ada@example.com", goodPassword)).StatusCode)
	user := b.me().User
	require.Equal(t, []string{"verify-email", "sign-in-with-email"}, told(s.activity(user.ID)))

	require.Equal(t, appPage, b.arrive(b.leave(map[string]any{})))
	entries := s.activity(user.ID)
	require.Equal(t, "sign-in-callback", entries[2].Action)
	require.Equal(t, models.AuditTargets{"provider": "github", "linked": user.ID}, entries[2].Targets)
	require.Equal(t, b.me().Session.ID, entries[2].SessionID)
}

func TestActivity_isNotFloodedByStrangers(t *testing.T) {
	s := newService(t)
	user := s.browser().signUp("ada@example.com")
	began := time.Now()
	for range 20 {
		s.attempt("198.51.100.7", "ada@example.com", "guess")
		s.attempt("198.51.100.8", "ada@example.com", "guess")
		s.attempt("198.51.100.8", "nobody@example.com", "guess")
		s.browser().post("request-password-reset", map[string]any{"email": "ada@example.com"})
	}
	counts := map[string]int{}
	for _, line := range told(s.activity(user.ID)) {
		counts[line]++
	}
	most := 1 + int(time.Since(began)/attemptsEvery)
	require.Len(t, counts, 3, "%v", counts)
	require.Equal(t, 1, counts["sign-up-with-email"])
	for _, tried := range []string{"sign-in-with-email refused", "request-password-reset"} {
		require.Positive(t, counts[tried], tried)
		require.LessOrEqual(t, counts[tried], most, tried)
	}
	require.Empty(t, s.activity(""), "what is tried on no account is in no log")
}

// Whoever plants a session must not read in its account where it was.
func TestActivity_tellsNobodyFromWhereAPlantedSessionIsEnded(t *testing.T) {
	s := newService(t)
	mallory, ada := s.browser(), s.browser()
	evil := mallory.signUp("mallory@example.com")
	ada.signUp("ada@example.com")
	r := ada.request(mallory.sessionCookie())
	r.Method, r.URL.Path = http.MethodPost, Prefix+"sign-out"
	r.Header.Set("Origin", s.http.URL)
	w := httptest.NewRecorder()
	s.auth.Handler().ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, []string{"sign-up-with-email"}, told(s.activity(evil.ID)))
}

func TestActivity_thatCannotBeWrittenIsInTheLogInstead(t *testing.T) {
	s := newService(t)
	b := s.browser()
	user := b.signUp("ada@example.com")
	s.exec("ALTER TABLE audit_log RENAME TO audit_log_away")
	require.Equal(t, http.StatusOK, b.signIn("ada@example.com", goodPassword).StatusCode)
	require.NotNil(t, b.me())
	log := s.log.String()
	require.Contains(t, log, "could not be written")
	require.Contains(t, log, user.ID)
	require.Contains(t, log, "action=sign-in-with-email")
}
