package auth

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
)

// briefTTL is how long a session lives that its person did not want remembered.
const briefTTL = 24 * time.Hour

// Session implements api.Sessions: it gives the identity that the request's
// cookie speaks for. It does not look at where the request comes from; see Origins.
func (a *Auth) Session(r *http.Request) (models.Identity, bool, error) {
	session, found, err := a.session(r)
	if err != nil || !found {
		return models.Identity{}, false, err
	}
	return models.Identity{UserID: session.UserID, SessionID: session.ID, OrganizationID: session.OrganizationID}, true, nil
}

// session finds the one session that the request's cookies name. A page on a
// sibling host can add a cookie of a session of its own to a browser: over HTTPS
// that one is not bound to the browser, and of two that live none counts, rather
// than the wrong one.
func (a *Auth) session(r *http.Request) (models.Session, bool, error) {
	tokens := a.tokens(r)
	if len(tokens) == 0 {
		return models.Session{}, false, nil
	}
	sessions, err := a.store.SessionsByToken(r.Context(), tokens)
	if err != nil {
		return models.Session{}, false, err
	}
	if sessions = a.boundHere(r, sessions); len(sessions) != 1 {
		return models.Session{}, false, nil
	}
	return sessions[0], true, nil
}

// need is session for routes that are for somebody who is signed in.
func (a *Auth) need(r *http.Request) (models.Session, error) {
	session, found, err := a.session(r)
	if err == nil && !found {
		err = unauthorized()
	}
	return session, err
}

// needUser also reads who it is.
func (a *Auth) needUser(r *http.Request) (models.Session, models.User, error) {
	session, err := a.need(r)
	if err != nil {
		return session, models.User{}, err
	}
	user, found, err := a.store.User(r.Context(), session.UserID)
	if err == nil && !found {
		err = unauthorized()
	}
	return session, user, err
}

// begin signs a person in with a new token, whatever the browser had before,
// which ends: nobody who planted a token gets in with it.
func (a *Auth) begin(w http.ResponseWriter, r *http.Request, user models.User, remembered bool) (session models.Session, token string, err error) {
	before, err := a.store.SessionsByToken(r.Context(), a.tokens(r))
	if err != nil {
		return session, "", err
	}
	ttl, maxAge := a.opts.SessionTTL, a.opts.SessionTTL
	if !remembered {
		ttl, maxAge = min(ttl, briefTTL), 0
	}
	session, token, err = a.store.CreateSession(r.Context(), models.Session{
		UserID: user.ID, IPAddress: clientaddr.String(a.addresses.Of(r)), UserAgent: printable(r.UserAgent(), 256), Remembered: remembered, ExpiresAt: time.Now().UTC().Add(ttl),
	})
	if err != nil {
		return session, "", err
	}
	for _, old := range before {
		if _, err := a.store.EndSession(r.Context(), old.UserID, old.ID); err != nil {
			return session, "", err
		}
	}
	a.setSession(w, session, token, maxAge)
	a.markKnown(w, user.Email)
	return session, token, nil
}

// printable is text that others sent, fit to be kept and shown.
func printable(text string, most int) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, ""))
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most])
	}
	return text
}

// stamp is a time as the client reads it back.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// userBody is a user as the client knows one.
type userBody struct {
	ID            string  `json:"id"`
	Name          string  `json:"name"`
	Email         string  `json:"email"`
	EmailVerified bool    `json:"emailVerified"`
	Image         *string `json:"image"`
	CreatedAt     string  `json:"createdAt"`
	UpdatedAt     string  `json:"updatedAt"`
}

func shownUser(u models.User) userBody {
	body := userBody{ID: u.ID, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified, CreatedAt: stamp(u.CreatedAt), UpdatedAt: stamp(u.UpdatedAt)}
	if u.Image != "" {
		body.Image = &u.Image
	}
	return body
}

// sessionBody is a session as the client knows one. Its token is the session's
// id: it names the session to revoke-session, and signs nobody in.
type sessionBody struct {
	ID        string `json:"id"`
	Token     string `json:"token"`
	UserID    string `json:"userId"`
	IPAddress string `json:"ipAddress"`
	UserAgent string `json:"userAgent"`
	CreatedAt string `json:"createdAt"`
	UpdatedAt string `json:"updatedAt"`
	ExpiresAt string `json:"expiresAt"`
}

func shownSession(s models.Session) sessionBody {
	return sessionBody{
		ID: s.ID, Token: s.ID, UserID: s.UserID, IPAddress: s.IPAddress, UserAgent: s.UserAgent,
		CreatedAt: stamp(s.CreatedAt), UpdatedAt: stamp(s.UpdatedAt), ExpiresAt: stamp(s.ExpiresAt),
	}
}

