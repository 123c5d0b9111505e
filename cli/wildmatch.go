package cli

import "strings"

// wildmatch says whether a whole path matches a pattern by the rules of
// gitignore (https://git-scm.com/docs/gitignore): "?" and "*" stop at a slash,
// "**" between slashes or at an end spans folders, "[...]" is a class, a
// backslash takes the next byte as it is. Like git it compares bytes, so "?"
// does not match a letter of two bytes.
//
// Like git, too, it compares what stands before the first special byte as it
// is and matches only the rest, which then begins anew. So in "a**/b" the stars
// do span folders, though the manual says that they are ordinary there.
func wildmatch(pattern, path string) bool {
	if special := strings.IndexAny(pattern, `*?[\`); special > 0 {
		literal := pattern[:special]
		rest, ok := strings.CutPrefix(path, literal)
		if !ok {
			return false
		}
		pattern, path = pattern[special:], rest
	}
	m := wildmatcher{pattern: pattern, path: path}
	return m.match(0, 0)
}

type wildmatcher struct {
	pattern, path string
	// failed holds the pairs of positions known not to match. Without it a
	// pattern with many stars takes exponential time.
	failed map[[2]int]struct{}
}

func (m *wildmatcher) match(p, t int) bool {
	for p < len(m.pattern) {
		switch c := m.pattern[p]; c {
		case '*':
			return m.matchStars(p, t)
		case '?':
			if t == len(m.path) || m.path[t] == '/' {
				return false
			}
			p++
		case '[':
			if t == len(m.path) {
				return false
			}
			end, ok := matchClass(m.pattern, p, m.path[t])
			if !ok {
				return false
			}
			p = end
		case '\\':
			p++
			if p == len(m.pattern) || t == len(m.path) || m.pattern[p] != m.path[t] {
				return false
			}
			p++
		default:
			if t == len(m.path) || m.path[t] != c {
				return false
			}
			p++
		}
		t++
	}
	return t == len(m.path)
}

// matchStars matches from a run of stars on.
func (m *wildmatcher) matchStars(p, t int) bool {
	at := [2]int{p, t}
	if _, known := m.failed[at]; known {
		return false
	}
	end := p
	for end < len(m.pattern) && m.pattern[end] == '*' {
		end++
	}
	rest := m.pattern[end:]
	// Only a whole segment of two or more stars spans folders.
	spans := end-p > 1 && (p == 0 || m.pattern[p-1] == '/') &&
		(rest == "" || rest[0] == '/' || (len(rest) > 1 && rest[0] == '\\' && rest[1] == '/'))
	if spans && rest != "" && rest[0] == '/' && m.match(end+1, t) {
		return true // "**/" stands for no folder at all
	}
	for ; ; t++ {
		if m.match(end, t) {
			return true
		}
		if t == len(m.path) || (m.path[t] == '/' && !spans) {
			break
		}
	}
	if m.failed == nil {
		m.failed = make(map[[2]int]struct{})
	}
	m.failed[at] = struct{}{}
	return false
}

// matchClass matches c against the class that opens at pattern[p]. It gives the
// position after the class; a class that does not close matches nothing.
func matchClass(pattern string, p int, c byte) (end int, ok bool) {
	p++
	negated := false
	if p < len(pattern) && (pattern[p] == '!' || pattern[p] == '^') {
		negated = true
		p++
	}
	matched := false
	var previous byte // 0 when a range cannot start here
	for first := true; ; first = false {
		if p >= len(pattern) {
			return 0, false
		}
		b := pattern[p]
		switch {
		case b == ']' && !first:
			return p + 1, matched != negated && c != '/'
		case b == '\\':
			p++
			if p == len(pattern) {
				return 0, false
			}
			previous = pattern[p]
			matched = matched || previous == c
		case b == '-' && previous != 0 && p+1 < len(pattern) && pattern[p+1] != ']':
			p++
			if pattern[p] == '\\' {
				p++
				if p == len(pattern) {
					return 0, false
				}
			}
			matched = matched || (previous <= c && c <= pattern[p])
			previous = 0
		case b == '[' && p+1 < len(pattern) && pattern[p+1] == ':':
			name, closes := className(pattern[p+2:])
			if !closes {
				previous = b
				matched = matched || b == c
				break
			}
			in, known := inClass(name, c)
			if !known {
				return 0, false
			}
			matched = matched || in
			p += len(name) + 3
			previous = 0
		default:
			previous = b
			matched = matched || b == c
		}
		p++
	}
}

// className reads "alpha:]…" up to the colon.
func className(s string) (name string, closes bool) {
	for i := 0; i < len(s); i++ {
		if s[i] == ']' {
			if i > 0 && s[i-1] == ':' {
				return s[:i-1], true
			}
			return "", false
		}
	}
	return "", false
}

// inClass is ASCII's idea of the POSIX classes, whatever the locale.
func inClass(name string, c byte) (in, known bool) {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	graph := '!' <= c && c <= '~'
	switch name {
	case "alnum":
		return lower || upper || digit, true
	case "alpha":
		return lower || upper, true
	case "blank":
		return c == ' ' || c == '\t', true
	case "cntrl":
		return c < 0x20 || c == 0x7f, true
	case "digit":
		return digit, true
	case "graph":
		return graph, true
	case "lower":
		return lower, true
	case "print":
		return graph || c == ' ', true
	case "punct":
		return graph && !lower && !upper && !digit, true
	case "space":
		return c == ' ' || ('\t' <= c && c <= '\r'), true
	case "upper":
		return upper, true
	case "xdigit":
		return digit || ('a' <= c && c <= 'f') || ('A' <= c && c <= 'F'), true
	}
	return false, false
}
