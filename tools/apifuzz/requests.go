package apifuzz

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// caseOf is one way to call an operation. Its zero value with right set breaks nothing.
type caseOf struct {
	name  string
	right bool
	// refused cases are against the document: an answer of success is wrong.
	refused bool
	// elsewhere cases may not reach the operation: another method, another path.
	elsewhere bool
	// nobody leaves credentials out.
	nobody bool
	change func(*draft)
}

// draft is a request being made.
type draft struct {
	method string
	path   map[string]string
	query  url.Values
	header http.Header
	// body is encoded when it is no []byte; nil for none.
	body any
}

// built is a request as it is sent.
type built struct {
	method, target string
	header         http.Header
	body           []byte
}

func (b built) reader() io.Reader {
	if b.body == nil {
		return http.NoBody
	}
	return bytes.NewReader(b.body)
}

// String shows the request without its credentials.
func (b built) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(b.header)) {
		if name != "Authorization" && name != "Cookie" {
			lines = append(lines, fmt.Sprintf("%s: %.100q", name, b.header.Get(name)))
		}
	}
	return fmt.Sprintf("%s %.300s %s %.500q", b.method, b.target, strings.Join(lines, " "), b.body)
}

// cases lists the ways to call the operation that break one thing each.
func (d *document) cases(op *operation) []caseOf {
	var list []caseOf
	for _, p := range op.Parameters {
		list = append(list, d.parameterCases(p)...)
	}
	if body := op.body(); body != nil {
		list = append(list, d.bodyCases(body.Schema, nil, 0)...)
		for _, text := range rawValues() {
			list = append(list, caseOf{name: "the body is raw", change: func(r *draft) { r.body = []byte(text) }})
		}
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "application/json; charset=utf-16", "a/b/c", "application/json, text/html"} {
			list = append(list, caseOf{name: "its type is " + kind, change: func(r *draft) { r.header.Set("Content-Type", kind) }})
		}
		list = append(list,
			caseOf{name: "without a body", refused: op.RequestBody.Required, change: func(r *draft) { r.body = nil }},
			caseOf{name: "compressed", refused: true, change: func(r *draft) { r.header.Set("Content-Encoding", "gzip") }},
			caseOf{name: "a body that is long", change: func(r *draft) { r.body = append(encode(r.body), bytes.Repeat([]byte(" "), 300<<10)...) }},
			caseOf{name: "a body twice", refused: true, change: func(r *draft) { r.body = append(encode(r.body), encode(r.body)...) }},
		)
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} {
		if method != op.method {
			list = append(list, caseOf{name: "by " + method, elsewhere: true, change: func(r *draft) { r.method = method }})
		}
	}
	for _, accept := range []string{"text/html", "application/xml;q=0.1", "*/*;q=0", "a", "application/json;q=x", strings.Repeat("a/b,", 300)} {
		list = append(list, caseOf{name: "for " + clip(accept[:min(len(accept), 20)]), change: func(r *draft) { r.header.Set("Accept", accept) }})
	}
	for _, query := range []string{"unknown=1", "id=1&id=2", "%00=%ff", "limit=1&limit=abc", "a[b]=c", strings.Repeat("a=b&", 2000)} {
		list = append(list, caseOf{name: "asking " + query[:min(len(query), 20)], change: func(r *draft) {
			values, _ := url.ParseQuery(query)
			for name, value := range values {
				r.query[name] = append(r.query[name], value...)
			}
		}})
	}
	for _, id := range []string{"a b", strings.Repeat("x", 5000), "<script>", "\u009b31m\xff", "id-1"} {
		list = append(list, caseOf{name: "with a request id", change: func(r *draft) { r.header.Set("X-Request-Id", id) }})
	}
	list = append(list, caseOf{name: "by an agent with colors", change: func(r *draft) { r.header.Set("User-Agent", "\u009b31mred \xff level=error") }},
		caseOf{name: "from another site", change: func(r *draft) { r.header.Set("Origin", "https://evil.example") }})
	if !op.public() {
		list = append(list, caseOf{name: "by nobody", refused: true, nobody: true})
		for _, value := range []string{"", "Bearer", "Bearer  ", "Basic YTpi", "Bearer slp_wrong", "Bearer slp_" + strings.Repeat("a", 43), "Bearer " + strings.Repeat("x", 9000), "Bearer \xff\xfe", "Bearer ' OR 1=1 --"} {
			list = append(list, caseOf{name: "by somebody unknown", refused: true, nobody: true, change: func(r *draft) { r.header.Set("Authorization", value) }})
		}
		for _, value := range []string{"better-auth.session_token=", "better-auth.session_token=a.b", "better-auth.session_token=%00%ff", "session=\x80", strings.Repeat("a=b; ", 500)} {
			list = append(list, caseOf{name: "by a cookie unknown", refused: true, nobody: true, change: func(r *draft) { r.header.Set("Cookie", value) }})
		}
		for _, value := range []string{"org_aaaaaaaaaaaaaaaaaaaaaaaaaa", "\xff", "x", strings.Repeat("o", 3000)} {
			list = append(list, caseOf{name: "in a foreign organization", change: func(r *draft) { r.header.Set("X-Slipway-Organization", value) }})
		}
	}
	return list
}

