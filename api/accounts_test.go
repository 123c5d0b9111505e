package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/auth"
	"github.com/slipwayhq/slipway/models"
)

// newSession begins one of the person's, and returns its cookie.
func (g *gateway) newSession(userID string) string {
	_, token, err := g.store.CreateSession(g.Context(), models.Session{UserID: userID, Remembered: true, ExpiresAt: time.Now().UTC().Add(time.Hour)})
	assert.NoError(g, err)
	return "session=" + token
}

func TestOpenAPI_accountsDocumentTheirErrorsInTheirOwnShape(t *testing.T) {
	const own = "#/components/schemas/AuthError"
	doc := newGateway(t, withAccounts(t, &postbox{})).document()
	found := 0
	for path, item := range doc.Paths {
		if !strings.HasPrefix(path, auth.Prefix) {
			continue
		}
		for method, op := range item {
			found++
			name := method + " " + path
			assert.Equal(t, []string{"Accounts"}, op.Tags, name)
			assert.NotEmpty(t, op.Security, name)
			assert.Contains(t, op.Responses, "429", name)
			assert.Contains(t, op.Responses, "500", name)
			if !op.public() && len(op.Security) == 1 {
				assert.Contains(t, op.Responses, "401", name)
			}
			if method == "post" {
				assert.Contains(t, op.Responses, "403", name)
			}
			for status, response := range op.Responses {
				media, json := response.Content["application/json"]
				if status < "400" || !json && path == auth.Prefix+"error" {
					continue
				}
				at := name + " " + status
				if status != "429" && status != "500" {
					assert.Equal(t, own, media.Schema["$ref"], at)
				}
				assert.NotEmpty(t, media.Examples, at)
				for code, example := range media.Examples {
					if example.Ref != "" {
						// What the gateway answers itself, in its envelope.
						assert.Contains(t, []string{"429", "500"}, status, at)
						assert.Equal(t, code, doc.Components.Examples[code].Value["error"], at)
						continue
					}
					assert.Equal(t, code, example.Value["code"], at)
					assert.NotEmpty(t, example.Value["message"], at)
				}
			}
		}
	}
	require.Greater(t, found, 15)
	require.ElementsMatch(t, []any{"code", "message"}, doc.Components.Schemas["AuthError"]["required"])
	require.NotContains(t, newGateway(t).document().Paths, auth.Prefix+"ok", "nobody signs in there")
}

func TestAccounts_answerWhoTheyAreFor(t *testing.T) {
	g := newGateway(t, withAccounts(t, &postbox{}))
	client := *g.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	forSomebody := 0
	for path, item := range g.document().Paths {
		if !strings.HasPrefix(path, auth.Prefix) {
			continue
		}
		for method, op := range item {
			needs := !slices.ContainsFunc(op.Security, func(s map[string][]string) bool { return len(s) == 0 })
			if needs {
				forSomebody++
			}
			for _, authorization := range []string{"", "Bearer " + g.token} {
				req, err := http.NewRequestWithContext(t.Context(), strings.ToUpper(method), g.http.URL+strings.NewReplacer("{", "", "}", "").Replace(path), strings.NewReader("{}"))
				require.NoError(t, err)
				req.Header.Set("Authorization", authorization)
				req.Header.Set("Content-Type", "application/json")
				res, err := client.Do(req)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				assert.Equal(t, needs, res.StatusCode == http.StatusUnauthorized, "%s %s: %d", method, path, res.StatusCode)
			}
		}
	}
	require.Equal(t, 6, forSomebody)
}
