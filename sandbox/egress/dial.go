package egress

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// RefusedError says that a name leads only to addresses that must not be dialled.
type RefusedError struct{ Reasons error }

func (e *RefusedError) Error() string { return "refused: " + e.Reasons.Error() }
func (e *RefusedError) Unwrap() error { return e.Reasons }

// Dialer connects to the public internet and to nothing that might lead to this
// host, its network or its cloud. The zero value works. Safe for concurrent use.
type Dialer struct {
	// Resolve looks names up; default is the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// OwnAddresses are this machine's; default looks at its interfaces.
	OwnAddresses func() ([]netip.Addr, error)
	// AllowPrivate exempts addresses from the refusal of special ranges.
	AllowPrivate []netip.Prefix
	// Refuse adds addresses that are never dialled, exempt or not.
	Refuse []netip.Prefix
}

// Dial connects to a host, a name or an address, over TCP. The name is resolved
// once and the very address that was checked is dialled, so that a second answer
// of the DNS cannot lead elsewhere. It returns a *RefusedError when no address
// may be dialled and the resolver's error when there is none.
func (d Dialer) Dial(ctx context.Context, host string, port uint16) (net.Conn, error) {
	if d.Resolve == nil {
		d.Resolve = resolve
	}
	addresses, err := d.Resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	var refused, failed []error
	for i, address := range addresses {
		if err := d.Check(address); err != nil {
			refused = append(refused, err)
			continue
		}
		conn, err := dialOne(ctx, netip.AddrPortFrom(address.Unmap(), port), len(addresses)-i)
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("connect to %s port %d: %w", host, port, errors.Join(failed...))
	}
	if len(refused) > 0 {
		return nil, &RefusedError{errors.Join(refused...)}
	}
	return nil, fmt.Errorf("resolve %s: no address", host)
}

// Check says why Dial would not dial an address; nil when it would.
func (d Dialer) Check(address netip.Addr) error {
	if d.OwnAddresses == nil {
		d.OwnAddresses = machineAddresses
	}
	for _, prefix := range d.Refuse {
		if prefix.Contains(address.Unmap()) {
			return fmt.Errorf("%s is the platform's", address)
		}
	}
	return checkAddress(address, d.OwnAddresses, d.AllowPrivate)
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// dial connects to an allowed target, through the operator's proxy when there
// is one.
func (p *Proxy) dial(ctx context.Context, target Target) (net.Conn, error) {
	if p.options.Upstream != nil {
		through, err := p.options.Upstream(target)
		if err != nil {
			return nil, fmt.Errorf("choose the upstream proxy: %w", err)
		}
		if through != nil {
			return dialThrough(ctx, through, target)
		}
	}
	dialer := Dialer{Resolve: p.options.Resolve, OwnAddresses: p.options.OwnAddresses, AllowPrivate: p.options.AllowPrivate}
	return dialer.Dial(ctx, target.Host, target.Port)
}

// dialOne gives one of the addresses left a share of the time, so that a dead
// one does not use all of it.
func dialOne(ctx context.Context, address netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(deadline)/2, time.Second))
		defer cancel()
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", address.String())
}

// dialThrough asks the operator's own proxy to connect.
func dialThrough(ctx context.Context, through *url.URL, target Target) (net.Conn, error) {
	if through.Scheme != "http" {
		return nil, fmt.Errorf("the upstream proxy %s must be http", through.Redacted())
	}
	host := through.Host
	if through.Port() == "" {
		host = net.JoinHostPort(through.Hostname(), "80")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("connect to the upstream proxy: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	request := &http.Request{
		Method: http.MethodConnect, Host: target.String(), Header: http.Header{},
		URL: &url.URL{Host: target.String()},
	}
	if user := through.User; user != nil {
		password, _ := user.Password()
		token := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+token)
	}
	if err := request.Write(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask the upstream proxy: %w", err)
	}
	answers := bufio.NewReader(conn)
	//nolint:bodyclose // The body of an answer to CONNECT is the tunnel: closing would drain it.
	answer, err := http.ReadResponse(answers, request)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask the upstream proxy: %w", err)
	}
	if answer.StatusCode != http.StatusOK || answers.Buffered() > 0 {
		conn.Close()
		return nil, fmt.Errorf("the upstream proxy answered %s", answer.Status)
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}
