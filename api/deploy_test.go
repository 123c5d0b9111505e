package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

func fileSet(g *gateway, digest string) models.FileSet {
	g.Helper()
	data, err := blob.ReadAll(g.Context(), g.blobs, blob.Key{Scope: g.owner.OrganizationID, Digest: digest}, 1<<30)
	require.NoError(g, err)
	set, err := models.DecodeFileSet(data)
	require.NoError(g, err)
	return set
}

func (g *gateway) content(digest string) string {
	g.Helper()
	data, err := blob.ReadAll(g.Context(), g.blobs, blob.Key{Scope: g.owner.OrganizationID, Digest: digest}, 1<<30)
	require.NoError(g, err)
	return string(data)
}

func TestDeploy_answersExactlyTheFieldsOfTheContract(t *testing.T) {
	g := newGateway(t)
	a := g.do("POST", "/deploy", g.deployBody(nil))
	require.Equal(t, 200, a.status, "%s", a.body)
	fields := a.fields()
	require.Len(t, fields, 5)
	require.Equal(t, true, fields["success"])
	require.Equal(t, "queued", fields["status"])
	require.Equal(t, "Deployment queued successfully", fields["message"])
	require.True(t, models.ValidID(models.PrefixDeployment, fields["deploymentId"].(string)))
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$`, fields["timestamp"])
	require.Empty(t, a.header.Get("Link"))
}

func TestDeploy_storesFilesHistoryAndRowThenStartsTheWorkflow(t *testing.T) {
	g := newGateway(t)
	binary := []byte{0xff, 0x00, 0xfe}
	row := g.deploy(map[string]any{
		"initFiles": []any{
			map[string]any{"path": "b/logo.png", "content": base64.StdEncoding.EncodeToString(binary), "encoding": "base64"},
			map[string]any{"path": "a.html", "content": "grüße"},
		},
		"historyMessages": []any{map[string]any{"role": "user", "content": "make a site"}, map[string]any{"role": "assistant", "content": "here"}},
		"priority":        2,
	})
	set := fileSet(g, row.RequestDigest)
	require.False(t, set.Replace)
	require.Len(t, set.Files, 2)
	require.Equal(t, "a.html", set.Files[0].Path)
	require.Equal(t, "grüße", g.content(set.Files[0].Digest))
	require.Equal(t, int64(len("grüße")), set.Files[0].Size)
	require.Equal(t, string(binary), g.content(set.Files[1].Digest))
	require.JSONEq(t, `[{"role":"user","content":"make a site"},{"role":"assistant","content":"here"}]`, g.content(set.HistoryDigest))

	require.Equal(t, 2, row.Priority)
	require.Equal(t, "run-"+row.ID, row.WorkflowRunID)
	started := g.startedWorkflows()
	require.Len(t, started, 1)
	var input models.DeploymentInput
	require.NoError(t, json.Unmarshal(started[0].Input, &input))
	require.Equal(t, row.ID, input.DeploymentID)
	require.Equal(t, row.RequestDigest, input.RequestDigest)
	require.Equal(t, int64(1), input.Sequence)
	require.Equal(t, "builds", input.BuildQueue)
	require.NotZero(t, input.ActiveTimeout)
	require.NotZero(t, input.ParkTimeout)
}

func TestDeploy_withoutFilesHasNoRequestDigest(t *testing.T) {
	g := newGateway(t)
	row := g.deploy(map[string]any{"initFiles": nil})
	require.Empty(t, row.RequestDigest)
	require.Equal(t, 3, row.Priority)
	// What a client that always sends every field sends.
	row = g.deploy(map[string]any{"initFiles": []any{}, "historyMessages": []any{}, "customDomain": ""})
	require.Empty(t, row.RequestDigest)
}

func TestDeploy_filesReplaceTheSource(t *testing.T) {
	g := newGateway(t)
	content := []byte("console.log(1)")
	digest := blob.Digest(content)
	missing := []any{map[string]any{"path": "src/main.js", "sha256": digest, "mode": 493}}
	g.do("POST", "/deploy", g.deployBody(map[string]any{"initFiles": nil, "files": missing})).
		refuses("files[0].sha256", "PUT /blobs/"+digest)

	require.Equal(t, 200, g.do("PUT", "/blobs/"+digest, content).status)
	row := g.deploy(map[string]any{"initFiles": nil, "files": missing})
	set := fileSet(g, row.RequestDigest)
	require.True(t, set.Replace)
	require.Equal(t, []models.File{{Path: "src/main.js", Digest: digest, Size: int64(len(content)), Mode: 0o755}}, set.Files)
}

func TestDeploy_blobsOfAnotherOrganizationAreMissing(t *testing.T) {
	g := newGateway(t)
	other, _ := g.newOwner("other@example.com")
	key, err := blob.PutBytes(t.Context(), g.blobs, other.OrganizationID, []byte("secret"))
	require.NoError(t, err)
	g.do("POST", "/deploy", g.deployBody(map[string]any{"initFiles": nil, "files": []any{map[string]any{"path": "a", "sha256": key.Digest}}})).
		refuses("files[0].sha256", "is missing")
}

func files(entries ...any) []any {
	var list []any
	for _, e := range entries {
		switch f := e.(type) {
		case string:
			list = append(list, map[string]any{"path": f, "content": "x"})
		default:
			list = append(list, f)
		}
	}
	return list
}

func TestDeploy_badInputNamesTheExactField(t *testing.T) {
	g := newGateway(t)
	hex := strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		changes        map[string]any
		field, message string
	}{
		"no project":           {map[string]any{"projectId": nil}, "projectId", "is required"},
		"no organization":      {map[string]any{"orgId": nil}, "orgId", "is required"},
		"no user":              {map[string]any{"userId": nil}, "userId", "is required"},
		"empty project":        {map[string]any{"projectId": ""}, "projectId", "length"},
		"project is a number":  {map[string]any{"projectId": 7}, "projectId", "string"},
		"unknown field":        {map[string]any{"projectID2": "x"}, "projectID2", "unexpected"},
		"priority 0 by name":   {map[string]any{"priority": 6}, "priority", "<= 5"},
		"priority negative":    {map[string]any{"priority": -1}, "priority", ">= 1"},
		"unknown role":         {map[string]any{"historyMessages": []any{map[string]any{"role": "system", "content": "x"}}}, "historyMessages[0].role", "user"},
		"message without role": {map[string]any{"historyMessages": []any{map[string]any{"content": "x"}}}, "historyMessages[0].role", "is required"},
		"files is no list":     {map[string]any{"initFiles": "x"}, "initFiles", "array"},
		"file without path":    {map[string]any{"initFiles": files(map[string]any{"content": "x"})}, "initFiles[0].path", "is required"},
		"file without content": {map[string]any{"initFiles": files(map[string]any{"path": "x"})}, "initFiles[0].content", "is required"},
		"unknown encoding":     {map[string]any{"initFiles": files(map[string]any{"path": "x", "content": "", "encoding": "hex"})}, "initFiles[0].encoding", "base64"},
		"bad base64":           {map[string]any{"initFiles": files(map[string]any{"path": "x", "content": "a", "encoding": "base64"})}, "initFiles[0].content", "base64"},
		"absolute":             {map[string]any{"initFiles": files("a", "b", "c", "/etc/passwd")}, "initFiles[3].path", "relative"},
		"dot dot":              {map[string]any{"initFiles": files("a/../b")}, "initFiles[0].path", "'..'"},
		"dot":                  {map[string]any{"initFiles": files("a/./b")}, "initFiles[0].path", "'.'"},
		"backslash":            {map[string]any{"initFiles": files(`a\b`)}, "initFiles[0].path", "backslash"},
		"NUL":                  {map[string]any{"initFiles": files("a\x00b")}, "initFiles[0].path", "NUL"},
		"control character":    {map[string]any{"initFiles": files("a\nb")}, "initFiles[0].path", "control"},
		"empty path":           {map[string]any{"initFiles": files("")}, "initFiles[0].path", "empty"},
		"empty segment":        {map[string]any{"initFiles": files("a//b")}, "initFiles[0].path", "empty path segments"},
		"trailing slash":       {map[string]any{"initFiles": files("a/")}, "initFiles[0].path", "empty path segments"},
		"long path":            {map[string]any{"initFiles": files(strings.Repeat("a", 256))}, "initFiles[0].path", "255"},
		"duplicate":            {map[string]any{"initFiles": files("a", "b", "a")}, "initFiles[2].path", "same as initFiles[0].path"},
		"duplicate by case":    {map[string]any{"initFiles": files("README.md", "readme.MD")}, "initFiles[1].path", "only by case from initFiles[0].path"},
		"file as folder":       {map[string]any{"initFiles": files("a/b/c", "x", "a/b")}, "initFiles[0].path", "inside initFiles[2].path"},
		"file as folder, case": {map[string]any{"initFiles": files("A", "a/b")}, "initFiles[1].path", "inside initFiles[0].path"},
		"both kinds":           {map[string]any{"files": []any{map[string]any{"path": "a", "sha256": hex}}}, "files", "initFiles"},
		"no files at all":      {map[string]any{"initFiles": nil, "files": []any{}}, "files", "at least one"},
		"short digest":         {map[string]any{"initFiles": nil, "files": []any{map[string]any{"path": "a", "sha256": "ab"}}}, "files[0].sha256", "64"},
		"digest in capitals":   {map[string]any{"initFiles": nil, "files": []any{map[string]any{"path": "a", "sha256": strings.ToUpper(hex)}}}, "files[0].sha256", "64"},
		"odd mode":             {map[string]any{"initFiles": nil, "files": []any{map[string]any{"path": "a", "sha256": hex, "mode": 2541}}}, "files[0].mode", "493"},
		"path in files":        {map[string]any{"initFiles": nil, "files": []any{map[string]any{"path": "../a", "sha256": hex}}}, "files[0].path", "'..'"},
		"domain with scheme":   {map[string]any{"customDomain": "https://example.com"}, "customDomain", "host name alone"},
		"domain with port":     {map[string]any{"customDomain": "example.com:80"}, "customDomain", "host name alone"},
		"domain wildcard":      {map[string]any{"customDomain": "*.example.com"}, "customDomain", "wildcard"},
		"domain is an address": {map[string]any{"customDomain": "127.0.0.1"}, "customDomain", "address"},
		"domain one label":     {map[string]any{"customDomain": "intranet"}, "customDomain", "two labels"},
		"domain of ours":       {map[string]any{"customDomain": "x.slipway.test"}, "customDomain", "platform"},
		"domain localhost":     {map[string]any{"customDomain": "shop.localhost"}, "customDomain", "platform"},
		"domain underscore":    {map[string]any{"customDomain": "a_b.example.com"}, "customDomain", "valid host name"},
		"domain empty label":   {map[string]any{"customDomain": "a..com"}, "customDomain", "label"},
		"domain NUL":           {map[string]any{"customDomain": "a\x00.com"}, "customDomain", "valid host name"},
	} {
		t.Run(name, func(t *testing.T) {
			a := g.do("POST", "/deploy", g.deployBody(c.changes))
			a.T = t
			a.refuses(c.field, c.message)
		})
	}
	require.Empty(t, g.startedWorkflows())
	rows, err := g.store.Deployments(t.Context(), models.DeploymentFilter{OrganizationID: g.owner.OrganizationID, Limit: 1})
	require.NoError(t, err)
	require.Empty(t, rows)
}

func TestDeploy_bodiesThatAreNoJSONAreRefused(t *testing.T) {
	g := newGateway(t)
	for name, c := range map[string]struct {
		body    string
		message string
	}{
		"empty":          {"", "required"},
		"cut off":        {`{"projectId": "x`, "not valid JSON"},
		"trailing":       {`{} {}`, "not valid JSON"},
		"a list":         {`[]`, "object"},
		"not UTF-8":      {"{\"projectId\":\"\xff\"}", "UTF-8"},
		"deeply nested":  {strings.Repeat("[", 20000), "not valid JSON"},
		"null":           {`null`, ""},
		"duplicate keys": {`{"projectId":1,"projectId":2}`, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			a := g.do("POST", "/deploy", c.body)
			a.T = t
			object := a.failed(models.CodeValidation)
			require.Contains(t, fmt.Sprint(object["details"]), c.message)
		})
	}
}

