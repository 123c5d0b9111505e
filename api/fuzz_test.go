package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

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

func FuzzCursor(f *testing.F) {
	f.Add(encodeCursor("dep_aaaaaaaaaaaaaaaaaaaaaaaaaa"))
	f.Add("MTo")
	f.Add("")
	f.Fuzz(func(t *testing.T, cursor string) {
		id, err := decodeCursor(models.PrefixDeployment, cursor)
		if err != nil || id == "" {
			return
		}
		if !models.ValidID(models.PrefixDeployment, id) || encodeCursor(id) != cursor {
			t.Fatalf("%q gives %q", cursor, id)
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
