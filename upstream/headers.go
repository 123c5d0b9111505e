package upstream

import (
	"net/http"
	"strings"
)

// hopByHop says that a header is about one connection and is not passed on
// (RFC 9110 §7.6.1), or frames the message, which is ours to do.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info", "Content-Length", "Http2-Settings":
		return true
	}
	return false
}

// private says that a header is between the parts of the platform.
func private(name string) bool {
	return strings.HasPrefix(name, "X-Slipway-") || strings.HasPrefix(name, "X-Worker-")
}

// named are the headers that a Connection header declares hop-by-hop. It is nil
// for the usual values.
func named(values []string) (names []string) {
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			token = strings.Trim(token, " \t")
			switch {
			case token == "" || strings.EqualFold(token, "close") || strings.EqualFold(token, "keep-alive") || strings.EqualFold(token, "upgrade"):
			default:
				names = append(names, http.CanonicalHeaderKey(token))
			}
		}
	}
	return names
}

// hasToken looks for a token in a list header.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// tokenBytes are those of a method or a header's name (RFC 9110 §5.6.2).
var tokenBytes = func() (table [256]bool) {
	for c := range table {
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
			table[c] = true
		case strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0:
			table[c] = true
		}
	}
	return table
}()

func validToken(text string) bool {
	for i := 0; i < len(text); i++ {
		if !tokenBytes[text[i]] {
			return false
		}
	}
	return text != ""
}

// validValue accepts visible bytes, bytes beyond ASCII, spaces and tabs.
func validValue(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
