package bundle

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// compileGlob turns a pattern of "rules" into a regular expression over a whole
// slash-separated path: * stays within a segment, ** as a segment of its own
// spans any number of them, {a,b} chooses, everything else means itself ("?" too,
// for the sake of .wasm?module).
func compileGlob(glob string) (*regexp.Regexp, error) {
	const limit = 512
	if glob == "" || len(glob) > limit {
		return nil, fmt.Errorf("has a pattern of %d bytes; it must have 1 to %d", len(glob), limit)
	}
	var out strings.Builder
	out.WriteString(`^(?:\./)?`)
	braces := 0
	segmentStart := true
	for rest := strings.TrimPrefix(glob, "./"); rest != ""; {
		switch {
		case segmentStart && strings.HasPrefix(rest, "**/"):
			out.WriteString(`(?:[^/]+/)*`)
			rest = rest[3:]
			continue
		case segmentStart && rest == "**":
			out.WriteString(`.*`)
			rest = ""
			continue
		case rest[0] == '*':
			out.WriteString(`[^/]*`)
			rest, segmentStart = strings.TrimLeft(rest, "*"), false
			continue
		}
		char, size := utf8.DecodeRuneInString(rest)
		switch {
		case char == '{':
			out.WriteString(`(?:`)
			braces++
		case char == '}' && braces > 0:
			out.WriteString(`)`)
			braces--
		case char == ',' && braces > 0:
			out.WriteString(`|`)
		default:
			out.WriteString(regexp.QuoteMeta(string(char)))
		}
		rest, segmentStart = rest[size:], char == '/'
	}
	if braces != 0 {
		return nil, fmt.Errorf("has the pattern %q, which lacks a closing brace", clip(glob))
	}
	pattern, err := regexp.Compile(out.String() + "$")
	if err != nil {
		return nil, fmt.Errorf("has the pattern %q, which is not understood", clip(glob))
	}
	return pattern, nil
}