func TestDeploy_errorsDoNotRepeatValues(t *testing.T) {
	g := newGateway(t)
	secret := strings.Repeat("hunter2", 10)
	a := g.do("POST", "/deploy", g.deployBody(map[string]any{"initFiles": []any{map[string]any{"path": 1, "content": secret}}}))
	a.refuses("initFiles[0].path", "string")
	require.NotContains(t, string(a.body), "hunter2")
	a = g.do("POST", "/deploy", `{"projectId": "`+secret)
	a.failed(models.CodeValidation)
	require.NotContains(t, string(a.body), "hunter2")
	a = g.do("POST", "/deploy", g.deployBody(map[string]any{strings.Repeat("k", 100_000): 1}))
	a.failed(models.CodeValidation)
	require.Less(t, len(a.body), 2000)
}

func TestDeploy_manyBadFilesAreListedUpToABound(t *testing.T) {
	g := newGateway(t)
	var list []any
	for range 500 {
		list = append(list, map[string]any{"path": "/abs", "content": ""})
	}
	object := g.do("POST", "/deploy", g.deployBody(map[string]any{"initFiles": list})).failed(models.CodeValidation)
	require.Len(t, object["details"], 100)
	require.Contains(t, object["message"], "and 499 more")
}

func TestDeploy_limitsAreEnforced(t *testing.T) {
	g := newGateway(t, func(o *api.Options) {
		o.Limits = api.Limits{BodyBytes: 20_000, Files: 3, FileBytes: 1000, PathBytes: 20}
	})
	g.do("POST", "/deploy", g.deployBody(map[string]any{"initFiles": files("a", "b", "c", "d")})).failed(models.CodeTooLarge)
	object := g.do("POST", "/deploy", g.deployBody(map[string]any{"initFiles": files("a", map[string]any{"path": "b", "content": strings.Repeat("x", 1001)})})).
		failed(models.CodeTooLarge)
	require.Contains(t, fmt.Sprint(object["details"]), "initFiles[1].content")
	g.do("POST", "/deploy", g.deployBody(map[string]any{"initFiles": files(strings.Repeat("a", 21))})).refuses("initFiles[0].path", "20 bytes")

	exactly, err := json.Marshal(g.deployBody(nil))
	require.NoError(t, err)
	exactly = append(exactly, bytes.Repeat([]byte(" "), 20_000-len(exactly))...)
	require.Equal(t, 200, g.do("POST", "/deploy", exactly).status)
	over := append(exactly, ' ')
	g.do("POST", "/deploy", over).failed(models.CodeTooLarge)
	// Without a Content-Length it shows only while reading.
	g.do("POST", "/deploy", struct{ *bytes.Reader }{bytes.NewReader(over)}).failed(models.CodeTooLarge)
}

