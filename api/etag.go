package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// IfMatch is the header field that limits a change to a version somebody has
// seen (RFC 9110 §13.1.1).
type IfMatch struct {
	IfMatch string `header:"If-Match" maxLength:"1024" doc:"Change it only while its ETag is this one, or one of several; 412 otherwise. Any without it" example:"\"3\""`
}

// IfNoneMatch is the header field that saves sending what the caller has
// (RFC 9110 §13.1.2).
type IfNoneMatch struct {
	IfNoneMatch string `header:"If-None-Match" maxLength:"1024" doc:"An ETag of an earlier answer; 304 without a body while it is still the same" example:"\"3\""`
}

// entityTag is the strong entity tag (RFC 9110 §8.8.3) of a representation that
// has another version after each change. variant is what else decides what is
// shown, such as the role of who asks; it takes no part in If-Match.
func entityTag(version int64, variant ...string) string {
	return `"` + strings.Join(append([]string{strconv.FormatInt(version, 10)}, variant...), "-") + `"`
}

// versions are those that the change is limited to; nil is any. Weak tags match
// none (§8.8.3.2), nor do tags that were never ours.
func (c IfMatch) versions() ([]int64, error) {
	if c.IfMatch == "" || strings.TrimSpace(c.IfMatch) == "*" {
		return nil, nil
	}
	tags, ok := parseTags(c.IfMatch)
	if !ok {
		return nil, invalid([]FieldError{{Field: "If-Match", In: "header", Message: "must be `*` or a list of entity tags, which are in double quotes"}})
	}
	versions := []int64{}
	for _, tag := range tags {
		number, _, _ := strings.Cut(strings.Trim(tag, `"`), "-")
		if version, err := strconv.ParseInt(number, 10, 64); err == nil && !strings.HasPrefix(tag, "W/") && strconv.FormatInt(version, 10) == number {
			versions = append(versions, version)
		}
	}
	return versions, nil
}

// status is 304 when the caller has what this tag names already, else 200. A field
// that is malformed is as none.
func (c IfNoneMatch) status(current string) int {
	tags, _ := parseTags(c.IfNoneMatch)
	if strings.TrimSpace(c.IfNoneMatch) == "*" || slices.ContainsFunc(tags, func(tag string) bool {
		return strings.TrimPrefix(tag, "W/") == current
	}) {
		return http.StatusNotModified
	}
	return http.StatusOK
}

// notModified documents the answer to who has the representation already.
func notModified() map[string]*huma.Response {
	return map[string]*huma.Response{"304": {Description: "It is still what If-None-Match names"}}
}

// parseTags reads a list of entity tags: 1#([ "W/" ] DQUOTE *etagc DQUOTE).
func parseTags(field string) (tags []string, ok bool) {
	for rest := field; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return tags, len(tags) > 0
		}
		weak := ""
		if strings.HasPrefix(rest, "W/") {
			weak, rest = "W/", rest[2:]
		}
		if rest == "" || rest[0] != '"' {
			return nil, false
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 || strings.ContainsFunc(rest[1:1+end], func(c rune) bool { return c <= ' ' || c == 0x7f }) {
			return nil, false
		}
		tags = append(tags, weak+rest[:end+2])
		if rest = strings.TrimLeft(rest[end+2:], " \t"); rest != "" && rest[0] != ',' {
			return nil, false
		}
	}
}
