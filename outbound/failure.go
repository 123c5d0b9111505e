package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/slipwayhq/slipway/sandbox/egress"
)

var errTooManySockets = errors.New("too many sockets of one organization")

// failure is what a worker is told instead of an origin's answer.
type failure struct {
	status int
	// kind is the error type of RFC 9209, section 2.3.
	kind string
	text string
	// detail is for the log; nil for none.
	detail error
}

func fail(status int, kind, text string) failure {
	return failure{status: status, kind: kind, text: text}
}

// explain says what an error on the way to a host means to the worker. It does not
// tell to what addresses names resolve: those of the operator's own network are
// nobody's business.
func explain(err error, host string) failure {
	f := classify(err)
	f.detail = err
	if _, notAddress := netip.ParseAddr(host); notAddress == nil && f.kind == prohibited {
		var refused *egress.RefusedError
		errors.As(err, &refused)
		f.text = "workers reach public addresses only, and " + refused.Reasons.Error()
	}
	return f
}

// prohibited is the error type of an address that is not reachable from here.
const prohibited = "destination_ip_prohibited"

// Reason says in words that may be shown to a tenant why a host was not reached,
// or gave no answer.
func Reason(err error) string { return classify(err).text }

func classify(err error) failure {
	var (
		refused     *egress.RefusedError
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		hostname    x509.HostnameError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		timeout     net.Error
	)
	switch {
	case errors.As(err, &refused):
		return fail(http.StatusForbidden, prohibited, "only public addresses are reached, and it resolves to none")
	case errors.Is(err, errTooManySockets):
		return fail(http.StatusTooManyRequests, "connection_limit_reached",
			"this organization's workers have as many sockets open as are allowed at a time")
	case errors.Is(err, errTooFast):
		return fail(http.StatusTooManyRequests, "connection_limit_reached",
			"this worker opens connections faster than is allowed")
	case errors.As(err, &dns) && dns.IsNotFound:
		return fail(http.StatusBadGateway, "dns_error", "there is no such name in the DNS")
	case errors.As(err, &dns) && dns.IsTimeout:
		return fail(http.StatusGatewayTimeout, "dns_timeout", "the DNS did not answer in time")
	case errors.As(err, &dns):
		return fail(http.StatusBadGateway, "dns_error", "the DNS gave no usable answer")
	case errors.As(err, &certificate), errors.As(err, &hostname):
		return fail(http.StatusBadGateway, "tls_certificate_error", "its certificate is not valid for it")
	case errors.As(err, &record), errors.As(err, &alert):
		return fail(http.StatusBadGateway, "tls_protocol_error", "it does not speak TLS as it should")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(http.StatusBadGateway, "connection_refused", "the connection was refused")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fail(http.StatusGatewayTimeout, "connection_timeout", "it did not answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fail(http.StatusBadGateway, "connection_terminated", "it closed the connection without an answer")
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return fail(http.StatusBadGateway, "destination_ip_unroutable", "no way leads to its address")
	default:
		return fail(http.StatusBadGateway, "destination_unavailable", "the connection failed")
	}
}
