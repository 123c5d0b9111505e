package assets

import (
	"fmt"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/slipwayhq/slipway/models"
	"golang.org/x/net/http/httpguts"
)

const (
	// MaxHeaderRules is how many rules of a _headers file count.
	// https://developers.cloudflare.com/workers/static-assets/headers/
	MaxHeaderRules = 100
	// MaxRuleLine is how long a line of _headers or _redirects may be, in bytes.
	MaxRuleLine = 2000
)

// Warning says why a line of _headers or _redirects was ignored.
type Warning struct {
	// Line counts from 1.
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// String is the warning as a log line.
func (w Warning) String() string { return fmt.Sprintf("line %d: %s", w.Line, w.Message) }

// HeaderRule adds and removes response headers where its pattern matches.
type HeaderRule struct {
	// Pattern is a path, or https:// with a host and a path.
	Pattern string        `json:"pattern"`
	Set     []HeaderField `json:"set,omitempty"`
	Unset   []string      `json:"unset,omitempty"`
}

// HeaderField is one header a rule sets. The name is in canonical case; the
// value may use the pattern's :splat and :placeholders.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

var looksLikePath = regexp.MustCompile(`^(\S+://|/)`)

// ParseHeaders reads a _headers file. It never fails: a line that means nothing
// is ignored with a warning, as on Cloudflare.
func ParseHeaders(data []byte) ([]HeaderRule, []Warning) {
	p := headersParser{}
	for i, line := range strings.Split(string(data), "\n") {
		p.line = i + 1
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case len(line) > MaxRuleLine:
			p.warn("it is longer than %d bytes", MaxRuleLine)
		case looksLikePath.MatchString(line):
			if p.close(); len(p.rules) == MaxHeaderRules {
				p.warn("only %d rules are possible, the rest of the file is ignored", MaxHeaderRules)
				return p.rules, p.warnings
			}
			p.open(line)
		default:
			p.header(line)
		}
	}
	p.close()
	return p.rules, p.warnings
}

type headersParser struct {
	rules    []HeaderRule
	warnings []Warning
	line     int
	current  *HeaderRule
	opened   int
}

func (p *headersParser) warn(format string, args ...any) {
	p.warnings = append(p.warnings, Warning{p.line, fmt.Sprintf(format, args...)})
}

func (p *headersParser) open(line string) {
	text, err := headerPattern(line)
	if err == "" {
		if _, compileErr := compilePattern(text); compileErr != nil {
			err = compileErr.Error()
		}
	}
	if err != "" {
		p.warn("%s", err)
		return
	}
	p.current, p.opened = &HeaderRule{Pattern: text}, p.line
}

func (p *headersParser) close() {
	if p.current == nil {
		return
	}
	if len(p.current.Set)+len(p.current.Unset) > 0 {
		p.rules = append(p.rules, *p.current)
	} else {
		p.warnings = append(p.warnings, Warning{p.opened, "the rule has no headers"})
	}
	p.current = nil
}

func (p *headersParser) header(line string) {
	name, value, pair := strings.Cut(line, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	unset := false
	if !pair {
		name, unset = strings.CutPrefix(line, "!")
		name = strings.TrimSpace(name)
	}
	switch {
	case p.current == nil:
		p.warn("a header must come after the path it is for")
	case !pair && !unset:
		p.warn("a header is written `Name: value`, its removal `! Name`")
	case !httpguts.ValidHeaderFieldName(name):
		p.warn("%q cannot be a header name", name)
	case !headerAllowed(name):
		p.warn("%s belongs to the server and cannot be set here", name)
	case unset:
		p.current.Unset = append(p.current.Unset, textproto.CanonicalMIMEHeaderKey(name))
	case value == "":
		p.warn("the header %s has no value", name)
	case !validFieldValue(value):
		p.warn("the value of %s has characters a header cannot have", name)
	default:
		p.set(textproto.CanonicalMIMEHeaderKey(name), value)
	}
}

// set joins repeated values of one rule with a comma.
func (p *headersParser) set(name, value string) {
	for i := range p.current.Set {
		if p.current.Set[i].Name == name {
			p.current.Set[i].Value += ", " + value
			return
		}
	}
	p.current.Set = append(p.current.Set, HeaderField{name, value})
}

// headerPattern normalizes a rule's first line; the message says why it cannot.
func headerPattern(line string) (text, message string) {
	host, rest, absolute := splitHTTPS(line)
	if !absolute {
		if line[0] != '/' {
			return "", "a rule starts with a path or with https://"
		}
		path, _, _ := splitTarget(line)
		return normalizePath(path), ""
	}
	if at := strings.LastIndexByte(host, ':'); at >= 0 && isDigits(host[at+1:]) {
		return "", "a rule cannot name a port"
	}
	path, _, _ := splitTarget(rest)
	return "https://" + strings.ToLower(host) + normalizePath(path), ""
}

// validate checks a rule that was stored, with CodeReleaseInvalid.
func (r HeaderRule) validate() error {
	valid := strings.HasPrefix(r.Pattern, "/") || strings.HasPrefix(r.Pattern, "https://")
	for _, field := range r.Set {
		valid = valid && validRuleHeader(field.Name) && field.Value != "" && validFieldValue(field.Value)
	}
	for _, name := range r.Unset {
		valid = valid && validRuleHeader(name)
	}
	if !valid {
		return models.Errorf(models.CodeReleaseInvalid, "The release has an invalid header rule for %q", r.Pattern)
	}
	return nil
}

func validRuleHeader(name string) bool {
	return httpguts.ValidHeaderFieldName(name) && headerAllowed(name) && textproto.CanonicalMIMEHeaderKey(name) == name
}

// headerAllowed refuses what frames the message or speaks for the platform: a
// tenant who could set these would break, or pretend to be, the server.
func headerAllowed(name string) bool {
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Content-Range", "Date", "Http2-Settings", "X-Request-Id":
		return false
	}
	const own = "x-slipway-"
	return len(name) < len(own) || !strings.EqualFold(name[:len(own)], own)
}

func validFieldValue(value string) bool { return httpguts.ValidHeaderFieldValue(value) }

func isDigits(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}
