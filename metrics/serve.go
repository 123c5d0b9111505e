package metrics

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
)

// scrapeTimeout bounds one answer, so that a database that hangs does not pile
// up scrapes behind it.
const scrapeTimeout = 20 * time.Second

// Handler answers GET /metrics, and Go's profiles at /debug/pprof/. It is for a
// private address: a profile shows what the process has in memory. What cannot be
// gathered is left out of an answer and logged.
func Handler(gatherer prometheus.Gatherer, log logrus.FieldLogger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog: errorLog{log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: scrapeTimeout,
	}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("Slipway: /metrics for Prometheus, /debug/pprof/ for profiles.\n"))
	})
	return sameSite(mux)
}

// sameSite refuses what a browser sends for another site's page: on a developer's
// machine that could have profiles made, though not read them.
// See https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header.
//
// A page whose host's name was made to lead here is of this site to a browser, which
// then would let it read. So profiles are shown at an address, not under a name.
func sameSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/debug/") && !isAddress(r.Host) {
			http.Error(w, "Profiles are shown at an IP address or localhost, not under another name.", http.StatusForbidden)
			return
		}
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "none", "same-origin":
			next.ServeHTTP(w, r)
		default:
			http.Error(w, "Not for other sites' pages.", http.StatusForbidden)
		}
	})
}

// isAddress says whether a Host header has an IP address or localhost.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}

// Serve answers with a handler on a listener until ctx ends.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// errorLog takes what cannot be gathered.
type errorLog struct{ log logrus.FieldLogger }

// Println logs one line.
func (l errorLog) Println(v ...any) {
	l.log.WithField("cause", v).Warn("some metrics cannot be gathered")
}
