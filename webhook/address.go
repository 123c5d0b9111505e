package webhook

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox/egress"
)

// MaxURLBytes bounds the address of a webhook.
const MaxURLBytes = 2048

// shaMark is where a commit stands in the address of commit statuses.
const shaMark = "{sha}"

// Rules say which addresses webhooks may have. The zero value allows https to
// the public internet.
type Rules struct {
	// AllowPrivate exempts addresses from the refusal of private, loopback and
	// other special ranges, and from the need for https.
	AllowPrivate []netip.Prefix
	// Refuse are addresses that are never reached, exempt or not.
	Refuse []netip.Prefix
	// AllowHTTP allows http to everywhere, for development.
	AllowHTTP bool
}

// Check gives an address in the one form it is kept in, host in lower-case ASCII,
// or says what is wrong with it, in words that go on after "url". What a name
// resolves to is looked at whenever something is sent.
func (r Rules) Check(format models.WebhookFormat, address string) (canonical, problem string) {
	if len(address) > MaxURLBytes {
		return "", "must have at most " + strconv.Itoa(MaxURLBytes) + " bytes"
	}
	if strings.ContainsFunc(address, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\\' || c == 0xfffd }) {
		return "", "must have no spaces, backslashes or control characters"
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", "must be a URL such as https://example.com/hook"
	case u.Scheme != "https" && u.Scheme != "http", u.Opaque != "", u.Host == "":
		return "", "must begin with https:// and a host"
	case u.User != nil:
		return "", "must not contain a user or password"
	case u.Fragment != "" || strings.Contains(address, "#"):
		return "", "must have no fragment"
	}
	host, private, problem := r.checkHost(u.Hostname())
	if problem != "" {
		return "", problem
	}
	if u.Scheme == "http" && !private && !r.AllowHTTP {
		return "", "must begin with https://"
	}
	port, ok := checkPort(u)
	if !ok {
		return "", "must have a port from 1 to 65535, or none"
	}
	if format == models.WebhookGitHub && !strings.Contains(u.Path, "/"+shaMark) {
		return "", "must have " + shaMark + " where the commit goes, as in https://api.github.com/repos/OWNER/REPOSITORY/statuses/" + shaMark
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	u.Host = host + port
	if u.Path == "" {
		u.Path = "/"
	}
	canonical = u.String()
	if format == models.WebhookGitHub {
		canonical = strings.ReplaceAll(canonical, url.PathEscape(shaMark), shaMark)
	}
	return canonical, ""
}

// checkHost gives a host in lower-case ASCII. private says that it is an address
// the operator allows although it is private.
func (r Rules) checkHost(host string) (ascii string, private bool, problem string) {
	const notPublic = "must be reachable from the public internet"
	if address, err := netip.ParseAddr(host); err == nil {
		if r.exempt(address) {
			return address.Unmap().String(), true, ""
		}
		if r.dialer().Check(address) != nil {
			return "", false, notPublic
		}
		return address.Unmap().String(), false, ""
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err == nil {
		// There are names that become some that are none.
		_, err = idna.Lookup.ToASCII(ascii)
	}
	if err != nil || ascii == "" || len(ascii) > 253 {
		return "", false, "must have a valid host name (RFC 5890)"
	}
	if ascii == "localhost" || strings.HasSuffix(ascii, ".localhost") {
		if r.exempt(netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
			return ascii, true, ""
		}
		return "", false, notPublic
	}
	labels := strings.Split(ascii, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return "", false, "must have a valid host name, without a dot at its end"
		}
	}
	// The last label of a host name begins with a letter. What does not is read as
	// an address by many: 2130706433, 0x7f.1, 127.1 (WHATWG URL, IPv4 parser).
	if last := labels[len(labels)-1]; last[0] < 'a' || last[0] > 'z' {
		return "", false, "must have a host name, or an address in its usual form"
	}
	return ascii, false, ""
}

// exempt says whether the operator allows an address that is private.
func (r Rules) exempt(address netip.Addr) bool {
	for _, prefix := range r.AllowPrivate {
		if prefix.Contains(address.Unmap()) {
			return r.dialer().Check(address) == nil
		}
	}
	return false
}

func (r Rules) dialer() egress.Dialer {
	return egress.Dialer{AllowPrivate: r.AllowPrivate, Refuse: r.Refuse}
}

// checkPort gives ":port", or "" for the scheme's own.
func checkPort(u *url.URL) (port string, ok bool) {
	text := u.Port()
	if text == "" {
		return "", !strings.HasSuffix(u.Host, ":")
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return "", false
	}
	if number == 443 && u.Scheme == "https" || number == 80 && u.Scheme == "http" {
		return "", true
	}
	return ":" + strconv.FormatUint(number, 10), true
}
