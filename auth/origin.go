package auth

import (
	"net/http"

	"github.com/slipwayhq/slipway/models"
)

// Origins tells requests that a page of ours made a browser send from those of
// other pages, tenants' sites among them, which may be on a sibling host. It is
// for requests that a cookie speaks for; a token is only sent by who has it.
type Origins struct{ protection *http.CrossOriginProtection }

// NewOrigins trusts these origins ("https://app.example.com") besides the one a
// request itself goes to.
func NewOrigins(trusted []string) (*Origins, error) {
	protection := http.NewCrossOriginProtection()
	for _, origin := range trusted {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, models.Errorf(models.CodeValidation, "%q is no origin; it looks like https://app.example.com.", origin)
		}
	}
	return &Origins{protection}, nil
}

// Check lets a request pass that changes nothing by its method, or that comes
// from the same or a trusted origin by Sec-Fetch-Site or Origin, one of which
// every browser sends. Else CodeCrossSite.
func (o *Origins) Check(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return models.Errorf(models.CodeCrossSite, "A request with a session cookie must say where it comes from: send an Origin header, or use an API token.")
	}
	if err := o.protection.Check(r); err != nil {
		return models.Wrap(models.CodeCrossSite, err, "The request comes from another site's page. Sign in there, or let an operator add the page's origin to SLIPWAY_CORS_ORIGINS.")
	}
	return nil
}
