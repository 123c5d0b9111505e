package apifuzz_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/tools/apifuzz"
)

const things = `{"openapi":"3.1.0","paths":{"/things":{"post":{"operationId":"make-thing",
	"security":[{"key":[]}],
	"requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Thing"},"example":{"name":"nail","size":3}}}},
	"responses":{
		"201":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Thing"}}}},
		"400":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"BAD":{}}}}},
		"401":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Error"},"examples":{"WHO":{}}}}}}}}},
	"components":{"schemas":{
		"Thing":{"type":"object","additionalProperties":false,"required":["name"],"properties":{
			"name":{"type":"string","minLength":1,"maxLength":20,"examples":["nail"]},"size":{"type":"integer","minimum":1,"maximum":9}}},
		"Error":{"type":"object","required":["success","error"],"properties":{"success":{"type":"boolean"},"error":{"type":"string"}}}}}}`

// maker answers as the document says, but for one flaw.
type maker struct{ flaw string }

func (m maker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", "1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
	refuse := func(status int, code string) { answer(status, `{"success":false,"error":"`+code+`"}`) }
	if r.URL.Path != "/things" || r.Method != http.MethodPost {
		refuse(http.StatusMethodNotAllowed, "METHOD")
		return
	}
	if r.Header.Get("Authorization") != "key" && m.flaw != "open" {
		refuse(http.StatusUnauthorized, "WHO")
		return
	}
	var thing struct {
		Name *string `json:"name"`
		Size *int    `json:"size"`
	}
	body, _ := io.ReadAll(r.Body)
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&thing)
	_, rest := decoder.Token()
	bad := err != nil || rest != io.EOF || thing.Name == nil || r.Header.Get("Content-Encoding") != ""
	if !bad && m.flaw != "bounds" {
		length := len([]rune(*thing.Name))
		bad = length < 1 || length > 20 || thing.Size != nil && (*thing.Size < 1 || *thing.Size > 9)
	}
	switch {
	case m.flaw == "NUL" && thing.Name != nil && strings.Contains(*thing.Name, "\x00"):
		refuse(http.StatusInternalServerError, "OOPS")
	case bad && m.flaw == "code":
		refuse(http.StatusBadRequest, "OTHER")
	case bad:
		refuse(http.StatusBadRequest, "BAD")
	case m.flaw == "field":
		answer(http.StatusCreated, `{"name":"nail","owner":"me"}`)
	case m.flaw == "status":
		answer(http.StatusOK, `{"name":"nail"}`)
	case m.flaw == "insides":
		answer(http.StatusCreated, `{"name":"SQLSTATE 42601"}`)
	default:
		answer(http.StatusCreated, `{"name":"nail"}`)
	}
}

func run(t *testing.T, flaw string) apifuzz.Report {
	t.Helper()
	server := httptest.NewServer(maker{flaw})
	defer server.Close()
	report, err := apifuzz.Run(t.Context(), apifuzz.Options{
		URL: server.URL, Document: []byte(things), Seed: 1, Requests: 400, Client: server.Client(),
		Credentials: map[string]func(http.Header){"key": func(h http.Header) { h.Set("Authorization", "key") }},
	})
	require.NoError(t, err)
	require.Greater(t, report.Requests, 200)
	return report
}

func TestRun_findsNothingWhereNothingIsWrong(t *testing.T) {
	require.Empty(t, run(t, "").Problems)
}

func TestRun_findsEveryFlaw(t *testing.T) {
	for flaw, said := range map[string]string{
		"NUL": "answers 500", "code": "the error OTHER", "field": "answer.owner is not documented", "status": "answers 200, which is not documented",
		"open": "by nobody", "bounds": "takes what the document refuses", "insides": "SQLSTATE",
	} {
		require.Contains(t, strings.Join(run(t, flaw).Problems, "\n"), said, flaw)
	}
}
