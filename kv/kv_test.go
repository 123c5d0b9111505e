package kv_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/dev/postgres/pgtest"
	"github.com/slipwayhq/slipway/kv"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
	"github.com/slipwayhq/slipway/toolchain/workerdtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func openStore(t *testing.T) (*models.Store, string) {
	t.Helper()
	store, err := models.OpenStore(models.StoreOptions{URL: modelstest.URL(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	return store, id.OrganizationID
}

// newServer makes one that has time for what a slow machine does slowly.
func newServer(options kv.Options) *kv.Server {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	options.Log = quiet
	options.WaitTimeout = time.Minute
	return kv.New(options)
}

// serve answers on a unix socket, as for workerd.
func serve(t *testing.T, handler http.Handler) (socket string) {
	t.Helper()
	socket = workerdtest.Socket(t)
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return socket
}

type client struct {
	t    *testing.T
	http *http.Client
}

func newClient(t *testing.T, handler http.Handler) client {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	target := strings.TrimPrefix(server.URL, "http://")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", target)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return client{t, &http.Client{Transport: transport, Timeout: time.Minute}}
}

func (c client) do(method, target string, body io.Reader, header ...string) (*http.Response, string) {
	c.t.Helper()
	request, err := http.NewRequest(method, "http://fake-host"+target, body)
	require.NoError(c.t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := c.http.Do(request)
	require.NoError(c.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(c.t, err)
	return answer, string(text)
}

func TestHandler_keepsWhatIsPut(t *testing.T) {
	store, organization := openStore(t)
	c := newClient(t, newServer(kv.Options{Store: store}).Handler(organization, "ns"))
	expires := time.Now().Add(time.Hour).Unix()
	answer, _ := c.do("PUT", fmt.Sprintf("/a%%2Fb%%20%%00?urlencoded=true&expiration=%d", expires), strings.NewReader("value"), "CF-KV-Metadata", `{"ü":""}`)
	require.Equal(t, 200, answer.StatusCode)
	answer, body := c.do("GET", "/a%2Fb%20%00?urlencoded=true&cache_ttl=60", nil)
	require.Equal(t, 200, answer.StatusCode)
	require.Equal(t, "value", body)
	require.Equal(t, `{"ü":""}`, answer.Header.Get("CF-KV-Metadata"))
	require.Equal(t, fmt.Sprint(expires), answer.Header.Get("CF-Expiration"))
	_, body = c.do("GET", "/", nil)
	require.JSONEq(t, fmt.Sprintf(`{"keys":[{"name":"a/b \u0000","expiration":%d,"metadata":"{\"ü\":\"\"}"}],"list_complete":true}`, expires), body)
	answer, _ = c.do("DELETE", "/a%2Fb%20%00?urlencoded=true", nil)
	require.Equal(t, 200, answer.StatusCode)
	answer, _ = c.do("GET", "/a%2Fb%20%00?urlencoded=true", nil)
	require.Equal(t, 404, answer.StatusCode)
}

func TestHandler_refusesWithAReasonPhrase(t *testing.T) {
	store, organization := openStore(t)
	c := newClient(t, newServer(kv.Options{Store: store, MaxBytes: 100}).Handler(organization, "ns"))
	past := fmt.Sprint(time.Now().Unix() + 30)
	for _, test := range []struct {
		method, target, body, metadata string
		status                         int
		says                           string
	}{
		{"PUT", "/k?urlencoded=true&expiration_ttl=59", "v", "", 400, "at least 60"},
		{"PUT", "/k?urlencoded=true&expiration_ttl=-5", "v", "", 400, "greater than 0"},
		{"PUT", "/k?urlencoded=true&expiration_ttl=1e9", "v", "", 400, "greater than 0"},
		{"PUT", "/k?urlencoded=true&expiration=10", "v", "", 400, "greater than the current"},
		{"PUT", "/k?urlencoded=true&expiration=" + past, "v", "", 400, "at least 60 seconds"},
		{"PUT", "/k?urlencoded=true", "v", "{", 400, "not JSON"},
		{"PUT", "/k?urlencoded=true", "v", `"` + strings.Repeat("x", 1023) + `"`, 413, "Metadata length of 1025"},
		{"PUT", "/" + strings.Repeat("x", 513) + "?urlencoded=true", "v", "", 414, "length of 513"},
		{"PUT", "/%2E%2E?urlencoded=true", "v", "", 400, "not allowed"},
		{"PUT", "/%ff?urlencoded=true", "v", "", 400, "not UTF-8"},
		{"PUT", "/?urlencoded=true", "v", "", 400, "cannot be empty"},
		{"PUT", "/full?urlencoded=true", strings.Repeat("x", 101), "", 403, "full"},
		{"POST", "/k?urlencoded=true", "v", "", 405, "method"},
		{"GET", "/k?urlencoded=true&cache_ttl=29", "", "", 400, "at least 30"},
		{"GET", "/?key_count_limit=1001", "", "", 400, "less than or equal to 1000"},
		{"GET", "/?key_count_limit=x", "", "", 400, "greater than 0"},
		{"GET", "/?cursor=%21", "", "", 400, "cursor"},
		{"POST", "/bulk/get", `{"keys":[]}`, "", 400, "minimum of 1"},
		{"POST", "/bulk/get", `{"keys":["a"],"type":"arrayBuffer"}`, "", 400, "not a valid type"},
		{"POST", "/bulk/get", `{"keys":[` + strings.Repeat(`"a",`, 100) + `"a"]}`, "", 400, "maximum of 100"},
		{"POST", "/bulk/get", `{"keys":[""]}`, "", 400, "cannot be empty"},
		{"POST", "/bulk/get", `nonsense`, "", 400, "not the JSON"},
		{"POST", "/bulk/get", strings.Repeat(" ", 2<<20), "", 413, "too long"},
	} {
		header := []string{}
		if test.metadata != "" {
			header = []string{"CF-KV-Metadata", test.metadata}
		}
		answer, body := c.do(test.method, test.target, strings.NewReader(test.body), header...)
		require.Equal(t, test.status, answer.StatusCode, "%s %.60s %s", test.method, test.target, body)
		require.Contains(t, answer.Status, test.says)
	}
	_, body := c.do("GET", "/", nil)
	require.JSONEq(t, `{"keys":[],"list_complete":true}`, body, "nothing of it was kept")
}

// zeros is a body without a length.
func zeros(n int64) io.Reader { return struct{ io.Reader }{io.LimitReader(zeroReader{}, n)} }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHandler_takesTheGreatestValueAndNoGreaterOne(t *testing.T) {
	store, organization := openStore(t)
	c := newClient(t, newServer(kv.Options{Store: store}).Handler(organization, "ns"))
	answer, _ := c.do("PUT", "/big?urlencoded=true", zeros(models.KVMaxValue))
	require.Equal(t, 200, answer.StatusCode)
	answer, body := c.do("GET", "/big?urlencoded=true", nil)
	require.Equal(t, 200, answer.StatusCode)
	require.Equal(t, models.KVMaxValue, len(body))
	for _, size := range []int64{models.KVMaxValue + 1, 2 * models.KVMaxValue} {
		answer, _ = c.do("PUT", "/big?urlencoded=true", zeros(size))
		require.Equal(t, 413, answer.StatusCode)
		answer, _ = c.do("PUT", "/big?urlencoded=true", bytes.NewReader(make([]byte, size)))
		require.Equal(t, 413, answer.StatusCode)
		require.Contains(t, answer.Status, fmt.Sprint("Value length of ", size))
	}
	answer, _ = c.do("PUT", "/small?urlencoded=true", strings.NewReader("x"))
	require.Equal(t, 200, answer.StatusCode)
	answer, _ = c.do("POST", "/bulk/get", strings.NewReader(`{"keys":["big","small"]}`))
	require.Equal(t, 413, answer.StatusCode, "more than 25 MiB at once")
	answer, body = c.do("POST", "/bulk/get", strings.NewReader(`{"keys":["small","none"],"withMetadata":true}`))
	require.Equal(t, 200, answer.StatusCode)
	require.JSONEq(t, `{"small":{"value":"x","metadata":null},"none":null}`, body)
}

func TestHandler_neverMixesTwoValuesOfAKey(t *testing.T) {
	store, organization := openStore(t)
	c := newClient(t, newServer(kv.Options{Store: store}).Handler(organization, "ns"))
	const size = 9 << 20
	put := func(letter byte) {
		answer, _ := c.do("PUT", "/hot?urlencoded=true", bytes.NewReader(bytes.Repeat([]byte{letter}, size)))
		require.Equal(t, 200, answer.StatusCode)
	}
	put('a')
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 6 {
			put('b' + byte(i))
		}
	}()
	whole := 0
	for running := true; running || whole == 0; {
		select {
		case <-done:
			running = false
		default:
		}
		answer, err := c.http.Get("http://fake-host/hot?urlencoded=true")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != 200 {
			continue
		}
		whole++
		require.Len(t, body, size)
		require.Equal(t, size, bytes.Count(body, body[:1]))
	}
}

func TestHandler_pagesThroughAll(t *testing.T) {
	store, organization := openStore(t)
	c := newClient(t, newServer(kv.Options{Store: store}).Handler(organization, "ns"))
	for i := range 25 {
		answer, _ := c.do("PUT", fmt.Sprintf("/p%%2F%02d?urlencoded=true", i), strings.NewReader("x"))
		require.Equal(t, 200, answer.StatusCode)
	}
	var names []string
	next := ""
	for {
		_, body := c.do("GET", "/?prefix=p%2F&key_count_limit=10&cursor="+url.QueryEscape(next), nil)
		var page struct {
			Keys     []struct{ Name string }
			Complete bool `json:"list_complete"`
			Cursor   string
		}
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		for _, key := range page.Keys {
			names = append(names, key.Name)
		}
		if next = page.Cursor; page.Complete {
			break
		}
	}
	require.Len(t, names, 25)
	require.IsIncreasing(t, names)
}

func TestHandler_oneOrganizationsLoadLeavesOthersTheirTurn(t *testing.T) {
	database := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: database})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	server := newServer(kv.Options{Store: store, MaxQueries: 2, MaxQueriesPerOrganization: 1})
	var clients []client
	for _, name := range []string{"loud", "quiet"} {
		owner, err := store.EnsureOwner(t.Context(), name, name+"@example.com")
		require.NoError(t, err)
		clients = append(clients, newClient(t, server.Handler(owner.OrganizationID, "ns")))
	}
	loud, quiet := clients[0], clients[1]
	answer, _ := loud.do("PUT", "/same?urlencoded=true", strings.NewReader("x"))
	require.Equal(t, 200, answer.StatusCode)

	// What it writes from now on takes as long as the test goes on.
	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM kv_entries WHERE key = 'same' FOR UPDATE")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() { loud.do("PUT", "/same?urlencoded=true", strings.NewReader("x")) })
	}
	require.Eventually(t, func() bool {
		var waits int
		err := tx.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&waits)
		return err == nil && waits == 1
	}, time.Minute, 10*time.Millisecond)
	for range 50 {
		answer, _ := quiet.do("PUT", "/mine?urlencoded=true", strings.NewReader("x"))
		require.Equal(t, 200, answer.StatusCode)
	}
	require.NoError(t, tx.Rollback(t.Context()))
	wg.Wait()
}

