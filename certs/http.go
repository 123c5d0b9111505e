package certs

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddyserver/certmagic"
)

// HTTPChallenge answers the certificate authority's questions over plain HTTP
// (HTTP-01, RFC 8555 §8.3), also for challenges that another dispatcher has to
// pass, and gives everything else to next. It goes in front of Redirect.
func (c *Certs) HTTPChallenge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if certmagic.LooksLikeHTTPChallenge(r) && c.answerChallenge(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (c *Certs) answerChallenge(w http.ResponseWriter, r *http.Request) bool {
	name, ok := serverName(hostWithoutPort(r.Host))
	if !ok || name == "" {
		return false
	}
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	if !c.mayHaveChallenge(r.Context(), name, from.Addr().Unmap()) {
		return false
	}
	return c.engine.http.HandleHTTPChallenge(w, r)
}

// Redirect sends those who come over plain HTTP to HTTPS at a port (443 does not
// show), with method and body kept (308). Hosts for which there is no public
// certificate, localhost and IP addresses, go to next, and so does a request over
// HTTPS.
func Redirect(next http.Handler, port int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := serverName(hostWithoutPort(r.Host))
		if r.TLS != nil || !ok || name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") || !strings.HasPrefix(r.RequestURI, "/") {
			next.ServeHTTP(w, r)
			return
		}
		if port != 443 {
			name = net.JoinHostPort(name, strconv.Itoa(port))
		}
		header := w.Header()
		header["Location"] = []string{"https://" + name + r.RequestURI}
		header["Content-Length"] = []string{"0"}
		if r.ContentLength != 0 {
			// The body is not read.
			header["Connection"] = []string{"close"}
		}
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

func hostWithoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
