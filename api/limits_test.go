package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/api"
	"github.com/slipwayhq/slipway/models"
)

func TestDeploy_twoHundredAtOnceOnAQuotaOfFiftyMakeFifty(t *testing.T) {
	g := newGateway(t)
	require.NoError(t, g.store.SetQuotas(t.Context(), g.owner.OrganizationID, models.QuotaChange{Deployments: new(int64(50))}))
	var accepted, refused atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			a := g.do("POST", "/deploy", g.deployBody(nil))
			if a.status == http.StatusOK {
				accepted.Add(1)
				return
			}
			refused.Add(1)
			details := a.failed(models.CodeQuotaExceeded)["details"].(map[string]any)
			require.Equal(t, "deployments", details["resource"])
			require.EqualValues(t, 50, details["limit"])
			require.EqualValues(t, 50, details["used"])
			resets, err := time.Parse(time.RFC3339, details["resetsAt"].(string))
			require.NoError(t, err)
			require.True(t, resets.After(time.Now()))
		})
	}
	wg.Wait()
	require.EqualValues(t, 50, accepted.Load())
	require.EqualValues(t, 150, refused.Load())
	require.Len(t, g.startedWorkflows(), 50)
}

func TestUsage_showsWhatIsUsedOfEachQuota(t *testing.T) {
	g := newGateway(t)
	g.deploy(nil)
	g.own(g.project, "shop.example.com")
	usage := func() map[string]api.ResourceUsage {
		var got api.Usage
		g.do("GET", "/orgs/"+g.owner.OrganizationID+"/usage", nil).into(200, &got)
		require.Equal(t, g.owner.OrganizationID, got.OrganizationID)
		require.Equal(t, 1, got.PeriodEnd.Day())
		byName := map[string]api.ResourceUsage{}
		for _, r := range got.Items {
			byName[string(r.Resource)] = r
			periodic := r.Resource == models.ResourceDeployments || r.Resource == models.ResourceBuildMinutes
			require.Equal(t, periodic, r.ResetsAt != nil, r.Resource)
		}
		require.Len(t, byName, 5)
		return byName
	}
	got := usage()
	require.EqualValues(t, 1, got["deployments"].Used)
	require.EqualValues(t, 999, got["deployments"].Remaining)
	require.EqualValues(t, 1, got["projects"].Used)
	require.EqualValues(t, 1, got["domains"].Used)
	require.Equal(t, "bytes", got["storageBytes"].Unit)
	require.Equal(t, "minutes", got["buildMinutes"].Unit)

	require.NoError(t, g.store.SetQuotas(t.Context(), g.owner.OrganizationID, models.QuotaChange{Projects: new(int64(1)), Domains: new(int64(1))}))
	require.Zero(t, usage()["projects"].Remaining)
	details := g.do("POST", "/projects", map[string]any{"name": "More", "workerName": "more"}).failed(models.CodeQuotaExceeded)["details"].(map[string]any)
	require.Equal(t, "projects", details["resource"])
	g.do("POST", "/projects/"+g.project.ID+"/domains", map[string]any{"host": "more.example.com"}).failed(models.CodeQuotaExceeded)

	other, _ := g.newOwner("other@example.com")
	g.do("GET", "/orgs/"+other.OrganizationID+"/usage", nil).failed(models.CodeOrganizationNotFound)
}

// serve has the gateway answer as the program does, and gives the address.
func (g *gateway) serve() string {
	g.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(g, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.server.Serve(ctx, listener) }()
	g.Cleanup(func() {
		cancel()
		require.NoError(g, <-done)
	})
	return listener.Addr().String()
}

// raw sends bytes and returns the answer's status, 0 when there was none, and
// whether the server hung up after it.
func raw(t *testing.T, address, request string) (status int, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	go func() { _, _ = io.WriteString(conn, request) }()
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it neither answers nor hangs up")
		return 0, true
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Close
}

func TestRequests_whoseHeadDoesNotEndAreGivenUp(t *testing.T) {
	g := newGateway(t, func(o *api.Options) { o.Limits.HeaderTimeout = 300 * time.Millisecond })
	status, closed := raw(t, g.serve(), "GET /projects HTTP/1.1\r\nHost: a\r\nX-Slow: ")
	require.Zero(t, status)
	require.True(t, closed)
}

func TestRequests_areBoundedBeforeItIsKnownWhoAsks(t *testing.T) {
	// Whoever waited for the rest of what is announced would not answer in time.
	g := newGateway(t, func(o *api.Options) { o.Limits.BodyTimeout = time.Hour })
	address := g.serve()
	// Whatever asked the database would fail otherwise.
	require.NoError(t, g.store.Close())
	for name, tt := range map[string]struct {
		request string
		status  int
	}{
		"a head of 10 MB":                     {"GET /projects HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + strings.Repeat("x", 10<<20) + "\r\n\r\n", 431},
		"ten thousand fields":                 {"GET /projects HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", 10_000) + "\r\n", 431},
		"a token that is none":                {"GET /projects HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + strings.Repeat("x", 5000) + "\r\n\r\n", 401},
		"a chunked body where there is none":  {"GET /projects HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 413},
		"a body where there is none":          {"GET /projects HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nx", 413},
		"a body larger than the route's":      {"POST /deploy HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9999999999999\r\n\r\n{", 413},
		"a length that is none":               {"POST /deploy HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
		"two lengths":                         {"POST /deploy HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400},
		"a compressed body":                   {"POST /deploy HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", 415},
		"a body nobody waits for":             {"POST /deploy HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", 401},
		"a body nobody waits for, in chunks":  {"POST /deploy HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 401},
		"the form of something else entirely": {"\x16\x03\x01\x02\x00\x01\x00\x01", 400},
	} {
		t.Run(name, func(t *testing.T) {
			status, _ := raw(t, address, tt.request)
			require.Equal(t, tt.status, status)
		})
	}
}
