package api

import (
	"context"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/models"
)

// attendance looks again, while a stream of a project goes on, at whether whom it
// is for may still have it. It belongs to one goroutine.
type attendance struct {
	server    *Server
	c         *gin.Context
	operation string
	projectID string
	watcher   *changeWatcher
	checked   time.Time
}

// attend begins to look; leave ends it.
func (s *Server) attend(ctx context.Context, c *gin.Context, operation, projectID string) (a *attendance, leave func()) {
	watcher, leave := s.changes.watch(identityOf(ctx).OrganizationID, "")
	return &attendance{server: s, c: c, operation: operation, projectID: projectID, watcher: watcher, checked: time.Now()}, leave
}

// over says whether the stream must end. It asks the database when rights may
// have changed, and once every heartbeat; else it costs nothing.
func (a *attendance) over(ctx context.Context) bool {
	look := time.Since(a.checked) >= heartbeat
	select {
	case <-a.watcher.woken:
		changes, missed, rights := a.server.changes.news(a.watcher)
		look = look || missed || rights || slices.ContainsFunc(changes, func(c models.Change) bool {
			return c.Type == "project" && c.ID == a.projectID
		})
	default:
	}
	if !look {
		return false
	}
	a.checked = time.Now()
	return !a.server.mayStillFollow(ctx, a.c, a.operation, a.projectID)
}

// mayStillFollow looks again at who is there: a session may have been ended, a
// token revoked, a member removed, and the project, unless it is "", deleted or
// transferred. A database that is away ends nothing.
func (s *Server) mayStillFollow(ctx context.Context, c *gin.Context, operation, projectID string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rule := permissions[operation]
	identity, err := s.identifyAgain(ctx, c)
	if err == nil {
		err = rule.check(identity)
	}
	if err == nil && projectID != "" {
		_, err = s.opts.Store.Project(ctx, identity.OrganizationID, projectID)
	}
	return err == nil || models.CodeOf(err).Class() == models.ClassPlatform
}

// identifyAgain is identify for a request that has been let in. It stays in the
// organization that it was let into, wherever the session has gone since.
func (s *Server) identifyAgain(ctx context.Context, c *gin.Context) (models.Identity, error) {
	was := identityOf(ctx)
	if secret, ok := bearerToken(c.GetHeader("Authorization")); ok {
		return s.opts.Store.Authenticate(ctx, secret)
	}
	identity, found, err := s.opts.Sessions.Session(c.Request.WithContext(ctx))
	if err != nil {
		return identity, err
	}
	if !found || identity.UserID != was.UserID {
		return identity, models.Errorf(models.CodeUnauthorized, "The session has ended.")
	}
	membership, err := s.opts.Store.MembershipOf(ctx, identity.UserID, was.OrganizationID, "")
	identity.OrganizationID, identity.Role, identity.Scope = membership.OrganizationID, membership.Role, models.ScopeAdmin
	return identity, err
}
