package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

// bearer are the headers of a request with a token.
func bearer(token string) header { return header{"Authorization": "Bearer " + token} }

func TestTokens_areShownOnceAndNeverAgain(t *testing.T) {
	g := newGateway(t)
	a := g.do("POST", "/tokens", map[string]any{"name": "  CI of\tthe shop ", "scope": "deploy", "projectId": g.project.ID, "expiresInDays": 30})
	require.Equal(t, 400, a.status, "a tab is no name: %s", a.body)
	a = g.do("POST", "/tokens", map[string]any{"name": "  CI of  the shop ", "scope": "deploy", "projectId": g.project.ID, "expiresInDays": 30})
	var made api.NewToken
	a.into(201, &made)
	require.Equal(t, "/tokens/"+made.ID, a.header.Get("Location"))
	require.Equal(t, "CI of the shop", made.Name)
	require.True(t, strings.HasPrefix(made.Secret, made.Prefix))
	require.Len(t, made.Prefix, 10)
	require.WithinDuration(t, time.Now().UTC().AddDate(0, 0, 30), *made.ExpiresAt, time.Minute)
	require.Nil(t, made.LastUsedAt)

	require.Equal(t, 200, g.do("GET", "/projects/"+g.project.ID, nil, bearer(made.Secret)).status)
	for _, path := range []string{"/tokens", "/tokens/" + made.ID} {
		a = g.do("GET", path, nil)
		require.Equal(t, 200, a.status)
		require.NotContains(t, string(a.body), made.Secret)
		require.Contains(t, string(a.body), made.Prefix)
	}
	var one api.Token
	g.do("GET", "/tokens/"+made.ID, nil).into(200, &one)
	require.NotNil(t, one.LastUsedAt)
	require.Equal(t, g.owner.UserID, one.CreatedBy)
	require.NotContains(t, g.log.String(), made.Secret)

	require.Equal(t, 204, g.do("DELETE", "/tokens/"+made.ID, nil).status)
	g.do("GET", "/projects/"+g.project.ID, nil, bearer(made.Secret)).failed(models.CodeUnauthorized)
	g.do("DELETE", "/tokens/"+made.ID, nil).failed(models.CodeTokenNotFound)
	g.do("GET", "/tokens/tok_x", nil).failed(models.CodeTokenNotFound)
}

func TestTokens_arePaged(t *testing.T) {
	g := newGateway(t)
	want := map[string]bool{}
	for i := range 5 {
		var made api.NewToken
		g.do("POST", "/tokens", map[string]any{"name": fmt.Sprint(i), "scope": "read"}).into(201, &made)
		want[made.ID] = true
	}
	cursor := ""
	for {
		var list api.TokenList
		g.do("GET", "/tokens?limit=2&cursor="+cursor, nil).into(200, &list)
		for _, token := range list.Items {
			delete(want, token.ID)
		}
		if cursor = list.NextCursor; cursor == "" {
			break
		}
	}
	require.Empty(t, want)
}

