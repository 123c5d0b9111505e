package auth

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/slipwayhq/slipway/models"
)

// maxEmail is the longest address there is (RFC 5321 §4.5.3.1.3).
const maxEmail = 254

// NormalizeEmail gives the one form of an address: NFC, in lower case, the domain
// in ASCII, so that a domain of look-alike letters shows as what it is. ok is
// false for what is no address, or one whose spelling could pass for another's:
// invisible and control characters, quotes, compatibility forms of letters.
func NormalizeEmail(address string) (email string, ok bool) {
	if len(address) > maxEmail {
		return "", false
	}
	local, domain, ok := strings.Cut(norm.NFC.String(strings.ToLower(strings.Trim(address, " "))), "@")
	if !ok || !saneLocal(local) {
		return "", false
	}
	domain, err := idna.Lookup.ToASCII(domain)
	if err != nil || !saneDomain(domain) {
		return "", false
	}
	email = local + "@" + domain
	return email, len(local) <= 64 && len(email) <= maxEmail
}

// saneLocal takes dot-atoms (RFC 5322 §3.2.3, with the letters of RFC 6532).
func saneLocal(local string) bool {
	if local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") || norm.NFKC.String(local) != local {
		return false
	}
	for _, c := range local {
		switch {
		case c == unicode.ReplacementChar:
			return false
		case c < 0x80 && !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune(".!#$%&'*+/=?^_`{|}~-", c):
			return false
		case c >= 0x80 && !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c):
			return false
		}
	}
	return true
}

func saneDomain(domain string) bool {
	if domain == "" || len(domain) > 253 {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// displayName gives a person's name in the form that names are kept in; it may be
// empty.
func displayName(name string) (string, error) {
	if strings.TrimSpace(name) == "" {
		return "", nil
	}
	clean, err := models.CleanDisplayName(name)
	if err != nil {
		return "", invalid("name", models.MessageOf(err))
	}
	return clean, nil
}
