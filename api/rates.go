package api

import (
	"context"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/ratelimit"
)

// Rates bound requests; the zero Limit is no bound. Address and Status are
// counted by this process, they protect it; the others by all together.
type Rates struct {
	// Address is of everything that one client address sends.
	Address ratelimit.Limit
	// Status is of the public GET /deploy-status, by client address.
	Status ratelimit.Limit
	// Token is of one token or session.
	Token ratelimit.Limit
	// Deploy is of POST /deploy, by organization.
	Deploy ratelimit.Limit
	// Device is of POST /device/code, which anybody may call, by client address.
	Device ratelimit.Limit
}

// limiters are what counts.
type limiters struct {
	local   *ratelimit.Local
	shared  *ratelimit.Shared
	batched *ratelimit.Batched
}

func newLimiters(permits ratelimit.Permits) limiters {
	shared := ratelimit.NewShared(permits)
	return limiters{local: ratelimit.NewLocal(), shared: shared, batched: ratelimit.NewBatched(shared)}
}

// rateKey is where a request keeps the decision its headers tell of.
const rateKey = "rate"

// limitAddress bounds what one client sends, before anything is spent on finding
// out who it is.
func (s *Server) limitAddress(c *gin.Context) {
	s.take(c, s.limiters.local, "address "+clientNetwork(c.Request.Context()), s.opts.Rates.Address)
}

// limitCaller bounds what one token or session does, and the operations that
// have a bound of their own. It runs after authenticate.
func (s *Server) limitCaller(ctx huma.Context, next func(huma.Context)) {
	c := humagin.Unwrap(ctx)
	identity := identityOf(ctx.Context())
	if by := identity.TokenID + identity.SessionID; by != "" && !s.take(c, s.limiters.batched, "caller "+by, s.opts.Rates.Token) {
		return
	}
	rates, passes := s.opts.Rates, true
	switch ctx.Operation().OperationID {
	case "deploy":
		passes = s.take(c, s.limiters.shared, "deploy "+identity.OrganizationID, rates.Deploy)
	case "deploy-status":
		passes = s.take(c, s.limiters.local, "status "+clientNetwork(ctx.Context()), rates.Status)
	case "create-device-code":
		passes = s.take(c, s.limiters.shared, "device "+clientNetwork(ctx.Context()), rates.Device)
	}
	if passes {
		next(ctx)
	}
}

// take asks a limiter, tells the client of the one with the least left where several
// apply, and answers those who come too often. A
// limiter that cannot tell lets pass: what the request needs of the database will
// say so itself.
func (s *Server) take(c *gin.Context, limiter ratelimit.Limiter, key string, limit ratelimit.Limit) bool {
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.opts.Limits.AnswerTimeout)
	defer cancel()
	decision, err := limiter.Take(ctx, key, limit)
	if err != nil {
		s.logOf(ctx).WithError(err).Warn("rate not counted")
		return true
	}
	if limit.Unbounded() {
		return true
	}
	if before, ok := c.Get(rateKey); !ok || !decision.Allowed || decision.Remaining < before.(ratelimit.Decision).Remaining {
		c.Set(rateKey, decision)
		decision.Show(c.Writer.Header())
	}
	if err := decision.Err(); err != nil {
		s.writeError(c, err)
		return false
	}
	return true
}

// clientNetwork is what one client can be taken to have; see clientaddr.
func clientNetwork(ctx context.Context) string { return clientaddr.Network(clientaddr.From(ctx)) }

// addresses finds the client's address once for all who need it.
func (s *Server) addresses(c *gin.Context) { c.Request = s.opts.Addresses.In(c.Request) }

// retryAfter is the Retry-After of an answer with CodeRateLimited: what its
// details say, else a second.
func retryAfter(e *Error) string {
	if details, ok := e.Details.(map[string]any); ok {
		if seconds, ok := details[ratelimit.RetryAfterDetail].(int); ok {
			return strconv.Itoa(max(seconds, 1))
		}
	}
	return "1"
}
