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

// refusedError says that a name leads only to addresses no build may reach.
type refusedError struct{ reasons error }

func (e *refusedError) Error() string { return "refused: " + e.reasons.Error() }
func (e *refusedError) Unwrap() error { return e.reasons }

// dial connects to an allowed target. The name is resolved once and the very
// address that was checked is dialled, so that a second answer of the DNS
// cannot lead elsewhere.
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
	addresses, err := p.options.Resolve(ctx, target.Host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", target.Host, err)
	}
	var refused, failed []error
	for _, address := range addresses {
		if err := checkAddress(address, p.options.OwnAddresses, p.options.AllowPrivate); err != nil {
			refused = append(refused, err)
			continue
		}
		conn, err := dialOne(ctx, netip.AddrPortFrom(address.Unmap(), target.Port), len(addresses))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("connect to %s: %w", target, errors.Join(failed...))
	}
	if len(refused) > 0 {
		return nil, &refusedError{errors.Join(refused...)}
	}
	return nil, fmt.Errorf("resolve %s: no address", target.Host)
}

// dialOne gives one of several addresses a share of the time, so that a dead
// one does not use all of it.
func dialOne(ctx context.Context, address netip.AddrPort, of int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && of > 1 {
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
