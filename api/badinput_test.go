package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func TestBadInput_aNULIsTheCallersMistakeNotTheDatabases(t *testing.T) {
	g := newGateway(t)
	g.do("GET", "/projects/"+g.project.ID+"/logs/stream?follow=false&release=%00", nil).failed(models.CodeReleaseNotFound)
	g.do("GET", "/deploy-status?id=%00", nil).failed(models.CodeDeploymentNotFound)
}

// TestBadInput_noBodyTakesFieldsThatAreNotDocumented is about mass assignment: what an
// operation does not name, nobody can set with it.
func TestBadInput_noBodyTakesFieldsThatAreNotDocumented(t *testing.T) {
	g := newGateway(t)
	doc := g.document()
	var closed func(schema map[string]any, at string)
	closed = func(schema map[string]any, at string) {
		if ref, ok := schema["$ref"].(string); ok {
			schema = doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
		}
		if items, ok := schema["items"].(map[string]any); ok {
			closed(items, at+"[]")
		}
		properties, _ := schema["properties"].(map[string]any)
		if len(properties) > 0 {
			assert.Equal(t, false, schema["additionalProperties"], at)
		}
		for name, property := range properties {
			closed(property.(map[string]any), at+"."+name)
		}
	}
	bodies := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			if op.RequestBody != nil && op.RequestBody.Content["application/json"].Schema != nil {
				bodies++
				closed(op.RequestBody.Content["application/json"].Schema, method+" "+path)
			}
		}
	}
	require.Greater(t, bodies, 10)

	for name, value := range map[string]any{"id": "prj_aaaaaaaaaaaaaaaaaaaaaaaaaa", "orgId": "org_aaaaaaaaaaaaaaaaaaaaaaaaaa", "organizationId": "x", "liveReleaseId": "x", "createdAt": "2020-01-01T00:00:00Z"} {
		g.do("POST", "/projects", map[string]any{"name": "Taken over", name: value}).failed(models.CodeValidation)
	}
	var list api.ProjectList
	g.do("GET", "/projects", nil).into(200, &list)
	require.Len(t, list.Items, 1)
}

func TestBadInput_aFieldInAnotherCaseDoesNotSlipPastTheChecks(t *testing.T) {
	g := newGateway(t)
	g.do("POST", "/projects", `{"name":"Fine","Name":"\u202egpj.exe"}`).failed(models.CodeValidation)
	g.do("POST", "/projects", `{"NAME":"Fine"}`).failed(models.CodeValidation)
	g.do("POST", "/deploy", g.deployBody(map[string]any{"PRIORITY": 9})).failed(models.CodeValidation)
}

// TestBadInput_namesHoldNoTricks sends names that look like others, or that turn around,
// hide or break the text they are shown in, wherever something is named.
func TestBadInput_namesHoldNoTricks(t *testing.T) {
	s := newExampled(t)
	tricks := []string{
		"a\nb", "a\r\nSet-Cookie: x=y", "a\x00b", "\x1b[31mred", "a\u009b31m", "\u202egpj.exe", "a\u200bb", "\u2066a\u2069", "a\u2028b", "\ufeffa", "a\u0085b",
		"", "   ", "\u3000", "\u200b", strings.Repeat("a", 5000),
	}
	named := 0
	for path, item := range s.document().Paths {
		for method, op := range item {
			if op.RequestBody == nil {
				continue
			}
			example, _ := op.RequestBody.Content["application/json"].Example.(map[string]any)
			if _, ok := example["name"]; !ok {
				continue
			}
			named++
			for _, trick := range tricks {
				example["name"] = trick
				a := s.call(method, path, op, example)
				assert.Equal(t, 400, a.status, "%s takes the name %q: %s", op.OperationID, trick, a.body)
				if strings.TrimSpace(trick) != "" {
					assert.NotContains(t, string(a.body), trick)
				}
			}
		}
	}
	require.GreaterOrEqual(t, named, 4)

	// A worker's name is part of a host, where look-alikes deceive.
	for _, name := range []string{"ѕhop2", "shоp-2", "ｓｈｏｐ2", "shop\u200b2", "xn--shp-2na", "shop2.", "-shop2", "shop_2", "shop 2", "shop2\x00", "../shop2", "Ⅷ"} {
		s.do("POST", "/projects", map[string]any{"name": "Alike", "workerName": name}).refuses("workerName", "")
	}
	s.do("POST", "/projects", map[string]any{"name": "Alike", "workerName": "SHOP"}).failed(models.CodeNameTaken)
}

func TestBadInput_aFieldGivenTwiceDoesNotSlipPastTheChecks(t *testing.T) {
	g := newGateway(t)
	for _, body := range []string{
		`{"name":"\u202egpj.exe","name":"Fine"}`, `{"name":"Fine","n\u0061me":"Fine"}`, `{"workerName":"fine","name":{"workerName":1},"workerName":"fine"}`,
	} {
		a := g.do("POST", "/projects", body)
		a.failed(models.CodeValidation)
		require.Contains(t, string(a.body), "ame")
	}
	body, err := json.Marshal(g.deployBody(nil))
	require.NoError(t, err)
	two := strings.TrimSuffix(string(body), "}") + `,"initFiles":[{"path":"a","content":""}]}`
	g.do("POST", "/deploy", two).failed(models.CodeValidation)
	require.Empty(t, g.startedWorkflows())
}

