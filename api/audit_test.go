package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

// auditLog reads the log as the owner, newest first.
func (g *gateway) auditLog(query string) []api.AuditEntry {
	g.Helper()
	var list api.AuditList
	g.do("GET", "/orgs/"+g.owner.OrganizationID+"/audit?"+query, nil).into(200, &list)
	return list.Items
}

func TestAudit_saysWhoDidWhatFromWhere(t *testing.T) {
	g := newGateway(t)
	begin := time.Now().Add(-time.Second)
	var p api.Project
	g.do("POST", "/projects", map[string]any{"name": "New"}, header{
		"User-Agent": "evil\u202e\t\\" + strings.Repeat("é", 300), "X-Request-Id": "req-1",
	}).into(201, &p)
	entries := g.auditLog("")
	require.Len(t, entries, 1)
	e := entries[0]
	require.Equal(t, "create-project", e.Action)
	require.Equal(t, models.AuditSucceeded, e.Outcome)
	require.Equal(t, g.owner.OrganizationID, e.OrgID)
	require.Equal(t, g.owner.UserID, e.UserID)
	require.True(t, models.ValidID(models.PrefixToken, e.TokenID))
	require.Empty(t, e.SessionID)
	require.Equal(t, map[string]string{"created": p.ID}, e.Targets)
	require.Equal(t, "127.0.0.1", e.Address)
	require.Equal(t, "req-1", e.RequestID)
	require.True(t, strings.HasPrefix(e.UserAgent, `evil\u202e\u0009\\é`), e.UserAgent)
	require.LessOrEqual(t, len(e.UserAgent), 260)
	require.WithinRange(t, e.CreatedAt, begin, time.Now().Add(time.Second))

	// What only reads, asks or is malformed is not recorded; what is refused is.
	g.do("GET", "/projects", nil)
	g.do("POST", "/blobs/missing", map[string]any{"sha256": []string{}})
	g.do("PATCH", "/projects/"+p.ID, map[string]any{"name": ""})
	g.do("DELETE", "/projects/"+models.NewID(models.PrefixProject)+"?confirm=x", nil)
	g.do("POST", "/projects", map[string]any{"name": "x"}, header{"Authorization": "Bearer slp_unknown"})
	require.Len(t, g.auditLog(""), 1)
	_, reader, err := g.store.CreateToken(t.Context(), models.NewToken{OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "reader", Scope: models.ScopeRead})
	require.NoError(t, err)
	g.do("DELETE", "/projects/"+p.ID+"?confirm="+p.WorkerName, nil, header{"Authorization": "Bearer " + reader}).failed(models.CodeForbidden)
	refused := g.auditLog("action=delete-project")
	require.Len(t, refused, 1)
	require.Equal(t, models.AuditRefused, refused[0].Outcome)
	require.Equal(t, models.CodeForbidden, refused[0].Code)
	require.Equal(t, map[string]string{"id": p.ID}, refused[0].Targets)

	g.do("POST", "/projects/"+p.ID+"/transfer", map[string]any{"orgId": g.owner.OrganizationID, "orgToken": "slp_secret"})
	row := g.deploy(nil)
	deployed := g.auditLog("action=deploy")
	require.Equal(t, map[string]string{"projectId": g.project.ID, "deploymentId": row.ID}, deployed[0].Targets)
	g.do("DELETE", "/projects/"+p.ID+"?confirm="+p.WorkerName, nil)
	require.Equal(t, []string{"delete-project", "deploy", "delete-project", "create-project"}, actions(g.auditLog("")))
}

func actions(entries []api.AuditEntry) []string {
	var list []string
	for _, e := range entries {
		list = append(list, e.Action)
	}
	return list
}

func TestAudit_isPagedNarrowedAndExported(t *testing.T) {
	g := newGateway(t)
	for range 5 {
		g.do("POST", "/projects", map[string]any{"name": "p"}).into(201, &api.Project{})
	}
	entry := models.AuditBy(g.owner, "sign-in")
	entry.UserID = "usr_other"
	require.NoError(t, g.store.AppendAudit(t.Context(), entry))
	entry.OrganizationID = nil
	require.NoError(t, g.store.AppendAudit(t.Context(), entry), "what a person does about themselves is nobody's organization's")
	all := g.auditLog("limit=100")
	require.Len(t, all, 6)

	var paged []api.AuditEntry
	cursor := ""
	for {
		var list api.AuditList
		g.do("GET", "/orgs/"+g.owner.OrganizationID+"/audit?limit=4&cursor="+cursor, nil).into(200, &list)
		paged = append(paged, list.Items...)
		if cursor = list.NextCursor; cursor == "" {
			break
		}
	}
	require.Equal(t, all, paged)
	require.Len(t, g.auditLog("userId=usr_other"), 1)
	require.Len(t, g.auditLog("action=create-project&userId="+g.owner.UserID), 5)
	require.Empty(t, g.auditLog("createdBefore="+url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339))))
	require.Empty(t, g.auditLog("userId="+url.QueryEscape("' OR 1=1 --")))

	a := g.do("GET", "/orgs/"+g.owner.OrganizationID+"/audit/export", nil)
	require.Equal(t, 200, a.status)
	require.Equal(t, "application/x-ndjson", a.header.Get("Content-Type"))
	var exported []api.AuditEntry
	for lines := bufio.NewScanner(bytes.NewReader(a.body)); lines.Scan(); {
		var e api.AuditEntry
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		exported = append([]api.AuditEntry{e}, exported...)
	}
	require.Equal(t, all, exported)
	require.Equal(t, 5, bytes.Count(g.do("GET", "/orgs/"+g.owner.OrganizationID+"/audit/export?action=create-project", nil).body, []byte("\n")))
}

func TestAudit_isForAdminsOfThatOrganization(t *testing.T) {
	g := newGateway(t)
	stranger, token := g.newOwner("stranger@example.com")
	for _, path := range []string{"/orgs/" + stranger.OrganizationID + "/audit", "/orgs/" + stranger.OrganizationID + "/audit/export"} {
		g.do("GET", path, nil).failed(models.CodeOrganizationNotFound)
		require.Equal(t, 200, g.do("GET", path, nil, header{"Authorization": "Bearer " + token}).status)
	}
	conn, err := pgx.Connect(t.Context(), g.databaseURL)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "UPDATE memberships SET role = 'developer' WHERE organization_id = $1", stranger.OrganizationID)
	require.NoError(t, err)
	g.do("GET", "/orgs/"+stranger.OrganizationID+"/audit", nil, header{"Authorization": "Bearer " + token}).failed(models.CodeForbidden)

	// Whoever writes SQL cannot change it in passing either.
	require.NoError(t, g.store.AppendAudit(t.Context(), models.AuditBy(g.owner, "sign-in")))
	for _, sql := range []string{"UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"} {
		_, err = conn.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "append-only", sql)
	}
}

func TestAudit_thatCannotBeWrittenIsInTheLogInstead(t *testing.T) {
	g := newGateway(t)
	conn, err := pgx.Connect(t.Context(), g.databaseURL)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "ALTER TABLE audit_log RENAME TO audit_log_away")
	require.NoError(t, err)
	var p api.Project
	g.do("POST", "/projects", map[string]any{"name": "p"}).into(201, &p)
	require.Eventually(t, func() bool {
		for line := range strings.Lines(g.log.String()) {
			if strings.Contains(line, "could not be written") && strings.Contains(line, p.ID) && strings.Contains(line, g.owner.UserID) &&
				strings.Contains(line, `"level":"error"`) {
				return true
			}
		}
		return false
	}, patience, 10*time.Millisecond)
}