func TestHandler_answersWhenTheDatabaseIsAway(t *testing.T) {
	store, err := models.OpenStore(models.StoreOptions{URL: "postgresql://nobody@127.0.0.1:1/none"})
	require.NoError(t, err)
	defer store.Close()
	c := newClient(t, newServer(kv.Options{Store: store}).Handler("org_1", "ns"))
	answer, body := c.do("GET", "/k?urlencoded=true", nil)
	require.Equal(t, 503, answer.StatusCode)
	require.NotContains(t, body, "127.0.0.1")
}

// While the database is away a worker must not be able to fill the operator's log.
func TestHandler_logsFailuresOnceASecond(t *testing.T) {
	store, err := models.OpenStore(models.StoreOptions{URL: "postgresql://nobody@127.0.0.1:1/none"})
	require.NoError(t, err)
	defer store.Close()
	log, logged := logrustest.NewNullLogger()
	c := newClient(t, kv.New(kv.Options{Store: store, Log: log}).Handler("org_1", "ns"))
	began := time.Now()
	for range 20 {
		answer, _ := c.do("GET", "/k?urlencoded=true", nil)
		require.Equal(t, 503, answer.StatusCode)
	}
	require.LessOrEqual(t, len(logged.AllEntries()), 1+int(time.Since(began)/time.Second))
}
