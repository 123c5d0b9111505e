package assets

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// pattern is the left side of a rule: a path, or https:// with a host and a
// path, with at most one splat (*) and any placeholders (:name). Go's regular
// expressions run in linear time, so a tenant's pattern cannot stall a request.
type pattern struct {
	// literal is the whole pattern when it has neither splat nor placeholder.
	literal string
	// prefix is what comes before the first splat or placeholder; most
	// requests are told apart by it, without the expression.
	prefix string
	expr   *regexp.Regexp
	// host says that the pattern is matched against https://host/path.
	host bool
}

var placeholder = regexp.MustCompile(`:[A-Za-z]\w*`)

func compilePattern(text string) (*pattern, error) {
	p := &pattern{host: strings.HasPrefix(text, "https://")}
	if !isDynamic(text) {
		p.literal = text
		return p, nil
	}
	if strings.Count(text, "*") > 1 {
		return nil, errors.New("a rule can have only one splat (*)")
	}
	hostEnd := 0
	if p.host {
		hostEnd = len("https://")
		if slash := strings.IndexByte(text[hostEnd:], '/'); slash >= 0 {
			hostEnd += slash
		} else {
			hostEnd = len(text)
		}
	}
	var expr strings.Builder
	expr.WriteString("^")
	for at := 0; at < len(text); {
		if text[at] == '*' {
			expr.WriteString("(?P<splat>.*)")
			at++
			continue
		}
		if found := placeholder.FindStringIndex(text[at:]); found != nil && found[0] == 0 {
			// A placeholder ends at a slash, in a host also at a dot.
			class := "[^/]+"
			if at < hostEnd {
				class = "[^/.]+"
			}
			fmt.Fprintf(&expr, "(?P<%s>%s)", text[at+1:at+found[1]], class)
			at += found[1]
			continue
		}
		end := at + 1
		for end < len(text) && text[end] != '*' && text[end] != ':' {
			end++
		}
		expr.WriteString(regexp.QuoteMeta(text[at:end]))
		at = end
	}
	expr.WriteString("$")
	compiled, err := regexp.Compile(expr.String())
	if err != nil {
		return nil, errors.New("a rule cannot use one placeholder name twice")
	}
	p.expr = compiled
	p.prefix, _ = compiled.LiteralPrefix()
	return p, nil
}

// isDynamic says that a rule's left side has a splat or a placeholder.
func isDynamic(text string) bool {
	return strings.Contains(text, "*") || placeholder.MatchString(text)
}

// match tests a request. The captures are for expand; they are nil for a literal.
func (p *pattern) match(host, path string) (captures map[string]string, ok bool) {
	subject := path
	if p.host {
		subject = "https://" + host + path
	}
	if p.expr == nil {
		return nil, p.literal == subject
	}
	if !strings.HasPrefix(subject, p.prefix) {
		return nil, false
	}
	found := p.expr.FindStringSubmatch(subject)
	if found == nil {
		return nil, false
	}
	captures = make(map[string]string, len(found))
	for i, name := range p.expr.SubexpNames() {
		if name != "" {
			captures[name] = found[i]
		}
	}
	return captures, true
}

// expand puts what a pattern captured in the place of :name and :splat. A name
// that was not captured stays as it is.
func expand(text string, captures map[string]string) string {
	if len(captures) == 0 || !strings.Contains(text, ":") {
		return text
	}
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := captures[name[1:]]; ok {
			return value
		}
		return name
	})
}

// splitTarget cuts a rule's right side, or an address, into path, ?query and #fragment.
func splitTarget(target string) (path, query, fragment string) {
	if at := strings.IndexByte(target, '#'); at >= 0 {
		target, fragment = target[:at], target[at:]
	}
	if at := strings.IndexByte(target, '?'); at >= 0 {
		target, query = target[:at], target[at:]
	}
	return target, query, fragment
}

// splitHTTPS cuts https://host/rest. A rule's address with a host is always
// https, as on Cloudflare; at run time the scheme of the request is ignored.
func splitHTTPS(text string) (host, rest string, ok bool) {
	rest, ok = strings.CutPrefix(text, "https://")
	if !ok {
		return "", "", false
	}
	rest = strings.TrimLeft(rest, "/")
	host = rest
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		host, rest = rest[:at], rest[at:]
	} else {
		rest = ""
	}
	return host, rest, host != ""
}
