package api

import (
	"strings"

	"github.com/gin-gonic/gin"
)

// hsts is how long browsers that came by HTTPS once stay with it: a year, of this
// host alone. Tenants' hosts below it are the dispatcher's business.
const hsts = "max-age=31536000"

// headers are on every answer: nothing here is for caches, frames, guessing or
// running. The pages that people look at set a policy of their own.
func (s *Server) headers(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if strings.HasPrefix(s.opts.AppURL, "https://") {
		h.Set("Strict-Transport-Security", hsts)
	}
}