func TestDeploy_refusesOtherContentTypes(t *testing.T) {
	g := newGateway(t)
	g.do("POST", "/deploy", "a=b", header{"Content-Type": "application/x-www-form-urlencoded"}).failed(models.CodeUnsupportedMedia)
	g.do("POST", "/deploy", "x", header{"Content-Encoding": "gzip"}).failed(models.CodeUnsupportedMedia)
	require.Equal(t, 200, g.do("POST", "/deploy", g.deployBody(nil), header{"Content-Type": "application/json; charset=utf-8"}).status)
}

func TestDeploy_projectQuotaAndDomainAreCheckedAtOnce(t *testing.T) {
	g := newGateway(t)
	other, _ := g.newOwner("other@example.com")
	foreign, err := g.store.CreateProject(t.Context(), other.OrganizationID, "Other", "other")
	require.NoError(t, err)

	for _, id := range []string{foreign.ID, models.NewID(models.PrefixProject), "nonsense", "a\x00b"} {
		g.do("POST", "/deploy", g.deployBody(map[string]any{"projectId": id})).failed(models.CodeProjectNotFound)
	}

	row := g.deploy(map[string]any{"customDomain": "Shop.Example.COM."})
	require.Equal(t, "shop.example.com", row.CustomDomain)
	g.own(foreign, "taken.example.com")
	g.do("POST", "/deploy", g.deployBody(map[string]any{"customDomain": "taken.example.com"})).failed(models.CodeDomainUnavailable)
	claim, err := g.store.DomainOf(t.Context(), g.project.ID, "shop.example.com")
	require.NoError(t, err)
	require.Equal(t, models.DomainPending, claim.Status)
	require.Equal(t, "run-"+claim.ID, claim.WorkflowRunID)

	require.NoError(t, g.store.SetQuotas(t.Context(), g.owner.OrganizationID, models.QuotaChange{BuildMinutes: new(int64(0))}))
	g.deploy(nil) // which may need no build
	require.NoError(t, g.store.SetQuotas(t.Context(), g.owner.OrganizationID, models.QuotaChange{Deployments: new(int64(0))}))
	object := g.do("POST", "/deploy", g.deployBody(nil)).failed(models.CodeQuotaExceeded)
	require.Contains(t, object["details"], "limit")
}

