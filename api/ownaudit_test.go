package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func TestOwnAudit_showsPeopleWhatWasDoneAboutTheirAccount(t *testing.T) {
	p := newAccountHolder(t)
	status, body := p.call("POST", "/api/auth/sign-up/email", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`)
	require.Equal(t, http.StatusOK, status, body)
	for range 3 {
		status, body = p.call("POST", "/api/auth/sign-in/email", `{"email":"ada@example.com","password":"correct horse"}`, "X-Request-Id", "req-7")
		require.Equal(t, http.StatusOK, status, body)
	}
	status, _ = p.call("POST", "/projects", `{"name":"Mine","workerName":"mine"}`)
	require.Equal(t, http.StatusCreated, status)

	var all, rest api.AuditList
	list := func(query string, into *api.AuditList) {
		status, body := p.call("GET", "/me/audit?"+query, "")
		require.Equal(t, http.StatusOK, status, body)
		require.NotContains(t, body, "orgId")
		require.NoError(t, json.Unmarshal([]byte(body), into))
	}
	list("", &all)
	require.Equal(t, []string{"sign-in-with-email", "sign-in-with-email", "sign-in-with-email", "sign-up-with-email"}, actions(all.Items))
	newest := all.Items[0]
	require.Equal(t, "req-7", newest.RequestID)
	require.Equal(t, "127.0.0.1", newest.Address)
	require.True(t, models.ValidID(models.PrefixSession, newest.SessionID))
	list("limit=3", &rest)
	list("limit=3&cursor="+rest.NextCursor, &rest)
	require.Equal(t, all.Items[3:], rest.Items)
	var narrowed api.AuditList
	list("action=sign-up-with-email", &narrowed)
	require.Equal(t, all.Items[3:], narrowed.Items)

	status, body = p.call("GET", "/me/audit/export", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, 4, bytes.Count([]byte(body), []byte("\n")))
	var first api.AuditEntry
	require.NoError(t, json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&first))
	require.Equal(t, all.Items[3], first)

	// It is nobody else's: not their organization's, not a token's, not another person's.
	user, _, _, err := p.store.UserByEmail(t.Context(), "ada@example.com")
	require.NoError(t, err)
	own, err := p.store.MembershipOf(t.Context(), user.ID, "", "")
	require.NoError(t, err)
	status, body = p.call("GET", "/orgs/"+own.OrganizationID+"/audit", "")
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, body, "sign-")
	_, token, err := p.store.CreateToken(t.Context(), models.NewToken{OrganizationID: own.OrganizationID, UserID: user.ID, Name: "t", Scope: models.ScopeAdmin})
	require.NoError(t, err)
	for _, path := range []string{"/me/audit", "/me/audit/export"} {
		p.do("GET", path, nil, header{"Authorization": "Bearer " + token}).failed(models.CodeForbidden)
	}
	status, _ = p.call("POST", "/api/auth/sign-up/email", `{"email":"eve@example.com","password":"correct horse","name":"Eve"}`)
	require.Equal(t, http.StatusOK, status)
	list("", &all)
	require.Equal(t, []string{"sign-up-with-email"}, actions(all.Items))
	require.NotEqual(t, user.ID, all.Items[0].UserID)
}
