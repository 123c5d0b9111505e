// Package clientaddr finds the address a request comes from, behind proxies too,
// and carries it in the request's context.
//
// What a client writes into X-Forwarded-For is believed only as far as trusted
// proxies wrote it: each proxy appends the address it was called from, so the
// list is read from its end, and the first address that is no trusted proxy's is
// the client's.
package clientaddr

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxHops bounds how much of X-Forwarded-For is read; no chain of proxies is longer.
const maxHops = 32

// Finder finds clients' addresses. The zero Finder trusts no proxy: the client is
// who the connection is with. It is safe for concurrent use.
type Finder struct{ trusted []netip.Prefix }

// New makes a Finder that believes the X-Forwarded-For of these proxies.
func New(trusted []netip.Prefix) Finder { return Finder{slices.Clone(trusted)} }

// Of is the address of the client, without a zone, an IPv4 address never in its
// IPv6 form. It is the zero Addr when the connection has none, as on a Unix socket.
func (f Finder) Of(r *http.Request) netip.Addr {
	client := parse(r.RemoteAddr)
	if !f.Trusts(client) {
		return client
	}
	hops := 0
	lines := r.Header.Values("X-Forwarded-For")
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := lines[i]; rest != "" && hops < maxHops; hops++ {
			last := rest[strings.LastIndexByte(rest, ',')+1:]
			rest = strings.TrimSuffix(strings.TrimSuffix(rest, last), ",")
			next := parse(strings.TrimSpace(last))
			if !next.IsValid() {
				// What stands before it nobody vouches for.
				return client
			}
			client = next
			if !f.Trusts(client) {
				return client
			}
		}
	}
	return client
}

// In is r with the client's address in its context, where From finds it.
func (f Finder) In(r *http.Request) *http.Request {
	return r.WithContext(With(r.Context(), f.Of(r)))
}

// Proxied says whether a request came through a trusted proxy, so that the
// connection is not its client's own.
func (f Finder) Proxied(r *http.Request) bool {
	return f.Trusts(parse(r.RemoteAddr)) && !f.Trusts(f.Of(r))
}

// Trusts says whether the address is a trusted proxy's.
func (f Finder) Trusts(a netip.Addr) bool {
	return slices.ContainsFunc(f.trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

type contextKey struct{}

// With puts a client's address into a context.
func With(ctx context.Context, a netip.Addr) context.Context {
	return context.WithValue(ctx, contextKey{}, a)
}

// From is the client's address that With put into the context; the zero Addr when
// there is none.
func From(ctx context.Context) netip.Addr {
	a, _ := ctx.Value(contextKey{}).(netip.Addr)
	return a
}

// String is the address for rows and logs; "" for the zero Addr.
func String(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// Network names what one client can be taken to have, for counting: an IPv4
// address, or the /64 network that an IPv6 client chooses its addresses from.
func Network(a netip.Addr) string {
	if !a.Is6() {
		return String(a)
	}
	network, err := a.Prefix(64)
	if err != nil {
		return String(a)
	}
	return network.String()
}

// parse reads an address with or without a port; the zero Addr when it is none.
func parse(s string) netip.Addr {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone("")
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
