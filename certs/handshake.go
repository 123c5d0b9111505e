package certs

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
)

// getCertificate is tls.Config.GetCertificate. Neither certificate nor error
// makes crypto/tls answer with the alert unrecognized_name (RFC 6066 §3).
func (c *Certs) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.certificate(hello.Context(), hello)
}

func (c *Certs) certificate(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol {
		return c.challengeCertificate(ctx, hello)
	}
	name, ok := serverName(hello.ServerName)
	switch {
	case !ok:
		return nil, nil
	case name == "":
		name = c.own.wildcard
	}
	name, kind := c.own.classify(name)
	switch {
	case kind == hostNone:
		return nil, nil
	case kind == hostWildcard && c.files != nil:
		return c.files.current(), nil
	case kind == hostWildcard && !c.opts.DNS01.enabled():
		return nil, nil
	}
	if e, ok := c.memory.get(name); ok && time.Now().Before(e.notAfter) {
		return c.expand(e)
	}
	return c.fetch(ctx, name, kind, source(hello.Conn))
}

// challengeCertificate answers TLS-ALPN-01 (RFC 8737), also for a challenge that
// another dispatcher has to pass.
func (c *Certs) challengeCertificate(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name, ok := serverName(hello.ServerName)
	if !ok || !c.mayHaveChallenge(ctx, name, source(hello.Conn)) {
		return nil, nil
	}
	return c.engine.onDemand.GetCertificateWithContext(ctx, hello)
}

// mayHaveChallenge keeps strangers who say they are a certificate authority from
// having storage read for names nobody has.
func (c *Certs) mayHaveChallenge(ctx context.Context, name string, source netip.Addr) bool {
	if _, mine := certmagic.GetACMEChallenge(name); mine {
		return true
	}
	name, kind := c.own.classify(name)
	switch {
	case kind == hostOwn:
		return true
	case kind != hostCustom || c.decide.refused(name, source):
		return false
	}
	switch c.decide.ask(ctx, name, askPatience) {
	case verdictYes:
		return true
	case verdictNo:
		c.decide.strike(source)
	}
	return false
}

// serverName normalizes the name a client asks for: "" for none and for IP
// addresses, which SNI must not hold but some clients send.
func serverName(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" {
		return "", true
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", true
	}
	return name, validName(name)
}

// validName is stricter than DNS: what a certificate may be asked for.
func validName(name string) bool {
	if len(name) > 253 || !strings.Contains(name, ".") && name != "localhost" {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			b := label[i]
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
				return false
			}
		}
	}
	return true
}

// source is the address of who asks; of IPv6 the part that a provider gives to
// one customer.
func source(connection net.Conn) netip.Addr {
	if connection == nil {
		return netip.Addr{}
	}
	address, err := netip.ParseAddrPort(connection.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	ip := address.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			ip = prefix.Addr()
		}
	}
	return ip
}

// hostKind says where a host's certificate comes from.
type hostKind int

const (
	// hostNone has none: more than one label below the platform's domain.
	hostNone hostKind = iota
	// hostWildcard is the platform's domain and what is directly below.
	hostWildcard
	// hostOwn is another host of the platform.
	hostOwn
	// hostCustom is somebody's, if Allowed says so.
	hostCustom
)

// ownHosts knows the platform's own hosts.
type ownHosts struct {
	domain, suffix, wildcard string
	hosts                    []string
}

func newOwnHosts(domain string, hosts []string) ownHosts {
	own := ownHosts{domain: domain, suffix: "." + domain, wildcard: "*." + domain}
	for _, hostPort := range hosts {
		if host, _, err := net.SplitHostPort(hostPort); err == nil {
			own.add(host)
		} else {
			own.add(hostPort)
		}
	}
	return own
}

// add leaves out what no authority signs.
func (o *ownHosts) add(host string) {
	if name, ok := serverName(host); ok && name != "" && name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		o.hosts = append(o.hosts, name)
	}
}

// classify gives the name of the certificate that a host needs.
func (o ownHosts) classify(host string) (string, hostKind) {
	if host == o.domain || host == o.wildcard {
		return host, hostWildcard
	}
	if label, below := strings.CutSuffix(host, o.suffix); below && !strings.Contains(label, ".") {
		return o.wildcard, hostWildcard
	}
	switch {
	case slices.Contains(o.hosts, host):
		return host, hostOwn
	case strings.HasSuffix(host, o.suffix):
		return "", hostNone
	default:
		return host, hostCustom
	}
}
