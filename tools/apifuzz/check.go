package apifuzz

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// check says what of an answer the document does not allow.
func (f *fuzzer) check(x exchange) []string {
	var wrong []string
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	body := string(x.body)

	if x.header.Get("X-Request-Id") == "" {
		report("has no X-Request-Id")
	}
	if x.what.refused && x.status < 300 {
		report("takes what the document refuses: %s", x.what.name)
	}
	if x.what.nobody && x.what.refused && x.status < 400 {
		report("lets nobody in")
	}
	for _, secret := range f.opts.Secrets {
		if strings.Contains(body, secret) {
			report("shows a secret it was sent")
		}
	}
	if leak := insides.FindString(body); leak != "" {
		report("shows what it is made of: %s", leak)
	}
	if x.status == http.StatusNotFound && x.what.elsewhere && strings.Contains(body, `"NOT_FOUND"`) || x.status == http.StatusMethodNotAllowed && x.what.elsewhere {
		return wrong
	}
	if x.what.elsewhere && x.sent.method != x.op.method {
		// Another operation of the same path; its own cases judge it.
		if x.status >= 500 {
			report("answers %d", x.status)
		}
		return wrong
	}
	answer := x.op.Responses[strconv.Itoa(x.status)]
	if answer == nil {
		report("answers %d, which is not documented", x.status)
		return wrong
	}
	if x.status >= 500 && x.op.id != "health" {
		report("answers %d", x.status)
	}
	for name, described := range answer.Headers {
		header, _ := described.(map[string]any)
		optional := header["required"] == false
		// Limits are only told of where one applies.
		if x.header.Get(name) == "" && !optional && !strings.HasPrefix(name, "RateLimit-") {
			report("has no %s", name)
		}
	}
	return append(wrong, f.checkBody(x, answer.Content)...)
}

func (f *fuzzer) checkBody(x exchange, content map[string]*media) []string {
	kind, _, _ := strings.Cut(x.header.Get("Content-Type"), ";")
	if len(content) == 0 {
		if len(x.body) > 0 {
			return []string{"has a body, which is not documented"}
		}
		return nil
	}
	media := content[kind]
	if media == nil {
		return []string{fmt.Sprintf("is %q, not one of %v", kind, slices.Sorted(maps.Keys(content)))}
	}
	if kind != "application/json" {
		return nil
	}
	if !utf8.Valid(x.body) {
		return []string{"is not UTF-8"}
	}
	value, err := strict(x.body)
	if err != nil {
		return []string{"is not JSON: " + err.Error()}
	}
	wrong := f.doc.validate(media.Schema, value, "answer")
	if object, ok := value.(map[string]any); ok && x.status >= 400 && len(media.Examples) > 0 {
		code, envelope := object["error"].(string)
		if !envelope {
			// The shape of the routes of accounts.
			code, _ = object["code"].(string)
		}
		if _, documented := media.Examples[code]; !documented {
			wrong = append(wrong, fmt.Sprintf("has the error %s, which is not documented", code))
		}
		if envelope && object["success"] != false {
			wrong = append(wrong, "is an error that says success")
		}
	}
	return wrong
}

// insides are words that only a program that shows its failures to strangers says.
var insides = regexp.MustCompile(`SQLSTATE|\b(pgx|pgconn|gorm|goroutine [0-9]+)\b|runtime error:|\.go:[0-9]+`)
