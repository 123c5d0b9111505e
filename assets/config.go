package assets

import "github.com/slipwayhq/slipway/models"

// HTMLHandling says at which path an HTML file answers.
// See https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/.
type HTMLHandling string

// The four modes. The first is the default.
const (
	AutoTrailingSlash  HTMLHandling = "auto-trailing-slash"
	ForceTrailingSlash HTMLHandling = "force-trailing-slash"
	DropTrailingSlash  HTMLHandling = "drop-trailing-slash"
	ExactHTML          HTMLHandling = "none"
)

// NotFoundHandling says what answers a path no file matches.
type NotFoundHandling string

// The three answers. The first is the default.
const (
	NotFoundNone NotFoundHandling = "none"
	// NotFoundPage serves the nearest 404.html, upwards from the path, with 404.
	NotFoundPage NotFoundHandling = "404-page"
	// NotFoundSPA serves /index.html with 200.
	NotFoundSPA NotFoundHandling = "single-page-application"
)

// Config is the part of a release's settings that changes how its files
// answer. The names are those of Cloudflare's `assets` configuration.
type Config struct {
	HTMLHandling     HTMLHandling     `json:"html_handling,omitempty"`
	NotFoundHandling NotFoundHandling `json:"not_found_handling,omitempty"`
}

// withDefaults fills what is empty and refuses what is unknown (CodeValidation).
func (c Config) withDefaults() (Config, error) {
	if c.HTMLHandling == "" {
		c.HTMLHandling = AutoTrailingSlash
	}
	if c.NotFoundHandling == "" {
		c.NotFoundHandling = NotFoundNone
	}
	switch c.HTMLHandling {
	case AutoTrailingSlash, ForceTrailingSlash, DropTrailingSlash, ExactHTML:
	default:
		return c, models.Errorf(models.CodeValidation,
			"html_handling must be auto-trailing-slash, force-trailing-slash, drop-trailing-slash or none, not %q", c.HTMLHandling)
	}
	switch c.NotFoundHandling {
	case NotFoundNone, NotFoundPage, NotFoundSPA:
	default:
		return c, models.Errorf(models.CodeValidation,
			"not_found_handling must be none, 404-page or single-page-application, not %q", c.NotFoundHandling)
	}
	return c, nil
}