func TestDeploy_bodyMustNameTheTokensOwner(t *testing.T) {
	g := newGateway(t)
	other, _ := g.newOwner("other@example.com")
	for field, value := range map[string]string{"orgId": other.OrganizationID, "userId": other.UserID} {
		object := g.do("POST", "/deploy", g.deployBody(map[string]any{field: value})).failed(models.CodeForbidden)
		require.Contains(t, fmt.Sprint(object["details"]), field)
	}
}

func TestDeploy_isQueuedEvenWhenTheWorkflowCannotStart(t *testing.T) {
	g := newGateway(t, func(o *api.Options) {
		o.Start = func(context.Context, models.Deployment) (string, error) { return "", errors.New("no temporal") }
	})
	row := g.deploy(nil)
	require.Empty(t, row.WorkflowRunID)
	unstarted, err := g.store.Unstarted(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, unstarted, 1)
	require.Contains(t, g.log.String(), "the reconciler will start it")
}

func TestDeploy_sameKeyAndBodyGiveTheSameAnswer(t *testing.T) {
	g := newGateway(t)
	body := g.deployBody(nil)
	key := header{"Idempotency-Key": "order 66/a"}
	first := g.do("POST", "/deploy", body, key)
	require.Equal(t, 200, first.status, "%s", first.body)
	// Answered as before even when a new one would be refused now.
	require.NoError(t, g.store.SetQuotas(t.Context(), g.owner.OrganizationID, models.QuotaChange{Deployments: new(int64(0))}))
	second := g.do("POST", "/deploy", body, key)
	require.Equal(t, string(first.body), string(second.body))
	require.Len(t, g.startedWorkflows(), 1)

	g.do("POST", "/deploy", g.deployBody(map[string]any{"priority": 1}), key).failed(models.CodeIdempotency)
	g.do("POST", "/deploy", body, header{"Idempotency-Key": strings.Repeat("k", 256)}).refuses("Idempotency-Key", "255")
	g.do("POST", "/deploy", body, header{"Idempotency-Key": "schlüssel"}).refuses("Idempotency-Key", "printable ASCII")
}

func TestDeploy_fiftyAtOnceWithOneKeyMakeOneDeployment(t *testing.T) {
	g := newGateway(t)
	body, err := json.Marshal(g.deployBody(nil))
	require.NoError(t, err)
	answers := make([]string, 50)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			request, err := http.NewRequest("POST", g.http.URL+"/deploy", bytes.NewReader(body))
			if err != nil {
				return
			}
			request.Header = http.Header{"Authorization": {"Bearer " + g.token}, "Idempotency-Key": {"one"}}
			response, err := g.http.Client().Do(request)
			if err != nil {
				return
			}
			defer response.Body.Close()
			var got bytes.Buffer
			_, _ = got.ReadFrom(response.Body)
			answers[i] = fmt.Sprint(response.StatusCode, " ", got.String())
		})
	}
	group.Wait()
	require.Contains(t, answers[0], `200 {"success":true`)
	for _, a := range answers {
		require.Equal(t, answers[0], a)
	}
	rows, err := g.store.Deployments(t.Context(), models.DeploymentFilter{OrganizationID: g.owner.OrganizationID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Len(t, g.startedWorkflows(), 1)
}
