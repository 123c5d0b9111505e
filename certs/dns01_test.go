package certs

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// nameServer answers one question with what answer returns.
func nameServer(t *testing.T, host string, answer func(question dns.Question) []dns.RR) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.Answer = answer(r.Question[0])
		_ = w.WriteMsg(m)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-ended
	})
	return listener.Addr().String()
}

func TestDNS01_waitsForTheOtherServersOfTheZone(t *testing.T) {
	challenge := acme.Challenge{Type: acme.ChallengeTypeDNS01, KeyAuthorization: "key", Identifier: acme.Identifier{Type: "dns", Value: "apps.test"}}
	var behind atomic.Int32 // answers without the record
	behind.Store(3)
	secondary := nameServer(t, "127.0.0.2", func(dns.Question) []dns.RR {
		if behind.Add(-1) >= 0 {
			return nil
		}
		return []dns.RR{record(challenge)}
	})
	primary := nameServer(t, "127.0.0.1", func(question dns.Question) []dns.RR {
		if question.Qtype == dns.TypeNS {
			ns := func(name string) dns.RR {
				return &dns.NS{Hdr: dns.RR_Header{Name: "apps.test.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: name}
			}
			return []dns.RR{ns("gone.test."), ns("unreachable.test."), ns("secondary.test.")}
		}
		return []dns.RR{record(challenge)}
	})
	s := newDNSSolver(DNS01{Server: primary}, "apps.test")
	s.everyCheck = 10 * time.Millisecond
	_, s.port, _ = net.SplitHostPort(secondary)
	s.lookup = func(_ context.Context, host string) ([]string, error) {
		switch host {
		case "secondary.test":
			return []string{"127.0.0.2"}, nil
		case "unreachable.test":
			return []string{"127.0.0.3"}, nil
		default:
			return nil, &net.DNSError{IsNotFound: true}
		}
	}
	require.NoError(t, s.Wait(t.Context(), challenge))
	require.Negative(t, behind.Load(), "the secondary was asked until it had the record")

	behind.Store(1 << 30)
	s.patience = 2 * time.Second
	require.ErrorContains(t, s.Wait(t.Context(), challenge), secondary)
}

// The question that is under way when patience ends times out a moment before the
// context says so; that was once taken for a server out of reach.
func TestDNS01_serverThatAnsweredIsWaitedForWhenItFalters(t *testing.T) {
	challenge := acme.Challenge{Type: acme.ChallengeTypeDNS01, KeyAuthorization: "key", Identifier: acme.Identifier{Type: "dns", Value: "apps.test"}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	answered := make(chan struct{})
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		select {
		case <-answered: // from the second question on it hangs up
			_ = w.Close()
		default:
			close(answered)
			_ = w.WriteMsg(new(dns.Msg).SetReply(r))
		}
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-ended
	})
	s := newDNSSolver(DNS01{Server: listener.Addr().String()}, "apps.test")
	s.everyCheck = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	require.ErrorContains(t, s.await(ctx, listener.Addr().String(), record(challenge), false), "does not give out the challenge")
}
