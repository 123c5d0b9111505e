package assets

import (
	"strings"
	"unicode/utf8"
)

const upperHex = "0123456789ABCDEF"

// normalizePath gives the path the way a browser's URL parser writes it: bytes
// that may not stand in a path are percent-encoded, existing escapes stay. A
// backslash is encoded too, so that no browser reads it as a slash in a
// Location. See https://url.spec.whatwg.org/#path-percent-encode-set.
func normalizePath(path string) string {
	if path == "" {
		return "/"
	}
	clean := path[0] == '/'
	for i := 0; clean && i < len(path); i++ {
		clean = !mustEncode(path[i])
	}
	if clean {
		return path
	}
	var b strings.Builder
	b.Grow(len(path) + 16)
	if path[0] != '/' {
		b.WriteByte('/')
	}
	for i := 0; i < len(path); i++ {
		if mustEncode(path[i]) {
			writeEscaped(&b, path[i])
		} else {
			b.WriteByte(path[i])
		}
	}
	return b.String()
}

func mustEncode(c byte) bool {
	if c <= ' ' || c >= 0x7f {
		return true
	}
	switch c {
	case '"', '#', '<', '>', '?', '^', '`', '{', '}', '\\':
		return true
	}
	return false
}

// decodePath gives the file path a request path means: escapes undone, runs of
// slashes made one. Making them one keeps "//host/x" from ever coming back as a
// Location that names another host. Not ok means that no file can be meant:
// a broken escape, bytes that are not UTF-8, or a NUL.
func decodePath(path string) (decoded string, ok bool) {
	if !strings.Contains(path, "%") && !strings.Contains(path, "//") {
		return path, utf8.ValidString(path)
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) || unhex(path[i+1]) < 0 || unhex(path[i+2]) < 0 {
				return "", false
			}
			c = byte(unhex(path[i+1])<<4 | unhex(path[i+2]))
			i += 2
		}
		if c == 0 {
			return "", false
		}
		if c == '/' && len(out) > 0 && out[len(out)-1] == '/' {
			continue
		}
		out = append(out, c)
	}
	return string(out), utf8.Valid(out)
}

// encodePath gives the one canonical spelling of a file path: every byte but
// slashes and JavaScript's encodeURIComponent set is escaped, as Cloudflare
// does. A request under another spelling is redirected to this one.
func encodePath(path string) string {
	plain := true
	for i := 0; plain && i < len(path); i++ {
		plain = path[i] == '/' || unreserved(path[i])
	}
	if plain {
		return path
	}
	var b strings.Builder
	b.Grow(len(path) + 16)
	for i := 0; i < len(path); i++ {
		if path[i] == '/' || unreserved(path[i]) {
			b.WriteByte(path[i])
		} else {
			writeEscaped(&b, path[i])
		}
	}
	return b.String()
}

func unreserved(c byte) bool {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
		return true
	}
	switch c {
	case '-', '_', '.', '!', '~', '*', '\'', '(', ')':
		return true
	}
	return false
}

func writeEscaped(b *strings.Builder, c byte) {
	b.WriteByte('%')
	b.WriteByte(upperHex[c>>4])
	b.WriteByte(upperHex[c&15])
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// collapseSlashes makes runs of slashes one.
func collapseSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '/' && len(out) > 0 && out[len(out)-1] == '/' {
			continue
		}
		out = append(out, path[i])
	}
	return string(out)
}
