package api

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/ratelimit"
)

// What pages of other origins may send and see (https://fetch.spec.whatwg.org/#http-cors-protocol).
var (
	corsMethods = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
	corsRequest = strings.Join([]string{
		"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", organizationHeader, requestIDHeader,
		"X-Captcha-Response",
	}, ", ")
	corsAnswer = strings.Join([]string{
		requestIDHeader, "ETag", "Location", "Retry-After", ratelimit.LimitHeader, ratelimit.RemainingHeader, ratelimit.ResetHeader, ratelimit.PolicyHeader,
	}, ", ")
)

// corsMaxAge is how long a browser need not ask again, in seconds: the most that
// Chromium honours.
const corsMaxAge = "7200"

// cors lets the pages of listed origins call the API, with their session's cookie
// too. Others get no such headers, so that browsers keep the answer from them.
func (s *Server) cors(c *gin.Context) {
	h := c.Writer.Header()
	h.Add("Vary", "Origin")
	origin := c.GetHeader("Origin")
	if origin == "" || !s.origins.Trusts(origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", corsAnswer)
	if c.Request.Method != http.MethodOptions || c.GetHeader("Access-Control-Request-Method") == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsRequest)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	c.AbortWithStatus(http.StatusNoContent)
}

// originsOf are the origins whose pages may call and act with a session.
func originsOf(opts Options) (*auth.Origins, error) {
	trusted := opts.Origins
	if trusted == nil {
		trusted = auth.LocalOrigins()
	}
	if opts.AppURL != "" {
		trusted = append(trusted[:len(trusted):len(trusted)], opts.AppURL)
	}
	return auth.NewOrigins(trusted)
}
