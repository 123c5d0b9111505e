package api

import (
	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/dashboard"
)

// registerDashboard serves the page for people. Which of its views an address
// means, the page itself decides.
func (s *Server) registerDashboard() error {
	page, err := dashboard.New(dashboard.Options{Turnstile: s.opts.Turnstile})
	if err != nil {
		return err
	}
	handler := gin.WrapH(page)
	s.engine.GET(dashboard.Root, handler)
	s.engine.GET(dashboard.Root+"/*view", handler)
	return nil
}
