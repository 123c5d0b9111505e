package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
)

func fuzzServer() *Server {
	return &Server{opts: Options{Limits: Limits{Files: 50, FileBytes: 1 << 16}.withDefaults(), Domain: "slipway.test"}}
}

// FuzzDeployBody holds what comes through the checks to what the workflow relies on.
func FuzzDeployBody(f *testing.F) {
	f.Add([]byte(`{"projectId":"p","orgId":"o","userId":"u","initFiles":[{"path":"a/b.html","content":"x"},{"path":"c","content":"eA==","encoding":"base64"}]}`))
	f.Add([]byte(`{"files":[{"path":"a","sha256":"` + strings.Repeat("a", 64) + `","mode":493}],"customDomain":"Bücher.example"}`))
	f.Add([]byte(`{"initFiles":[{"path":"A","content":""},{"path":"a/B","content":""}]}`))
	f.Add([]byte(`{"customDomain":"a..b"}`))
	f.Add([]byte("{\"initFiles\":[{\"path\":\"\xff\",\"content\":\"\"}]}"))
	s := fuzzServer()
	f.Fuzz(func(t *testing.T, body []byte) {
		var req DeployRequest
		if err := unmarshalJSON(body, &req); err != nil {
			_ = humaError(400, "", []error{err})
			return
		}
		contents, err := s.checkDeploy(&req)
		if err != nil {
			answer := envelopeOf(err)
			if answer.GetStatus() >= 500 {
				t.Fatalf("a bad body is the platform's failure: %v", err)
			}
			if _, err := json.Marshal(answer); err != nil {
				t.Fatal(err)
			}
			return
		}
		if len(contents) != len(req.InitFiles) {
			t.Fatal("a file without content")
		}
		seen := map[string]bool{}
		for _, file := range req.InitFiles {
			folded := models.FoldPath(file.Path)
			if seen[folded] || models.CheckPath(file.Path, 0) != "" {
				t.Fatalf("let through: %q", file.Path)
			}
			seen[folded] = true
		}
		for path := range seen {
			for i, c := range path {
				if c == '/' && seen[path[:i]] {
					t.Fatalf("%q is inside a file", path)
				}
			}
		}
		if host := req.CustomDomain; host != "" {
			if again, problem := checkHost(host, "slipway.test"); problem != "" || again != host || strings.ToLower(host) != host {
				t.Fatalf("host not in its final form: %q", host)
			}
		}
	})
}

// FuzzRepeatedField holds the scan to what a decoder of tokens finds.
func FuzzRepeatedField(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":{"a":[{"a":1,"b":"a\\"}]},"b":"\"a\":1"}`, `[{"a":1},{"a":1}]`, `{"\u0061":1,"a":2}`, `"a"`, `{}`, "{\"\xff\":1}", `{"":1,"":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if json.Unmarshal(data, &v) != nil || !utf8.Valid(data) {
			return
		}
		_, found := repeatedField(data)
		if want := repeats(json.NewDecoder(bytes.NewReader(data))); found != want {
			t.Fatalf("%q: %v", data, found)
		}
	})
}

// repeats says whether the decoder's next value has an object with a name twice.
func repeats(decoder *json.Decoder) bool {
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') && token != json.Delim('[') {
		return false
	}
	names, twice := map[string]bool{}, false
	for decoder.More() {
		if token == json.Delim('{') {
			name, _ := decoder.Token()
			twice = twice || names[name.(string)]
			names[name.(string)] = true
		}
		twice = repeats(decoder) || twice
	}
	_, _ = decoder.Token()
	return twice
}

// FuzzPrintable holds what the log shows of a path to plain text.
func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"/projects/a b", "/\x1b[2J", "/\u009b31m", "/\xff\xfe", "/é\u202e", "/%0a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		shown := printable(path)
		if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q is shown as %q", path, shown)
		}
	})
}

func FuzzRequestID(f *testing.F) {
	for _, seed := range []string{"abc-1.2_3", "", "a b", "\r\n", strings.Repeat("a", 65), "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if saneRequestID(id) && (len(id) > 64 || id == "" || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' })) {
			t.Fatalf("%q is taken", id)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(encodeCursor(models.Position{Key: 1, ID: "dep_aaaaaaaaaaaaaaaaaaaaaaaaaa"}))
	f.Add("Mjo")
	f.Add("")
	f.Fuzz(func(t *testing.T, cursor string) {
		after, err := decodeCursor(models.PrefixDeployment, cursor)
		if err != nil || after.Begins() {
			return
		}
		again, err := decodeCursor(models.PrefixDeployment, encodeCursor(after))
		if !models.ValidID(models.PrefixDeployment, after.ID) || after.At().Year() < 1970 || after.At().Year() > 9999 || err != nil || again != after {
			t.Fatalf("%q gives %v", cursor, after)
		}
	})
}

func FuzzLastEventID(f *testing.F) {
	for _, seed := range []string{"", "0", "42", "-1", "+1", "9223372036854775807", "9223372036854775808", "1e3", " 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		line, err := parseLastEventID(header)
		if err == nil && line < 0 {
			t.Fatalf("%q gives %d", header, line)
		}
	})
}

func FuzzBearerToken(f *testing.F) {
	for _, seed := range []string{"Bearer x", "bearer  x ", "Bearer", "Basic x", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := bearerToken(header)
		if ok && (token == "" || len(token) > maxTokenLength || strings.TrimSpace(token) != token) {
			t.Fatalf("%q gives %q", header, token)
		}
	})
}

func TestStamp_isUTCInMilliseconds(t *testing.T) {
	at := time.Date(2025, 7, 22, 12, 30, 0, 123_456_789, time.FixedZone("", 7200))
	data, err := json.Marshal(stamp(at))
	if err != nil || string(data) != `"2025-07-22T10:30:00.123Z"` {
		t.Fatal(string(data), err)
	}
}