func (d *document) parameterCases(p *parameter) []caseOf {
	var list []caseOf
	s := d.resolve(p.Schema)
	texts := hostile()
	if s.MaxLength != nil {
		texts = append(texts, strings.Repeat("a", *s.MaxLength), strings.Repeat("a", *s.MaxLength+1))
	}
	if len(s.Type) > 0 && s.Type[0] == "integer" {
		texts = append(texts, "1.5", "1e2", "0x10", "+1", " 1", "١", "99999999999999999999")
		for _, bound := range []*float64{s.Minimum, s.Maximum} {
			if bound != nil {
				texts = append(texts, fmt.Sprint(*bound-1), fmt.Sprint(*bound), fmt.Sprint(*bound+1))
			}
		}
	}
	if example := fmt.Sprint(p.Example); p.Example != nil {
		// Nearly right: what decoders and look-ups trip over.
		texts = append(texts, example+"=", example+" ", strings.ToUpper(example), strings.Repeat(example, 2), example[:len(example)-1], example+"\x00")
	}
	for _, text := range texts {
		if p.In == "header" {
			if strings.ContainsFunc(text, unsendable) {
				continue
			}
			text = strings.Trim(text, " \t") // as it arrives (RFC 9110 §5.5)
		}
		wrong := len(s.Type) > 0 && s.Type[0] == "string" && text != "" && d.validate(s, text, "") != nil
		list = append(list, caseOf{
			name: fmt.Sprintf("%s is %.24q", p.Name, text), elsewhere: p.In == "path", refused: wrong,
			change: func(r *draft) { r.set(p, text) },
		})
	}
	if p.Required && p.In != "path" {
		list = append(list, caseOf{name: p.Name + " is missing", refused: true, change: func(r *draft) { r.query.Del(p.Name); r.header.Del(p.Name) }})
	}
	return list
}

