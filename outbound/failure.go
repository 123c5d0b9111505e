package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
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
}

// explain says what an error means to the worker. Nothing in it tells about this
// machine's network more than the refused address, which the worker's own name
// resolved to.
func explain(err error) failure {
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
		return failure{http.StatusForbidden, "destination_ip_prohibited",
			"workers reach public addresses only, and " + refused.Reasons.Error()}
	case errors.Is(err, errTooManySockets):
		return failure{http.StatusTooManyRequests, "connection_limit_reached",
			"this organization's workers have as many sockets open as are allowed at a time"}
	case errors.As(err, &dns) && dns.IsNotFound:
		return failure{http.StatusBadGateway, "dns_error", "there is no such name in the DNS"}
	case errors.As(err, &dns) && dns.IsTimeout:
		return failure{http.StatusGatewayTimeout, "dns_timeout", "the DNS did not answer in time"}
	case errors.As(err, &dns):
		return failure{http.StatusBadGateway, "dns_error", "the DNS gave no usable answer"}
	case errors.As(err, &certificate), errors.As(err, &hostname):
		return failure{http.StatusBadGateway, "tls_certificate_error", "its certificate is not valid for it"}
	case errors.As(err, &record), errors.As(err, &alert):
		return failure{http.StatusBadGateway, "tls_protocol_error", "it does not speak TLS as it should"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure{http.StatusBadGateway, "connection_refused", "the connection was refused"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return failure{http.StatusGatewayTimeout, "connection_timeout", "it did not answer in time"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return failure{http.StatusBadGateway, "connection_terminated", "it closed the connection without an answer"}
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return failure{http.StatusBadGateway, "destination_ip_unroutable", "no way leads to its address"}
	default:
		return failure{http.StatusBadGateway, "destination_unavailable", "the connection failed"}
	}
}