func TestBadInput_isExplainedInWordsOfItsSender(t *testing.T) {
	g := newGateway(t)
	message := func(a answer) any { return a.failed(models.CodeValidation)["message"] }
	require.Equal(t, "createdAfter must be a time in RFC 3339, such as 2025-07-22T10:30:00Z", message(g.do("GET", "/deployments?createdAfter=2025-07-22", nil)))
	require.Equal(t, "name: A name must not be empty.", message(g.do("POST", "/projects", map[string]any{"name": " "})))
	require.Equal(t, "workerName: Subdomain 'www' is reserved", message(g.do("PATCH", "/projects/"+g.project.ID, map[string]any{"workerName": "www"})))
	require.Equal(t, "cursor must be the nextCursor of an earlier answer of this list", message(g.do("GET", "/projects?cursor=x", nil)))
}

func TestBadInput_aMediaTypeCountsInAnyCase(t *testing.T) {
	g := newGateway(t)
	for _, kind := range []string{"APPLICATION/JSON", "Application/Json; Charset=UTF-8", "application/json ;charset=utf-8"} {
		a := g.do("PATCH", "/projects/"+g.project.ID, `{"name":"Shop"}`, header{"Content-Type": kind})
		require.Equal(t, 200, a.status, "%s: %s", kind, a.body)
	}
	for _, kind := range []string{"TEXT/PLAIN", "application/x-www-form-urlencoded", "application/jsonp", "json/application", "application/json, text/plain"} {
		a := g.do("PATCH", "/projects/"+g.project.ID, `{"name":"Shop"}`, header{"Content-Type": kind})
		require.GreaterOrEqual(t, a.status, 400, "%s: %s", kind, a.body)
	}
}

func TestBadInput_sqlIsTextLikeAnyOther(t *testing.T) {
	g := newGateway(t)
	const text = `Robert'); DROP TABLE projects; -- " \ % _ $1 ? {{7*7}} ${jndi:x}`
	a := g.do("POST", "/projects", map[string]any{"name": text})
	require.Equal(t, 201, a.status)
	require.Equal(t, text, a.fields()["name"])
	require.Equal(t, text, g.do("GET", a.header.Get("Location"), nil).fields()["name"])
	for _, path := range []string{"/deployments?projectId=%27%20OR%201%3D1%20--", "/projects/%25", "/projects/prj_%27%3BSELECT%20pg_sleep(9)--", "/deploy-status?id=dep_%25"} {
		require.Equal(t, 404, g.do("GET", path, nil).status, path)
	}
}

// TestBadInput_nothingSentBreaksALineOfTheLogOrAHeader puts line ends and terminals'
// commands wherever a request has room for them.
func TestBadInput_nothingSentBreaksALineOfTheLogOrAHeader(t *testing.T) {
	g := newGateway(t)
	before := len(g.log.String())
	sent := 0
	for _, path := range []string{"/projects/%0A%7B%22level%22:%22error%22%7D", "/projects/%1B%5B2J", "/%C2%9B31m%E2%80%AEevil", "/projects/%0D%0AX-Injected:%201", "/%FF%FE", "/deployments?projectId=%0A"} {
		for name, value := range map[string]string{"User-Agent": "a\u009b31m\xff", "X-Request-Id": "id level=error", "X-Forwarded-For": "1.2.3.4\u009b", "Origin": "https://\u202e.example", "Idempotency-Key": "\xff"} {
			a := g.do("GET", path, nil, header{name: value})
			sent++
			require.GreaterOrEqual(t, a.status, 400)
			require.Less(t, a.status, 500)
			for name, values := range a.header {
				require.NotEqual(t, "X-Injected", name)
				require.NotContains(t, strings.Join(values, ""), "\u009b")
			}
		}
	}
	lines := strings.Split(strings.TrimSpace(g.log.String()[before:]), "\n")
	require.Len(t, lines, sent)
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
		require.False(t, strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e }), "%q", line)
		require.Contains(t, line, `"level":"info"`)
	}
}

func TestBadInput_headersOfTenMegabytesAreRefused(t *testing.T) {
	g := newGateway(t)
	ctx, stop := context.WithCancel(t.Context())
	url, done := serve(t, ctx, g.server)
	for _, name := range []string{"Authorization: Bearer ", "Cookie: better-auth.session_token=", "X-Request-Id: ", "If-Match: "} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		go func() {
			_, _ = fmt.Fprintf(conn, "GET /projects HTTP/1.1\r\nHost: x\r\n%s%s\r\n\r\n", name, strings.Repeat("x", 10<<20))
		}()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			// Else the connection was ended under the sender, which is an answer too.
			require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
			_, _ = io.Copy(io.Discard, response.Body)
		}
		require.NoError(t, conn.Close())
	}
	stop()
	require.NoError(t, <-done)
}

func TestBadInput_oneNameAskedForAtOnceIsGivenOnce(t *testing.T) {
	g := newGateway(t)
	statuses := make([]int, 20)
	var group sync.WaitGroup
	for i := range statuses {
		group.Go(func() {
			statuses[i] = g.do("POST", "/projects", map[string]any{"name": "Rush", "workerName": "rush"}).status
		})
	}
	group.Wait()
	slices.Sort(statuses)
	require.Equal(t, 201, statuses[0])
	require.Equal(t, slices.Repeat([]int{409}, 19), statuses[1:])
}
