package upstream

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// appendRequest writes the request's head. upgrade is the protocol to switch to,
// or empty; length is the body's, 0 for none and -1 for a chunked one.
func appendRequest(out []byte, r *http.Request, f *Forwarding, upgrade string, length int64) []byte {
	out = append(out, r.Method...)
	out = append(out, ' ')
	out = appendTarget(out, f.Target)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, f.Host...)
	out = append(out, '\r', '\n')
	connection := named(r.Header["Connection"])
	for name, values := range r.Header {
		if hopByHop(name) || private(name) || name == "Host" || slices.Contains(f.Drop, name) || slices.Contains(connection, name) || sets(f.Set, name) {
			continue
		}
		if name == "Expect" && length == 0 {
			continue // nothing to be continued
		}
		for _, value := range values {
			out = appendField(out, name, value)
		}
	}
	for i := range f.Set {
		out = appendField(out, f.Set[i].Name, f.Set[i].Value)
	}
	switch {
	case length < 0:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
		out = appendTrailerNames(out, r.Trailer)
	case length > 0 || announcesEmpty(r):
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, length, 10)
		out = append(out, '\r', '\n')
	}
	switch {
	case upgrade != "":
		out = append(out, "Connection: Upgrade\r\nUpgrade: "...)
		out = append(out, upgrade...)
		out = append(out, '\r', '\n')
	case hasToken(r.Header["Te"], "trailers"):
		out = append(out, "Te: trailers\r\nConnection: te\r\n"...)
	}
	return append(out, '\r', '\n')
}

// appendTarget writes the target as it is, but for bytes that no URI has (RFC 3986
// §2): many clients send them as they are, and servers refuse some. A browser
// escapes them as we do.
func appendTarget(out []byte, target string) []byte {
	for i := 0; i < len(target); i++ {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '`' {
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return out
}

func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	return append(out, '\r', '\n')
}

// appendTrailerNames announces the trailers that the client announced.
func appendTrailerNames(out []byte, trailer http.Header) []byte {
	var names []string
	for name := range trailer {
		if forwardableTrailer(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return out
	}
	slices.Sort(names)
	return appendField(out, "Trailer", strings.Join(names, ", "))
}

func sets(fields []Header, name string) bool {
	for i := range fields {
		if fields[i].Name == name {
			return true
		}
	}
	return false
}

// announcesEmpty says that the absence of a body must be said (RFC 9110 §8.6).
func announcesEmpty(r *http.Request) bool {
	return r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
}

// forwardableTrailer leaves out what frames or routes a message (RFC 9110 §6.5.1).
func forwardableTrailer(name string) bool {
	switch name {
	case "Host", "Content-Type", "Content-Encoding", "Content-Range", "Cache-Control", "Authorization", "Set-Cookie", "Cookie",
		"Expect", "Max-Forwards", "Range", "Location", "Age", "Date", "Expires", "Vary", "Warning", "Www-Authenticate", "Retry-After":
		return false
	}
	return validToken(name) && !hopByHop(name) && !private(name)
}