func TestTokens_refuseWhatTheyCannotMean(t *testing.T) {
	g := newGateway(t)
	for name, c := range map[string]struct {
		body  map[string]any
		field string
	}{
		"no name":          {map[string]any{"scope": "read"}, "name"},
		"an empty name":    {map[string]any{"name": " ", "scope": "read"}, "name"},
		"a long name":      {map[string]any{"name": strings.Repeat("x", 101), "scope": "read"}, "name"},
		"a name of lines":  {map[string]any{"name": "a\nb", "scope": "read"}, "name"},
		"a hidden name":    {map[string]any{"name": "a\u202eb", "scope": "read"}, "name"},
		"no scope":         {map[string]any{"name": "x"}, "scope"},
		"an unknown scope": {map[string]any{"name": "x", "scope": "root"}, "scope"},
		"yesterday":        {map[string]any{"name": "x", "scope": "read", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"},
		"next century":     {map[string]any{"name": "x", "scope": "read", "expiresAt": "2199-01-01T00:00:00Z"}, "expiresAt"},
		"no time":          {map[string]any{"name": "x", "scope": "read", "expiresAt": "soon"}, "expiresAt"},
		"two ends":         {map[string]any{"name": "x", "scope": "read", "expiresAt": time.Now().UTC().Add(time.Hour), "expiresInDays": 1}, "expiresInDays"},
		"zero days":        {map[string]any{"name": "x", "scope": "read", "expiresInDays": -1}, "expiresInDays"},
		"another's secret": {map[string]any{"name": "x", "scope": "read", "token": "slp_chosen"}, "token"},
		"another's maker":  {map[string]any{"name": "x", "scope": "read", "createdBy": g.owner.UserID}, "createdBy"},
	} {
		t.Run(name, func(t *testing.T) {
			a := g.do("POST", "/tokens", c.body)
			a.T = t
			a.refuses(c.field, "")
		})
	}
	g.do("POST", "/tokens", map[string]any{"name": "x", "scope": "read", "projectId": models.NewID(models.PrefixProject)}).failed(models.CodeProjectNotFound)
}

func TestTokens_makeNoneStrongerThanThemselves(t *testing.T) {
	g := newGateway(t)
	other, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Other", "other")
	require.NoError(t, err)
	end := time.Now().Add(time.Hour).UTC()
	_, limited, err := g.store.CreateToken(t.Context(), models.NewToken{
		OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "limited", Scope: models.ScopeAdmin, ProjectID: g.project.ID, ExpiresAt: &end,
	})
	require.NoError(t, err)
	var made api.NewToken
	g.do("POST", "/tokens", map[string]any{"name": "child", "scope": "admin", "expiresInDays": 365}, bearer(limited)).into(201, &made)
	require.Equal(t, g.project.ID, made.ProjectID)
	require.WithinDuration(t, end, *made.ExpiresAt, time.Second)
	g.do("POST", "/tokens", map[string]any{"name": "child", "scope": "read", "projectId": other.ID}, bearer(limited)).failed(models.CodeProjectNotFound)

	_, deploy, err := g.store.CreateToken(t.Context(), models.NewToken{OrganizationID: g.owner.OrganizationID, UserID: g.owner.UserID, Name: "deploy", Scope: models.ScopeDeploy})
	require.NoError(t, err)
	g.do("POST", "/tokens", map[string]any{"name": "child", "scope": "read"}, bearer(deploy)).failed(models.CodeForbidden)
	// It sees others and may not touch them, but it may end itself.
	g.do("DELETE", "/tokens/"+made.ID, nil, bearer(deploy)).failed(models.CodeForbidden)
	var me api.Me
	g.do("GET", "/me", nil, bearer(deploy)).into(200, &me)
	require.Equal(t, models.ScopeDeploy, me.Scope)
	require.Equal(t, 204, g.do("DELETE", "/tokens/"+me.TokenID, nil, bearer(deploy)).status)
	g.do("GET", "/me", nil, bearer(deploy)).failed(models.CodeUnauthorized)
}

func TestTokens_ofOthersAreAnAdminsBusiness(t *testing.T) {
	s := newScene(t)
	viewer, admin := s.people[models.RoleViewer].in(s.org), s.people[models.RoleAdmin].in(s.org)
	s.do("POST", "/tokens", map[string]any{"name": "x", "scope": "deploy"}, viewer).failed(models.CodeForbidden)
	var own api.NewToken
	s.do("POST", "/tokens", map[string]any{"name": "x", "scope": "read"}, viewer).into(201, &own)
	var list api.TokenList
	s.do("GET", "/tokens", nil, viewer).into(200, &list)
	require.Len(t, list.Items, 1)
	s.do("GET", "/tokens/"+s.ids["tok"], nil, viewer).failed(models.CodeTokenNotFound)
	s.do("DELETE", "/tokens/"+s.ids["tok"], nil, viewer).failed(models.CodeTokenNotFound)
	s.do("GET", "/tokens", nil, admin).into(200, &list)
	require.Len(t, list.Items, 2)
	require.Equal(t, 204, s.do("DELETE", "/tokens/"+own.ID, nil, admin).status)
	s.do("GET", "/me", nil, bearer(own.Secret)).failed(models.CodeUnauthorized)
}

func TestAuth_boundsAnEndlessToken(t *testing.T) {
	g := newGateway(t)
	ctx, cancel := context.WithCancel(t.Context())
	url, done := serve(t, ctx, g.server)
	defer func() { cancel(); require.NoError(t, <-done) }()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(conn, "GET /projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ")
	// The server answers, and hangs up, long before all of it has come.
	chunk := strings.Repeat("A", 64<<10)
	sent := 0
	for sent < 10<<20 {
		n, err := io.WriteString(conn, chunk)
		sent += n
		if err != nil {
			break
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
	} else {
		require.Less(t, sent, 10<<20, "it took all of it: %v", err)
	}
}
