package auth

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// Origins tells requests that a page of ours made a browser send from those of
// other pages, tenants' sites among them, which may be on a sibling host. It is
// for requests that a cookie speaks for; a token is only sent by who has it.
type Origins struct {
	protection *http.CrossOriginProtection
	trusted    map[string]bool
	// anyPort are origins without their port, of which every port is trusted.
	anyPort map[string]bool
}

// anyPort ends an origin of which every port is meant.
const anyPort = ":*"

// LocalOrigins are those of this machine, on every port. Tenants' sites, on
// subdomains of localhost, are not among them.
func LocalOrigins() []string {
	return []string{"http://localhost" + anyPort, "http://127.0.0.1" + anyPort, "http://[::1]" + anyPort}
}

// NewOrigins trusts these origins besides the one a request itself goes to:
// "https://app.example.com", or "http://localhost:*" for every port of a host.
func NewOrigins(trusted []string) (*Origins, error) {
	o := &Origins{protection: http.NewCrossOriginProtection(), trusted: map[string]bool{}, anyPort: map[string]bool{}}
	for _, origin := range trusted {
		host, any := strings.CutSuffix(origin, anyPort)
		if err := o.protection.AddTrustedOrigin(host); err != nil {
			return nil, models.Errorf(models.CodeValidation, "%q is no origin; it looks like https://app.example.com.", origin)
		}
		o.trusted[host] = true
		if any {
			o.anyPort[host] = true
		}
	}
	return o, nil
}

// Trusts says whether an Origin header names one of the origins.
func (o *Origins) Trusts(origin string) bool {
	if o.trusted[origin] {
		return true
	}
	colon := strings.LastIndexByte(origin, ':')
	if colon < 0 || !o.anyPort[origin[:colon]] {
		return false
	}
	_, err := strconv.ParseUint(origin[colon+1:], 10, 16)
	return err == nil
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
	if o.Trusts(r.Header.Get("Origin")) {
		return nil
	}
	if err := o.protection.Check(r); err != nil {
		return models.Wrap(models.CodeCrossSite, err, "The request comes from another site's page. Sign in there, or let an operator add the page's origin to SLIPWAY_CORS_ORIGINS.")
	}
	return nil
}
