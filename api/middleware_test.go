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

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

// serve runs Serve on a port of its own.
func serve(t *testing.T, ctx context.Context, server *api.Server) (url string, done <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	return "http://" + listener.Addr().String(), ended
}

func TestErrors_unknownRoutesAndMethodsHaveTheEnvelope(t *testing.T) {
	g := newGateway(t)
	for _, path := range []string{"/nothing", "/deploy/", "//deploy", "/Deploy", "/deployments/a/b/c", "/schemas/Error", "/openapi.yaml"} {
		g.do("GET", path, nil).failed(models.CodeNotFound)
	}
	a := g.do("DELETE", "/deploy", nil)
	a.failed(models.CodeMethodNotAllowed)
	require.Equal(t, "POST", a.header.Get("Allow"))
	a = g.do("HEAD", "/health", nil)
	require.Equal(t, 503, a.status)
	require.Empty(t, a.body)
	require.Equal(t, 405, g.do("HEAD", "/deploy", nil).status)
}

func TestErrors_aPanicHasTheEnvelopeAndIsLogged(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.SiteURL = func(string) string { panic("kaboom") } })
	a := g.do("GET", "/projects/"+g.project.ID, nil)
	a.failed(models.CodeInternal)
	require.NotContains(t, string(a.body), "kaboom")
	require.Contains(t, g.log.String(), "kaboom")
	require.Contains(t, g.log.String(), a.header.Get("X-Request-Id"))
}

func TestErrors_aDatabaseThatIsDownIs503WithoutItsReasons(t *testing.T) {
	g := newGateway(t)
	require.NoError(t, g.store.Close())
	a := g.do("GET", "/projects", nil)
	a.failed(models.CodeDatabase)
	require.NotContains(t, string(a.body), "sql")
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Contains(t, g.log.String(), "sql: database is closed")
}

func TestErrors_aDatabaseThatHangsIs503InTime(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Limits.AnswerTimeout = 500 * time.Millisecond })
	conn, err := pgx.Connect(t.Context(), g.databaseURL)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	for table, path := range map[string]string{"projects": "/projects", "tokens": "/deployments"} {
		_, err = tx.Exec(t.Context(), "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE")
		require.NoError(t, err)
		begin := time.Now()
		g.do("GET", path, nil).failed(models.CodeDatabase)
		require.Less(t, time.Since(begin), patience)
	}
	require.NoError(t, tx.Rollback(t.Context()))
	// What hung cost its connection, and half a second may be short for a new one.
	require.Eventually(t, func() bool { return g.do("GET", "/projects", nil).status == 200 }, patience, 10*time.Millisecond)
}

func TestAuth_everyRouteThatIsNotPublicNeedsAToken(t *testing.T) {
	g := newGateway(t)
	checked := 0
	for _, endpoint := range g.do("GET", "/", nil).fields()["endpoints"].([]any) {
		method, path, _ := strings.Cut(endpoint.(string), " ")
		if path == "/app" || strings.HasPrefix(path, "/app/") {
			// The dashboard's files; what it shows it asks for as whoever looks.
			continue
		}
		switch path {
		case "/", "/health", "/docs", "/docs/scalar.js", "/openapi.json":
			require.Contains(t, []int{200, 503}, g.do(method, path, nil, header{"Authorization": ""}).status)
			continue
		case "/device/code", "/device/token":
			require.Equal(t, 400, g.do(method, path, "{", header{"Authorization": ""}).status)
			continue
		case "/deploy-status":
			require.Equal(t, 400, g.do(method, path, nil, header{"Authorization": ""}).status)
			continue
		}
		checked++
		for _, authorization := range []string{"", "Bearer", "Bearer ", "Basic " + g.token, g.token, "Bearer slp_wrong", "Bearer " + g.token + "x", "Bearer " + strings.Repeat("x", 600)} {
			a := g.do(method, path, nil, header{"Authorization": authorization})
			a.failed(models.CodeUnauthorized)
			require.True(t, strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer"), endpoint)
		}
	}
	require.GreaterOrEqual(t, checked, 49)
	require.Equal(t, 200, g.do("GET", "/projects", nil, header{"Authorization": "bearer " + g.token}).status)
}

func TestAuth_isAskedForBeforeTheBodyIsRead(t *testing.T) {
	g := newGateway(t)
	conn, err := net.Dial("tcp", g.http.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	// The body announced never comes.
	fmt.Fprintf(conn, "POST /deploy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20000000\r\n\r\n")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 401, response.StatusCode)
}

func TestLimits_aBodyAnnouncedAsTooLargeIsRefusedUnread(t *testing.T) {
	g := newGateway(t)
	conn, err := net.Dial("tcp", g.http.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "POST /deploy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", g.token, 25<<20+1)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 413, response.StatusCode)
}

func TestUpload_twentyMegabytesDribbledForLongerThanFiveSecondsArrive(t *testing.T) {
	g := newGateway(t)
	ctx, cancel := context.WithCancel(t.Context())
	url, done := serve(t, ctx, g.server)
	defer func() { cancel(); require.NoError(t, <-done) }()

	const size, pieces = 20 << 20, 56
	prefix := fmt.Sprintf(`{"projectId":%q,"orgId":%q,"userId":%q,"initFiles":[`, g.project.ID, g.owner.OrganizationID, g.owner.UserID)
	var body strings.Builder
	body.WriteString(prefix)
	for i := range 5 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"path":"f%d","content":"%s"}`, i, strings.Repeat("x", size/5))
	}
	body.WriteString("]}")

	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "POST /deploy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", g.token, body.Len())
	begin := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for rest := body.String(); rest != ""; <-tick.C {
		piece := min(len(rest), body.Len()/pieces+1)
		_, err := io.WriteString(conn, rest[:piece])
		require.NoError(t, err)
		rest = rest[piece:]
	}
	require.Greater(t, time.Since(begin), 5*time.Second)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, 200, response.StatusCode, "%s", answer)
}

func TestUpload_thatStallsIsARequestTimeout(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Limits.BodyTimeout = 300 * time.Millisecond })
	for _, target := range []string{"POST /deploy", "PUT /blobs/" + strings.Repeat("a", 64)} {
		conn, err := net.Dial("tcp", g.http.Listener.Addr().String())
		require.NoError(t, err)
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", target, g.token)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		answer{T: t, status: response.StatusCode, header: response.Header, body: body}.failed(models.CodeRequestTimeout)
		require.NoError(t, conn.Close())
	}
}

func TestRequestId_isKeptWhenSaneAndInTheLog(t *testing.T) {
	g := newGateway(t)
	a := g.do("GET", "/projects", nil, header{"X-Request-Id": "abc-123"})
	require.Equal(t, "abc-123", a.header.Get("X-Request-Id"))
	require.Contains(t, g.log.String(), `"request_id":"abc-123"`)
	require.Contains(t, g.log.String(), `"organization":"`+g.owner.OrganizationID)
	for _, bad := range []string{"a b", strings.Repeat("x", 65), `a"b`} {
		require.Regexp(t, `^[0-9a-f]{24}$`, g.do("GET", "/projects", nil, header{"X-Request-Id": bad}).header.Get("X-Request-Id"))
	}
	require.NotContains(t, g.log.String(), g.token)
}