// getSession says who is signed in, or null. A session that is used lives on: when
// a seventh of its life has passed it gets a whole one.
func (a *Auth) getSession(w http.ResponseWriter, r *http.Request) error {
	session, user, err := a.needUser(r)
	if isUnauthorized(err) {
		return a.nobody(w, r)
	}
	if err != nil {
		return err
	}
	session, err = a.renew(w, r, session)
	if isUnauthorized(err) {
		return a.nobody(w, r) // it has ended since it was read
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Session sessionBody `json:"session"`
		User    userBody    `json:"user"`
	}{shownSession(session), shownUser(user)})
	return nil
}

// nobody answers that nobody is signed in. A cookie that is of no use any more is
// removed; of several the one that is ours may go and the planted one stay.
func (a *Auth) nobody(w http.ResponseWriter, r *http.Request) error {
	if len(r.CookiesNamed(a.cookieName(SessionCookie))) == 1 {
		a.clearSession(w)
	}
	writeJSON(w, http.StatusOK, nil)
	return nil
}

func (a *Auth) renew(w http.ResponseWriter, r *http.Request, session models.Session) (models.Session, error) {
	ttl := a.opts.SessionTTL
	if !session.Remembered || time.Until(session.ExpiresAt) > ttl-ttl/7 || r.URL.Query().Get("disableRefresh") == "true" {
		return session, nil
	}
	renewed, found, err := a.store.RenewSession(r.Context(), session.ID, time.Now().UTC().Add(ttl))
	if err != nil {
		return session, err
	}
	if !found {
		return session, unauthorized()
	}
	for _, token := range a.signedCookies(r, SessionCookie) {
		if string(models.HashSecret(token)) == string(session.Hash) {
			a.setSession(w, session, token, ttl)
		}
	}
	return renewed, nil
}

func isUnauthorized(err error) bool {
	f, ok := err.(*failure) //nolint:errorlint // made by need, wrapped by nobody
	return ok && f.status == http.StatusUnauthorized
}

func (a *Auth) listSessions(w http.ResponseWriter, r *http.Request) error {
	session, err := a.need(r)
	if err != nil {
		return err
	}
	rows, err := a.store.ListSessions(r.Context(), session.UserID)
	if err != nil {
		return err
	}
	list := make([]sessionBody, len(rows))
	for i, row := range rows {
		list[i] = shownSession(row)
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

// revokeSession ends one session of the person's own, by its id or its token. One
// that is not theirs, or is none, is answered alike.
func (a *Auth) revokeSession(w http.ResponseWriter, r *http.Request) error {
	session, err := a.need(r)
	if err != nil {
		return err
	}
	var body struct {
		Token *string `json:"token"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	id, err := required("token", body.Token)
	if err != nil {
		return err
	}
	if !models.ValidID(models.PrefixSession, id) {
		named, err := a.store.SessionsByToken(r.Context(), []string{id})
		if err != nil {
			return err
		}
		id = ""
		for _, row := range named {
			id = row.ID
		}
	}
	ended, err := a.store.EndSession(r.Context(), session.UserID, id)
	if err != nil {
		return err
	}
	if ended {
		a.record(w, r, didRevoke, session.UserID, session.ID, models.AuditTargets{"sessionId": id})
	}
	if id == session.ID {
		a.clearSession(w)
	}
	return done(w)
}

func (a *Auth) revokeSessions(w http.ResponseWriter, r *http.Request) error {
	session, err := a.need(r)
	if err != nil {
		return err
	}
	if err := a.store.EndSessions(r.Context(), session.UserID, ""); err != nil {
		return err
	}
	a.record(w, r, didRevokeAll, session.UserID, session.ID, nil)
	a.clearSession(w)
	return done(w)
}

func (a *Auth) revokeOtherSessions(w http.ResponseWriter, r *http.Request) error {
	session, err := a.need(r)
	if err != nil {
		return err
	}
	if err := a.store.EndSessions(r.Context(), session.UserID, session.ID); err != nil {
		return err
	}
	a.record(w, r, didRevokeOthers, session.UserID, session.ID, nil)
	return done(w)
}

func done(w http.ResponseWriter) error {
	writeJSON(w, http.StatusOK, map[string]bool{"status": true})
	return nil
}

// signOut ends the sessions that the request's cookies name; nobody is one, too.
// Only the one that counts is recorded: another was planted, and whoever did that
// need not read from where.
func (a *Auth) signOut(w http.ResponseWriter, r *http.Request) error {
	own, _, err := a.session(r)
	if err != nil {
		return err
	}
	sessions, err := a.store.SessionsByToken(r.Context(), a.tokens(r))
	if err != nil {
		return err
	}
	for _, session := range sessions {
		ended, err := a.store.EndSession(context.WithoutCancel(r.Context()), session.UserID, session.ID)
		if err != nil {
			return err
		}
		if ended && session.ID == own.ID {
			a.record(w, r, didSignOut, session.UserID, session.ID, nil)
		}
	}
	a.clearSession(w)
	writeJSON(w, http.StatusOK, map[string]bool{"success": true})
	return nil
}
