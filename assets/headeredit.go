package assets

import "slices"

// headerRule is a HeaderRule with its pattern compiled.
type headerRule struct {
	pattern *pattern
	rule    HeaderRule
}

// headerEdit sets a header, or removes it when value is empty.
type headerEdit struct {
	name, value string
}

func compileHeaders(rules []HeaderRule) ([]headerRule, error) {
	compiled := make([]headerRule, 0, len(rules))
	for _, rule := range rules {
		p, err := compilePattern(rule.Pattern)
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, headerRule{p, rule})
	}
	return compiled, nil
}

// headersNeedHost says that some rule looks at the request's host.
func (s *Site) headersNeedHost() bool {
	return slices.ContainsFunc(s.headers, func(r headerRule) bool { return r.pattern.host })
}

// headerEdits gathers what the rules that match a request do, in order: each
// rule first removes, then sets; a header set by two rules has both values,
// joined by a comma, and replaces what the server would have sent.
func (s *Site) headerEdits(host, path string) []headerEdit {
	var edits []headerEdit
	at := func(name string) int {
		return slices.IndexFunc(edits, func(e headerEdit) bool { return e.name == name })
	}
	for _, candidate := range s.headers {
		captures, ok := candidate.pattern.match(host, path)
		if !ok {
			continue
		}
		for _, name := range candidate.rule.Unset {
			if i := at(name); i >= 0 {
				edits[i].value = ""
			} else {
				edits = append(edits, headerEdit{name: name})
			}
		}
		for _, field := range candidate.rule.Set {
			value := expand(field.Value, captures)
			switch i := at(field.Name); {
			case i < 0:
				edits = append(edits, headerEdit{field.Name, value})
			case edits[i].value == "" || field.Name == "Set-Cookie":
				// Cookies cannot be joined by a comma; the later rule wins.
				edits[i].value = value
			default:
				edits[i].value += ", " + value
			}
		}
	}
	return edits
}

// applyEdits gives a new list; the one given is shared and stays as it is.
func applyEdits(fields []Field, edits []headerEdit) []Field {
	out := slices.Clone(fields)
	for _, edit := range edits {
		out = slices.DeleteFunc(out, func(f Field) bool { return f.Name == edit.name })
		if edit.value != "" {
			out = append(out, Field{edit.name, []string{edit.value}})
		}
	}
	return out
}
