package apifuzz

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// raw is written into a body as it is.
type raw string

// hostile strings break programs that take strings for harmless.
func hostile() []string {
	return []string{
		"", " ", "\t", "null", "undefined", "true", "0", "-1", "NaN", "9223372036854775808",
		"\x00", "a\x00b", "\r\nX-Injected: 1", "a\nb", "\x1b[31mred\x1b[0m", "\x7f",
		"' OR '1'='1", `'; DROP TABLE projects; --`, `" OR ""="`, "%", "_", `\`, "${jndi:ldap://127.0.0.1/x}", "{{7*7}}", "$(id)", "`id`",
		"../../../etc/passwd", "..%2f..%2f", "/etc/passwd", `C:\con`, "file:///etc/passwd", "http://169.254.169.254/", "//example.com", "a/b", ".", "..",
		"<script>alert(1)</script>", "javascript:alert(1)", "[object Object]", "constructor", "__proto__",
		"раураl", "ａｄｍｉｎ", "ⅷ", "İstanbul", "ß", "ﬁ", "\u200b", "a\u200bb", "\u202egpj.exe", "\ufeffbom", "é", "e\u0301", "\u0430dmin", "💥💥", "مرحبا", "\U0010ffff",
		strings.Repeat("a", 300), strings.Repeat("💥", 3000), strings.Repeat("a\u0301", 200),
		"prj_aaaaaaaaaaaaaaaaaaaaaaaaaa", "org_3kq5q2n7d4v6x2y7z3a4b5c6d7", "2024-02-30T25:61:00Z", "9999-12-31T23:59:59Z", "0000-00-00",
	}
}

// rawBodies stand in for a whole body or a value in it, and are not good JSON, or good
// JSON that programs choke on.
func rawValues() []raw {
	return []raw{
		"", "{", "nul", "NaN", "Infinity", "-", "01", "1e400", "-1e400", "1e-400", "123456789012345678901234567890", "0.1", "-0", `"\ud800"`, `"\udc00\ud800"`, `"\u0000"`,
		"\"\xff\xfe\"", "\"a\nb\"", "'a'", `{"a":1,}`, "[1,]", "/* c */ 1", "\ufeff{}",
		raw(strings.Repeat("[", 12000)), raw(strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)),
		raw(strings.Repeat("[", 300) + strings.Repeat("]", 300)),
	}
}

// encode writes JSON; raw values as they are.
func encode(v any) []byte {
	var out bytes.Buffer
	write(&out, v)
	return out.Bytes()
}

func write(out *bytes.Buffer, v any) {
	switch v := v.(type) {
	case raw:
		out.WriteString(string(v))
	case map[string]any:
		out.WriteByte('{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				out.WriteByte(',')
			}
			write(out, name)
			out.WriteByte(':')
			write(out, v[name])
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			write(out, item)
		}
		out.WriteByte(']')
	default:
		data, err := json.Marshal(v)
		if err != nil {
			data = []byte("null")
		}
		out.Write(data)
	}
}

// maker makes values that fit their schemas.
type maker struct {
	*fuzzer
	rng   *rand.Rand
	spare bool
}

// value fits the schema. Ids become those of things that are there.
func (m maker) value(s *schema, depth int) any {
	s = m.doc.resolve(s)
	if s == nil || depth > 6 {
		return nil
	}
	if choice := append(slices.Clone(s.AnyOf), s.OneOf...); len(choice) > 0 {
		return m.value(choice[m.rng.IntN(len(choice))], depth+1)
	}
	if len(s.Enum) > 0 {
		return s.Enum[m.rng.IntN(len(s.Enum))]
	}
	kind := ""
	if len(s.Type) > 0 {
		kind = s.Type[0]
	}
	switch kind {
	case "object":
		object := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if slices.Contains(s.Required, name) || m.rng.IntN(3) == 0 {
				object[name] = m.named(name, s.Properties[name], depth+1)
			}
		}
		if s.Additional != nil && s.Additional.schema != nil {
			object["KEY"+fmt.Sprint(m.rng.IntN(5))] = m.value(s.Additional.schema, depth+1)
		}
		return object
	case "array":
		least, most := 0, 3
		if s.MinItems != nil {
			least = *s.MinItems
		}
		if s.MaxItems != nil {
			most = min(most, *s.MaxItems)
		}
		list := []any{}
		for range least + m.rng.IntN(max(most-least, 0)+1) {
			list = append(list, m.value(s.Items, depth+1))
		}
		return list
	case "boolean":
		return m.rng.IntN(2) == 0
	case "integer", "number":
		least, most := 0.0, 1000.0
		if s.Minimum != nil {
			least, most = *s.Minimum, max(most, *s.Minimum)
		}
		if s.Maximum != nil {
			most = *s.Maximum
		}
		switch m.rng.IntN(4) {
		case 0:
			return int64(least)
		case 1:
			return int64(most)
		}
		return int64(least + m.rng.Float64()*(most-least))
	case "string":
		return m.text(s)
	}
	return "anything"
}

// named is the value of a field or parameter: at times one that an answer had in a
// field of the same name.
func (m maker) named(name string, s *schema, depth int) any {
	s = m.doc.resolve(s)
	if s != nil && len(s.Type) == 1 && s.Type[0] == "string" && len(s.Enum) == 0 && m.rng.IntN(3) == 0 {
		if value := m.pool.value(m.rng, name); value != "" && m.doc.validate(s, value, "") == nil {
			return value
		}
	}
	return m.value(s, depth)
}

// text fits a schema of strings: most often an example, or an id that is there.
func (m maker) text(s *schema) string {
	if s.Format == "date-time" {
		return fmt.Sprintf("20%02d-0%d-1%dT10:30:00Z", 20+m.rng.IntN(20), 1+m.rng.IntN(9), m.rng.IntN(10))
	}
	example := ""
	if len(s.Examples) > 0 {
		example = fmt.Sprint(s.Examples[0])
	}
	if prefix := prefixOf(example); prefix != "" {
		if id := m.pool.id(m.rng, prefix, m.spare); id != "" && m.rng.IntN(8) != 0 {
			return id
		}
		if m.spare {
			return prefix + "_aaaaaaaaaaaaaaaaaaaaaaaaaa"
		}
	}
	if s.Pattern == "" && m.rng.IntN(3) == 0 {
		const letters = "abcdefghijklmnopqrstuvwxyz-0123456789"
		length := 1 + m.rng.IntN(30)
		if s.MinLength != nil {
			length = max(length, *s.MinLength)
		}
		if s.MaxLength != nil {
			length = min(length, *s.MaxLength)
			if m.rng.IntN(6) == 0 {
				length = min(*s.MaxLength, 2000)
			}
		}
		text := make([]byte, length)
		for i := range text {
			text[i] = letters[m.rng.IntN(len(letters))]
		}
		if m.rng.IntN(4) == 0 && length > 4 {
			return "é" + string(text[2:])
		}
		return string(text)
	}
	return example
}

// wrong is a value that breaks something.
type wrong struct {
	name  string
	value any
	// refused values are against the schema: an answer of success is wrong.
	refused bool
}

// wrongs lists values that break the schema, and strings that break programs.
func (d *document) wrongs(s *schema) []wrong {
	s = d.resolve(s)
	if s == nil || len(s.Type) == 0 {
		return nil
	}
	var list []wrong
	add := func(name string, value any, refused bool) { list = append(list, wrong{name, value, refused}) }
	for name, value := range map[string]any{
		"null": nil, "boolean": true, "string": "text", "integer": 42, "number": 1.5, "array": []any{"x"}, "object": map[string]any{"x": 1},
	} {
		if !slices.Contains(s.Type, name) && !(name == "integer" && slices.Contains(s.Type, "number")) {
			// null is how many clients leave a field out, which a field may allow.
			add("is "+name, value, name != "null")
		}
	}
	for _, value := range rawValues() {
		add("is raw "+clip(string(value[:min(len(value), 12)])), value, false)
	}
	switch s.Type[0] {
	case "string":
		for _, text := range hostile() {
			add(fmt.Sprintf("is %.24q", text), text, d.validate(s, text, "") != nil)
		}
		if s.MaxLength != nil {
			add("is too long", strings.Repeat("a", *s.MaxLength+1), true)
			add("is as long as can be", strings.Repeat("a", *s.MaxLength), false)
		}
		if s.MinLength != nil && *s.MinLength > 0 {
			add("is too short", strings.Repeat("a", *s.MinLength-1), true)
		}
	case "integer", "number":
		for _, n := range []float64{0, -1, 1, 101, 1 << 31, 1 << 53, -1 << 63} {
			add(fmt.Sprintf("is %.0f", n), raw(fmt.Sprintf("%.0f", n)), s.Minimum != nil && n < *s.Minimum || s.Maximum != nil && n > *s.Maximum)
		}
	case "array":
		add("is empty", []any{}, s.MinItems != nil && *s.MinItems > 0)
		add("is long", raw("["+strings.TrimSuffix(strings.Repeat("{},", 2000), ",")+"]"), false)
	}
	slices.SortFunc(list, func(a, b wrong) int { return strings.Compare(a.name, b.name) })
	return list
}
