package bundle

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// IgnoreFile says, among the files to serve, which of them not to
// (https://developers.cloudflare.com/workers/static-assets/binding/#ignoring-assets).
// One larger than MaxIgnoreBytes is not read.
const (
	IgnoreFile     = ".assetsignore"
	MaxIgnoreBytes = 1 << 20
)

// Ignored gives the test of an IgnoreFile's content: whether the file of that
// path is not to be taken. The IgnoreFile itself never is. _headers and
// _redirects always are: they are rules, no assets, and build tools list them.
func Ignored(content []byte) func(name string) bool {
	list := parseIgnore(string(content))
	return func(name string) bool {
		if name == IgnoreFile || isRules(name) {
			return name == IgnoreFile
		}
		for at, char := range name {
			if char == '/' && list.match(name[:at], true) {
				return true
			}
		}
		return list.match(name, false)
	}
}

func isRules(name string) bool { return name == "_headers" || name == "_redirects" }

// ignoreList is an .assetsignore, in the syntax of .gitignore
// (https://git-scm.com/docs/gitignore#_pattern_format).
type ignoreList []ignoreRule

type ignoreRule struct {
	pattern  *regexp.Regexp
	keep     bool // after "!"
	onlyDirs bool
}

// parseIgnore leaves out lines that are no pattern.
func parseIgnore(content string) ignoreList {
	var list ignoreList
	for line := range strings.Lines(content) {
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimRight(line, " \t"); strings.HasSuffix(trimmed, `\`) {
			line = trimmed + " " // an escaped space stays
		} else {
			line = trimmed
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var rule ignoreRule
		line, rule.keep = strings.CutPrefix(line, "!")
		line, rule.onlyDirs = strings.CutSuffix(line, "/")
		pattern, err := regexp.Compile(ignorePattern(line))
		if line == "" || err != nil {
			continue
		}
		rule.pattern = pattern
		list = append(list, rule)
	}
	return list
}

// ignorePattern is the regular expression of one line.
func ignorePattern(line string) string {
	var out strings.Builder
	out.WriteString("^")
	rest, anchored := strings.CutPrefix(line, "/")
	if !anchored && !strings.Contains(rest, "/") {
		out.WriteString(`(?:.*/)?`)
	}
	for start := true; rest != ""; {
		switch {
		case start && strings.HasPrefix(rest, "**/"):
			out.WriteString(`(?:.*/)?`)
			rest = rest[3:]
			continue
		case rest == "/**":
			out.WriteString(`/.*`)
			rest = ""
			continue
		case rest[0] == '*':
			out.WriteString(`[^/]*`)
			rest, start = strings.TrimLeft(rest, "*"), false
			continue
		case rest[0] == '?':
			out.WriteString(`[^/]`)
			rest, start = rest[1:], false
			continue
		case rest[0] == '[':
			if end := strings.IndexByte(rest[1:], ']'); end > 0 {
				class := strings.ReplaceAll(rest[1:1+end], `\`, `\\`)
				if negated, ok := strings.CutPrefix(class, "!"); ok {
					class = "^/" + negated
				}
				out.WriteString("[" + class + "]")
				rest, start = rest[end+2:], false
				continue
			}
		case rest[0] == '\\' && len(rest) > 1:
			rest = rest[1:]
		}
		char, size := utf8.DecodeRuneInString(rest)
		out.WriteString(regexp.QuoteMeta(string(char)))
		rest, start = rest[size:], char == '/'
	}
	return out.String() + "$"
}

// match says whether the last rule about name leaves it out. Who walks skips
// what is below a folder that is left out.
func (l ignoreList) match(name string, dir bool) bool {
	ignored := false
	for _, rule := range l {
		if (dir || !rule.onlyDirs) && rule.pattern.MatchString(name) {
			ignored = !rule.keep
		}
	}
	return ignored
}
