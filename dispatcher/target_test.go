package dispatcher

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// models.Store is what runs behind a dispatcher.
var (
	_ Routes        = (*models.Store)(nil)
	_ Invalidations = (*models.Store)(nil)
)

func TestTarget_hostsAreToldApart(t *testing.T) {
	h := newHosts("example.com", []string{" Gate.example.net:3005 "}, models.ReservedWorkerNames())
	for host, want := range map[string]target{
		"example.com":              {kind: targetOwn},
		"EXAMPLE.com.:80":          {kind: targetOwn},
		"dispatcher.example.com":   {kind: targetOwn},
		"gate.example.net":         {kind: targetOwn},
		"localhost:3005":           {kind: targetOwn},
		"192.168.1.2:80":           {kind: targetOwn},
		"[2001:db8::1]:80":         {kind: targetOwn},
		"My-App.example.com":       {kind: targetTenant, key: "w:my-app"},
		"my-app.example.com.:":     {kind: targetTenant, key: "w:my-app"},
		"www.customer.org":         {kind: targetTenant, key: "h:www.customer.org"},
		"notexample.com":           {kind: targetTenant, key: "h:notexample.com"},
		"www.example.com":          {kind: targetInvalid},
		"a.b.example.com":          {kind: targetInvalid},
		"a.dispatcher.example.com": {kind: targetInvalid},
		"":                         {kind: targetInvalid},
		":80":                      {kind: targetInvalid},
		"my-app.example.com:65535": {kind: targetTenant, key: "w:my-app"},
		"my-app.example.com:65536": {kind: targetInvalid},
		"a:b:c":                    {kind: targetInvalid},
		"[::1":                     {kind: targetInvalid},
		"-a.org":                   {kind: targetInvalid},
		"a..org":                   {kind: targetInvalid},
	} {
		got := h.hostTarget(host)
		require.Equal(t, want.kind, got.kind, host)
		require.Equal(t, want.key, got.key, host)
	}
}

func TestCutWorkerParam_leavesOtherParametersAsTheyAre(t *testing.T) {
	for _, c := range []struct{ query, worker, rest string }{
		{"worker=a", "a", ""},
		{"x=%2f&worker=a&y=+&y=2", "a", "x=%2f&y=+&y=2"},
		{"w%6Frker=a%2Db", "a-b", ""},
		{"worker=a&worker=b&z", "a", "z"},
		{"worker", "", ""},
		{"worker=%zz", "%zz", ""},
	} {
		worker, rest, found := cutWorkerParam(c.query)
		require.True(t, found, c.query)
		require.Equal(t, c.worker, worker, c.query)
		require.Equal(t, c.rest, rest, c.query)
	}
	_, rest, found := cutWorkerParam("workers=a&x=worker")
	require.False(t, found)
	require.Equal(t, "workers=a&x=worker", rest)
}

func FuzzTarget(f *testing.F) {
	for _, seed := range [][2]string{
		{"a.localhost", "/"}, {"localhost", "/dispatch/a/b?c"}, {"localhost", "/dispatch?worker=%61"}, {"[::1]:1", "/api/dispatch//"},
		{"127.0.0.1", "http://a.localhost/x"}, {"a.b.localhost", "//x"}, {"LOCALHOST.", "/dispatch/A"}, {"x", "*"}, {"", "?"},
	} {
		f.Add(seed[0], seed[1])
	}
	h := newHosts("localhost", nil, models.ReservedWorkerNames())
	f.Fuzz(func(t *testing.T, host, uri string) {
		got := h.target(&http.Request{Host: host, RequestURI: uri, URL: &url.URL{Path: "/"}})
		require.True(t, strings.HasPrefix(got.path, "/") || got.kind == targetInvalid)
		if got.kind != targetTenant {
			return
		}
		if name, worker := strings.CutPrefix(got.key, "w:"); worker {
			require.NoError(t, models.ValidateWorkerName(name, models.ReservedWorkerNames()))
			require.Equal(t, models.FoldWorkerName(name), name)
			return
		}
		name, custom := strings.CutPrefix(got.key, "h:")
		require.True(t, custom)
		require.True(t, validHost(name), name)
		require.False(t, strings.HasSuffix(name, ".localhost"))
		require.Empty(t, got.prefix)
	})
}
