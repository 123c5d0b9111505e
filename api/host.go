package api

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// checkHost gives a custom domain in the form routes are kept in, lower-case
// ASCII (punycode), or says what is wrong with it. platform is the domain that
// workers answer under, which nobody can have.
func checkHost(host, platform string) (ascii, problem string) {
	if strings.ContainsAny(host, "/:@?#%* ") {
		return "", "must be a host name alone, such as example.com: no scheme, port, path or wildcard"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", "must be a host name, not an address"
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil || len(ascii) > 253 {
		return "", "must be a valid host name (RFC 5890)"
	}
	labels := strings.Split(ascii, ".")
	if len(labels) < 2 {
		return "", "must have at least two labels, such as example.com"
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return "", "must have labels of 1 to 63 characters"
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		// The last label of a host name is never all digits (RFC 3696 §2); such
		// names are read as addresses.
		return "", "must be a host name, not an address"
	}
	for _, own := range []string{platform, "localhost"} {
		if own != "" && (ascii == own || strings.HasSuffix(ascii, "."+own)) {
			return "", "belongs to the platform; use a domain of your own"
		}
	}
	return ascii, ""
}
