package assets

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// How many rules of a _redirects file count.
// https://developers.cloudflare.com/workers/static-assets/redirects/
const (
	MaxStaticRedirects  = 2000
	MaxDynamicRedirects = 100
)

// Redirect is one rule of a _redirects file.
type Redirect struct {
	// From is a path, possibly with a splat and placeholders.
	From string `json:"from"`
	// To is a path or an https address, possibly with :splat and :placeholders.
	To string `json:"to"`
	// Status is 301, 302, 303, 307 or 308; 200 serves To's file at From's address.
	Status int `json:"status"`
}

// ParseRedirects reads a _redirects file. It never fails: a line that means
// nothing, or would send a browser in circles, is ignored with a warning.
func ParseRedirects(data []byte, mode HTMLHandling) ([]Redirect, []Warning) {
	p := redirectsParser{mode: mode, seen: make(map[string]bool)}
	for i, line := range strings.Split(string(data), "\n") {
		p.line = i + 1
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case len(line) > MaxRuleLine:
			p.warn("it is longer than %d bytes", MaxRuleLine)
		case p.full:
			p.warn("only %d rules with * or :placeholders are possible, the rest of the file is ignored", MaxDynamicRedirects)
			return p.rules, p.warnings
		default:
			p.rule(line)
		}
	}
	return p.rules, p.warnings
}

type redirectsParser struct {
	rules    []Redirect
	warnings []Warning
	line     int
	mode     HTMLHandling
	seen     map[string]bool
	static   int
	dynamic  int
	full     bool
}

func (p *redirectsParser) warn(format string, args ...any) {
	p.warnings = append(p.warnings, Warning{p.line, fmt.Sprintf(format, args...)})
}

func (p *redirectsParser) rule(line string) {
	words := strings.Fields(line)
	for i := 2; i < len(words); i++ {
		if words[i][0] == '#' {
			words = words[:i]
		}
	}
	if len(words) < 2 || len(words) > 3 {
		p.warn("a redirect is written `/from /to 302`")
		return
	}
	rule := Redirect{Status: 302}
	if len(words) == 3 {
		rule.Status, _ = strconv.Atoi(words[2])
	}
	var message string
	if rule.From, message = redirectSource(words[0]); message == "" {
		rule.To, message = redirectTarget(words[1])
	}
	if message == "" {
		message = p.refuse(rule)
	}
	if message != "" {
		p.warn("%s", message)
		return
	}
	p.seen[rule.From] = true
	p.rules = append(p.rules, rule)
}

// refuse says why a well-formed rule cannot be kept; empty when it can.
func (p *redirectsParser) refuse(rule Redirect) string {
	switch rule.Status {
	case 200, 301, 302, 303, 307, 308:
	default:
		return "the status must be 200, 301, 302, 303, 307 or 308"
	}
	local := rule.To[0] == '/'
	if rule.Status == 200 && !local {
		return "only a path of this site can be served with 200"
	}
	if p.seen[rule.From] {
		return fmt.Sprintf("there is already a rule for %s", rule.From)
	}
	if _, err := compilePattern(rule.From); err != nil {
		return err.Error()
	}
	path, _, _ := splitTarget(rule.To)
	toIndex := strings.HasSuffix(path, "/index") || strings.HasSuffix(path, "/index.html")
	if local && toIndex && strings.HasSuffix(rule.From, "/*") {
		return "the rule would answer its own redirect for ever; for a single-page application set not_found_handling to single-page-application instead"
	}
	if local && toIndex && strings.HasSuffix(rule.From, "/") && p.mode != ExactHTML {
		return "the rule would answer its own redirect for ever, since /index is already served at /"
	}
	return p.count(rule)
}

// count applies the limits. Once a dynamic rule has come, every later one is
// tried in order and so counts as dynamic too.
func (p *redirectsParser) count(rule Redirect) string {
	if p.dynamic == 0 && !isDynamic(rule.From) {
		if p.static == MaxStaticRedirects {
			return fmt.Sprintf("only %d rules without * or :placeholders are possible", MaxStaticRedirects)
		}
		p.static++
		return ""
	}
	if p.dynamic == MaxDynamicRedirects {
		p.full = true
		return fmt.Sprintf("only %d rules with * or :placeholders are possible", MaxDynamicRedirects)
	}
	p.dynamic++
	return ""
}

func redirectSource(word string) (text, message string) {
	if _, _, absolute := splitHTTPS(word); absolute || strings.Contains(word, "://") {
		return "", "a redirect starts from a path of this site, not from an address with a host"
	}
	path, _, _ := splitTarget(word)
	return normalizePath(path), ""
}

func redirectTarget(word string) (text, message string) {
	if host, rest, absolute := splitHTTPS(word); absolute {
		path, query, fragment := splitTarget(rest)
		return "https://" + encodeRest(host) + normalizePath(path) + encodeRest(query) + encodeRest(fragment), ""
	}
	if word[0] != '/' {
		return "", "a redirect leads to a path that starts with / or to an address that starts with https://"
	}
	path, query, fragment := splitTarget(word)
	return collapseSlashes(normalizePath(path)) + encodeRest(query) + encodeRest(fragment), ""
}

// encodeRest makes a query or fragment safe to stand in a header.
func encodeRest(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\' {
			writeEscaped(&b, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// validate checks a rule that was stored, with CodeReleaseInvalid.
func (r Redirect) validate() error {
	local := strings.HasPrefix(r.To, "/") && !strings.HasPrefix(r.To, "//")
	valid := strings.HasPrefix(r.From, "/") && (local || strings.HasPrefix(r.To, "https://"))
	valid = valid && encodeRest(r.To) == r.To && !strings.Contains(r.To, `\`)
	switch r.Status {
	case 301, 302, 303, 307, 308:
	case 200:
		valid = valid && local
	default:
		valid = false
	}
	if !valid {
		return models.Errorf(models.CodeReleaseInvalid, "The release has an invalid redirect from %q", r.From)
	}
	return nil
}

// redirectRules are a site's redirects, ready to look up.
type redirectRules struct {
	static  map[string]Redirect
	ordered []orderedRedirect
}

type orderedRedirect struct {
	pattern *pattern
	rule    Redirect
}

func compileRedirects(rules []Redirect) (redirectRules, error) {
	compiled := redirectRules{static: make(map[string]Redirect)}
	for _, rule := range rules {
		p, err := compilePattern(rule.From)
		if err != nil {
			return compiled, err
		}
		if p.expr == nil && len(compiled.ordered) == 0 {
			if _, taken := compiled.static[rule.From]; !taken {
				compiled.static[rule.From] = rule
			}
			continue
		}
		compiled.ordered = append(compiled.ordered, orderedRedirect{p, rule})
	}
	return compiled, nil
}

// find gives the first rule for a normalized path, with its target filled in.
func (r *redirectRules) find(path string) (Redirect, bool) {
	if rule, ok := r.static[path]; ok {
		return rule, true
	}
	for _, candidate := range r.ordered {
		if captures, ok := candidate.pattern.match("", path); ok {
			rule := candidate.rule
			rule.To = expand(rule.To, captures)
			if rule.To[0] == '/' {
				// What was captured may begin with a slash, and "//x" in a
				// Location names a host.
				to, query, fragment := splitTarget(rule.To)
				rule.To = collapseSlashes(normalizePath(to)) + query + fragment
			}
			return rule, true
		}
	}
	return Redirect{}, false
}

func (r *redirectRules) empty() bool { return len(r.static) == 0 && len(r.ordered) == 0 }
