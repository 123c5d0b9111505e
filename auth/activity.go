package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
)

// What the audit log calls what is done about an account: the operations, by their
// ids in the API's document.
const (
	didSignUp        = "sign-up-with-email"
	didConfirm       = "verify-email"
	didSignIn        = "sign-in-with-email"
	didComeBack      = "sign-in-callback"
	didSignOut       = "sign-out"
	didRevoke        = "revoke-session"
	didRevokeAll     = "revoke-sessions"
	didRevokeOthers  = "revoke-other-sessions"
	didChange        = "change-password"
	didAskForReset   = "request-password-reset"
	didReset         = "reset-password"
	didChangeProfile = "update-user"
)

const (
	recordTimeout = 5 * time.Second
	// attemptsEvery is how often attempts on one account are recorded, however many
	// there are; the log tells that an account is tried, the rates bound how often.
	attemptsEvery = time.Minute
)

// record adds what somebody did about their account to the audit log, before the
// answer and although the caller may have left. It is done by then: when the entry
// cannot be written our log gets all of it (docs/decisions/0195).
func (a *Auth) record(w http.ResponseWriter, r *http.Request, action, userID, sessionID string, targets models.AuditTargets) {
	entry := a.entry(w, r, action, userID, sessionID)
	entry.Targets = targets
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTimeout)
	defer cancel()
	if err := a.store.AppendAudit(ctx, entry); err != nil {
		a.unwritten(entry, err)
	}
}

// recordRefusal adds that somebody could not do what they tried on an account.
// Nobody learns from the time of the answer whether there is one: it is written
// apart, and nothing is where userID is "".
func (a *Auth) recordRefusal(w http.ResponseWriter, r *http.Request, action, userID, sessionID string) {
	entry := a.entry(w, r, action, userID, sessionID)
	entry.Outcome, entry.Code = models.AuditRefused, models.CodeUnauthorized
	a.apart(r, a.recording, "an entry of the audit log", func(ctx context.Context) error {
		a.recordRarely(ctx, entry)
		return nil
	})
}

// recordRarely is for what strangers can cause on an account; none is "".
func (a *Auth) recordRarely(ctx context.Context, entry models.AuditEntry) {
	if entry.UserID == "" {
		return
	}
	if err := a.store.AppendAuditRarely(ctx, entry, attemptsEvery); err != nil {
		a.unwritten(entry, err)
	}
}

// entry is of something that is done now; the answer has its request's id.
func (a *Auth) entry(w http.ResponseWriter, r *http.Request, action, userID, sessionID string) models.AuditEntry {
	entry := models.AuditBy(models.Identity{UserID: userID, SessionID: sessionID}, action)
	entry.Address, entry.UserAgent, entry.RequestID = clientaddr.String(a.addresses.Of(r)), r.UserAgent(), w.Header().Get("X-Request-Id")
	return entry
}

func (a *Auth) unwritten(entry models.AuditEntry, err error) {
	a.log.WithError(err).WithFields(entry.Fields()).Error("an entry of the audit log could not be written; this line is what there is of it")
}