// bodyCases breaks every field below the schema, at the path.
func (d *document) bodyCases(s *schema, path []string, depth int) []caseOf {
	s = d.resolve(s)
	if s == nil || depth > 4 {
		return nil
	}
	var list []caseOf
	at := strings.Join(path, ".")
	for _, w := range d.wrongs(s) {
		list = append(list, caseOf{name: at + " " + w.name, refused: w.refused && len(path) > 0, change: func(r *draft) { r.put(path, w.value) }})
	}
	if s.Items != nil {
		list = append(list, d.bodyCases(s.Items, append(slices.Clone(path), "0"), depth+1)...)
	}
	if len(s.Properties) == 0 {
		return list
	}
	for name, value := range map[string]any{"isAdmin": true, "id": "prj_aaaaaaaaaaaaaaaaaaaaaaaaaa", "organizationId": "org_aaaaaaaaaaaaaaaaaaaaaaaaaa", "role": "owner", "createdAt": "2020-01-01T00:00:00Z", "__proto__": map[string]any{}, "": 1} {
		if s.Properties[name] == nil {
			list = append(list, caseOf{name: at + " has more: " + name, refused: s.Additional != nil && !s.Additional.allowed, change: func(r *draft) { r.put(append(slices.Clone(path), name), value) }})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		below := append(slices.Clone(path), name)
		if slices.Contains(s.Required, name) {
			list = append(list, caseOf{name: at + " without " + name, refused: true, change: func(r *draft) { r.put(below, missing{}) }})
		}
		list = append(list, caseOf{name: at + " with two " + name, change: func(r *draft) { r.put(below, twice{}) }})
		list = append(list, d.bodyCases(s.Properties[name], below, depth+1)...)
	}
	return list
}

// missing and twice are put where a field is to be left out, or to be there twice.
type (
	missing struct{}
	twice   struct{}
)

// set changes a parameter. Headers cannot carry line ends; net/http would not send them.
func (r *draft) set(p *parameter, value string) {
	switch p.In {
	case "path":
		r.path[p.Name] = value
	case "query":
		r.query.Set(p.Name, value)
	case "header":
		if !strings.ContainsFunc(value, unsendable) {
			r.header.Set(p.Name, value)
		}
	}
}

// unsendable characters are none of a header's.
func unsendable(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// put changes the value at a path in the body, and makes what is above it.
func (r *draft) put(path []string, value any) {
	if _, bytes := r.body.([]byte); bytes {
		return
	}
	r.body = putAt(r.body, path, value)
}

func putAt(v any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if path[0] == "0" {
		list, _ := v.([]any)
		if len(list) == 0 {
			return []any{putAt(nil, path[1:], value)}
		}
		list = slices.Clone(list)
		list[0] = putAt(list[0], path[1:], value)
		return list
	}
	object := map[string]any{}
	if old, ok := v.(map[string]any); ok {
		object = maps.Clone(old)
	}
	below := putAt(object[path[0]], path[1:], value)
	switch below.(type) {
	case missing:
		delete(object, path[0])
	case twice:
		name := encode(path[0])
		first := encode(object[path[0]])
		object[path[0]] = raw(fmt.Sprintf("%s,%s:%s", first, name, first))
	default:
		object[path[0]] = below
	}
	return object
}

// build makes the request of a plan.
func (f *fuzzer) build(p plan, rng *rand.Rand) built {
	op := p.op
	m := maker{f, rng, op.method == http.MethodDelete || slices.Contains(f.opts.Spare, op.id)}
	r := &draft{method: op.method, path: map[string]string{}, query: url.Values{}, header: http.Header{}}
	for _, parameter := range op.Parameters {
		if parameter.Required || parameter.In == "path" || rng.IntN(3) == 0 {
			s := *f.doc.resolve(parameter.Schema)
			if parameter.Example != nil && len(s.Examples) == 0 {
				s.Examples = []any{parameter.Example}
			}
			r.set(parameter, fmt.Sprint(m.named(parameter.Name, &s, 0)))
		}
	}
	if rng.IntN(4) != 0 {
		maps.Copy(r.path, f.pool.place(rng, op.path, m.spare))
	}
	if op.RequestBody != nil {
		r.body = m.body(op)
		r.header.Set("Content-Type", "application/json")
		if op.body() == nil {
			r.header.Set("Content-Type", slices.Sorted(maps.Keys(op.RequestBody.Content))[0])
		}
	}
	if !p.what.nobody {
		m.authorize(op, r.header)
	}
	if p.what.change != nil {
		p.what.change(r)
	}
	return r.built(op.path)
}

// body fits the operation: half of the time its example, with ids of what is there.
func (m maker) body(op *operation) any {
	media := op.body()
	switch {
	case media == nil:
		content := make([]byte, m.rng.IntN(100))
		for i := range content {
			content[i] = byte(m.rng.IntN(256))
		}
		return content
	case media.Example != nil && m.rng.IntN(3) != 0:
		return m.alive(media.Example)
	}
	return m.value(media.Schema, 0)
}

// alive is the value with ids of what is there.
func (m maker) alive(v any) any {
	switch v := v.(type) {
	case string:
		if prefix := prefixOf(v); prefix != "" {
			if id := m.pool.id(m.rng, prefix, m.spare); id != "" {
				return id
			}
		}
		return v
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = m.alive(v[i])
		}
		return list
	case map[string]any:
		object := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			object[name] = m.alive(v[name])
		}
		return object
	}
	return v
}

func (m maker) authorize(op *operation, header http.Header) {
	var can []func(http.Header)
	for _, choice := range op.Security {
		for scheme := range choice {
			if set := m.opts.Credentials[scheme]; set != nil {
				can = append(can, set)
			}
		}
	}
	if len(can) > 0 {
		can[m.rng.IntN(len(can))](header)
	}
}

func (r *draft) built(path string) built {
	for name, value := range r.path {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	b := built{method: r.method, target: path, header: r.header}
	switch body := r.body.(type) {
	case nil:
		if r.header.Get("Content-Type") == "" {
			r.header.Del("Content-Type")
		}
	case []byte:
		b.body = body
	default:
		b.body = encode(body)
	}
	return b
}
