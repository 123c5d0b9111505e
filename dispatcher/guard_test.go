package dispatcher_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/dispatcher"
	"github.com/slipwayhq/slipway/models"
)

func TestHSTS_isTheReleasesOwnOrElseOurs(t *testing.T) {
	const strict = "Strict-Transport-Security"
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/strict" {
			w.Header().Set(strict, "max-age=1")
		}
		reflect(w, r)
	}), func(o *dispatcher.Options) { o.HTTPS.HSTS = "max-age=60" })
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	w.deploy("site", files{"/strict": "file", "/other": "file", "/_headers": "/strict\n  Strict-Transport-Security: max-age=1\n"})
	addr := w.listenTLS()
	get := func(host, path string) []string {
		conn := w.dialTLS(addr)
		conn.send("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		a := conn.read("GET")
		require.Equal(t, 200, a.status)
		return a.header[strict]
	}
	for _, name := range []string{"my-app", "site"} {
		require.Equal(t, []string{"max-age=1"}, get(name+".localhost", "/strict"), name)
		require.Equal(t, []string{"max-age=60"}, get(name+".localhost", "/other"), name)
		require.Equal(t, []string{"max-age=60"}, get("localhost", "/dispatch/"+name+"/strict"), "our host is ours: %s", name)
		require.Equal(t, []string{"max-age=60"}, get("localhost", "/dispatch/"+name+"/other"), name)
	}
}

func TestGuard_aTenantAsksNobodyForAPasswordOnOurHost(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Slipway"`)
		w.Header().Set("Secure-Session-Registration", `(ES256);path="/start"`)
		w.WriteHeader(http.StatusUnauthorized)
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	there, here := w.get("my-app.localhost", "/"), w.get("localhost", "/dispatch/my-app/")
	require.Equal(t, 401, there.status)
	require.Equal(t, 401, here.status)
	for _, name := range []string{"Www-Authenticate", "Secure-Session-Registration"} {
		require.NotEmpty(t, there.header[name], name)
		require.Empty(t, here.header[name], name)
	}
}

func TestGuard_noPartOfAnAnswerHasHeadersOfItsOwnOnOurHost(t *testing.T) {
	w, _ := newHybrid(t, serveUnix(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		_, _ = w.Write([]byte("--x\r\nContent-Type: text/html\r\nSet-Cookie: session=stolen\r\n\r\n<h1>hostile</h1>\r\n--x--\r\n"))
	}), nil)
	w.deployWorker("my-app", assets.Config{}, files{}, models.WorkerBundle{})
	for _, kind := range []string{"multipart/x-mixed-replace; boundary=x", "Multipart/X-Mixed-Replace", "multipart/mixed; boundary=x"} {
		path := "/?type=" + url.QueryEscape(kind)
		require.Equal(t, kind, w.get("my-app.localhost", path).header.Get("Content-Type"))
		if kind != "multipart/mixed; boundary=x" {
			kind = "application/octet-stream"
		}
		require.Equal(t, []string{kind}, w.get("localhost", "/dispatch/my-app"+path).header["Content-Type"])
	}
}
