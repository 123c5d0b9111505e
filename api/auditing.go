package api

import (
	"context"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
)

// auditTimeout bounds the writing of one entry.
const auditTimeout = 5 * time.Second

// unaudited are operations that write nothing anybody could miss: they ask, or
// bring content that means nothing until a deployment, which is recorded, names it.
var unaudited = map[string]bool{"missing-blobs": true, "put-blob": true}

// attempt is what becomes known of a request while it is answered, for the
// audit log. It belongs to one request and its goroutine.
type attempt struct {
	identity models.Identity
	known    bool
	code     models.Code
	targets  models.AuditTargets
	// organizationID is whose log it belongs in when that is not the identity's.
	organizationID     string
	address, userAgent string
}

// audit records every change that somebody who is known made, or was refused. It
// stands around authenticate, which finds out who that is. The entry is written
// before the answer is complete, so that who reads the log next finds it.
func (s *Server) audit(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if op.Method == http.MethodGet || op.Method == http.MethodHead || unaudited[op.OperationID] {
		next(ctx)
		return
	}
	c := humagin.Unwrap(ctx)
	a := &attempt{targets: models.AuditTargets{}, address: addressOf(c.Request), userAgent: c.Request.UserAgent()}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), attemptKey, a))
	next(ctx)
	outcome, record := outcomeOf(c.Writer.Status())
	if !a.known || !record {
		return
	}
	for _, p := range c.Params {
		if tellable(p.Key, p.Value) {
			a.targets[p.Key] = p.Value
		}
	}
	if created := path.Base(c.Writer.Header().Get("Location")); c.Writer.Status() == http.StatusCreated && tellable("", created) {
		a.targets["created"] = created
		if a.identity.OrganizationID == "" && models.ValidID(models.PrefixOrganization, created) {
			a.organizationID = created
		}
	}
	entry := models.AuditBy(a.identity, op.OperationID)
	entry.Outcome, entry.Targets, entry.UserAgent, entry.Address = outcome, a.targets, a.userAgent, a.address
	if outcome == models.AuditRefused {
		entry.Code = a.code
	}
	if a.organizationID != "" {
		entry.OrganizationID = &a.organizationID
	}
	entry.RequestID, _ = c.Request.Context().Value(requestIDKey).(string)
	s.appendAudit(c.Request.Context(), entry)
}

// appendAudit writes an entry although the caller may have left. The action is
// done by then: when the entry cannot be written the log gets all of it, and the
// answer stays what it is (docs/decisions/0195).
func (s *Server) appendAudit(ctx context.Context, entry models.AuditEntry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if err := s.opts.Store.AppendAudit(ctx, entry); err != nil {
		s.logOf(ctx).WithError(err).WithFields(entry.Fields()).Error("an entry of the audit log could not be written; this line is what there is of it")
	}
}

// outcomeOf says what a status means to the audit log. What was malformed or not
// found changed nothing and is nobody's overreach; what failed is logged.
func outcomeOf(status int) (outcome models.AuditOutcome, record bool) {
	switch {
	case status < http.StatusBadRequest:
		return models.AuditSucceeded, true
	case status == http.StatusForbidden:
		return models.AuditRefused, true
	}
	return "", false
}

var tellableID = regexp.MustCompile(`^[a-z]{3}_[a-z2-7]{26}$`)

// tellable says whether a path parameter may be kept: ids and host names, but no
// secrets of links and no codes.
func tellable(name, value string) bool {
	return tellableID.MatchString(value) || name == "host"
}

func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey).(*attempt)
	return a
}

// noteIdentity says who makes the attempt.
func noteIdentity(ctx context.Context, identity models.Identity) {
	if a := attemptOf(ctx); a != nil {
		a.identity, a.known = identity, true
	}
}

// noteCode says what the attempt failed with.
func noteCode(ctx context.Context, code models.Code) {
	if a := attemptOf(ctx); a != nil {
		a.code = code
	}
}

// noteTarget adds what the path does not say about what was done, such as the id
// of the deployment that came of it. Secrets do not belong there.
func noteTarget(ctx context.Context, name, value string) {
	if a := attemptOf(ctx); a != nil && value != "" {
		a.targets[name] = value
	}
}

// noteOrganization has the attempt recorded in the log of an organization that
// the request does not act in, such as one that is just being joined.
func noteOrganization(ctx context.Context, id string) {
	if a := attemptOf(ctx); a != nil {
		a.organizationID = id
	}
}

// addressOf is the client's address, as far as it can be known.
func addressOf(r *http.Request) string {
	if address := clientaddr.From(r.Context()); address.IsValid() {
		return address.String()
	}
	if address := (clientaddr.Finder{}).Of(r); address.IsValid() {
		return address.String()
	}
	return strings.TrimSpace(r.RemoteAddr)
}
