package certs

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"

	"github.com/slipwayhq/slipway/models"
)

// DNS01 is a name server that takes updates (RFC 2136) signed with a shared key
// (RFC 8945), for the challenges of the wildcard certificate.
type DNS01 struct {
	// Server is the primary of the zone, "host:port" or "host".
	Server string
	// Zone is the zone that is updated, default the domain.
	Zone string
	// KeyName names the key, with its algorithm in front as nsupdate takes it
	// ("hmac-sha512:name"); hmac-sha256 without. "" sends unsigned updates.
	KeyName string
	// KeySecret is the key in base64.
	KeySecret string
}

func (d DNS01) enabled() bool { return d.Server != "" }

func (d DNS01) check(domain string) error {
	if !d.enabled() {
		return nil
	}
	if _, err := base64.StdEncoding.DecodeString(d.KeySecret); err != nil || (d.KeyName == "") != (d.KeySecret == "") {
		return models.Errorf(models.CodeValidation, "ACME_DNS01_KEY_SECRET must be the key named by ACME_DNS01_KEY_NAME, in base64")
	}
	if zone := strings.Trim(d.Zone, "."); zone != "" && !dns.IsSubDomain(dns.Fqdn(zone), dns.Fqdn(domain)) {
		return models.Errorf(models.CodeValidation, "ACME_DNS01_ZONE %s does not hold %s", d.Zone, domain)
	}
	if _, _, ok := d.key(); !ok {
		return models.Errorf(models.CodeValidation, "ACME_DNS01_KEY_NAME names an algorithm other than hmac-sha224, -sha256, -sha384 and -sha512")
	}
	return nil
}

// key splits the algorithm off the key's name.
func (d DNS01) key() (name, algorithm string, ok bool) {
	algorithm, name, found := strings.Cut(d.KeyName, ":")
	if !found {
		return dns.Fqdn(d.KeyName), dns.HmacSHA256, true
	}
	algorithm = dns.Fqdn(strings.ToLower(algorithm))
	known := []string{dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}
	return dns.Fqdn(name), algorithm, slices.Contains(known, algorithm)
}

// dnsSolver puts challenges into the zone and takes them out. Where the zone ends
// is a setting, so no resolver is asked and none can mislead it.
type dnsSolver struct {
	server, zone         string
	keyName, algorithm   string
	client               *dns.Client
	patience, everyCheck time.Duration
	// lookup resolves the zone's other servers, which answer on port.
	lookup func(ctx context.Context, host string) ([]string, error)
	port   string
}

const (
	dnsTimeout  = 10 * time.Second
	dnsPatience = 2 * time.Minute
	// challengeTTL bounds how long a resolver may believe an earlier challenge.
	challengeTTL = 60
)

func newDNSSolver(opts DNS01, domain string) *dnsSolver {
	s := &dnsSolver{
		server: opts.Server, zone: dns.Fqdn(strings.Trim(opts.Zone, ".")),
		client: &dns.Client{Net: "tcp", Timeout: dnsTimeout}, patience: dnsPatience, everyCheck: 500 * time.Millisecond,
		lookup: net.DefaultResolver.LookupHost, port: "53",
	}
	if _, _, err := net.SplitHostPort(s.server); err != nil {
		s.server = net.JoinHostPort(strings.Trim(s.server, "[]"), "53")
	}
	if s.zone == "." {
		s.zone = dns.Fqdn(domain)
	}
	if opts.KeyName != "" {
		s.keyName, s.algorithm, _ = opts.key()
		s.client.TsigSecret = map[string]string{s.keyName: opts.KeySecret}
	}
	return s
}

// Present implements acmez.Solver: it adds the record to whatever else has the
// name, such as the challenge of the domain itself beside that of *.domain.
func (s *dnsSolver) Present(ctx context.Context, challenge acme.Challenge) error {
	update := new(dns.Msg).SetUpdate(s.zone)
	update.Insert([]dns.RR{record(challenge)})
	return s.update(ctx, update)
}

// CleanUp implements acmez.Solver.
func (s *dnsSolver) CleanUp(ctx context.Context, challenge acme.Challenge) error {
	update := new(dns.Msg).SetUpdate(s.zone)
	update.Remove([]dns.RR{record(challenge)})
	return s.update(context.WithoutCancel(ctx), update)
}

// Wait implements acmez.Waiter: until the primary, and every other server of the
// zone that answers, gives the record to those who ask.
func (s *dnsSolver) Wait(ctx context.Context, challenge acme.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	want := record(challenge)
	if err := s.await(ctx, s.server, want, true); err != nil {
		return err
	}
	secondaries := s.secondaries(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, server := range secondaries {
		// One that cannot be reached from here is for the authority to reach.
		if err := s.await(ctx, server, want, false); err != nil {
			return err
		}
	}
	return nil
}

// await asks one server until it has the record. Without insist, a server that
// does not answer the first time is let be; one that has answered is reachable, and
// a failure later is no more than that one question's.
func (s *dnsSolver) await(ctx context.Context, server string, want *dns.TXT, insist bool) error {
	for {
		present, err := s.has(ctx, server, want)
		if present || (err != nil && !insist && ctx.Err() == nil) {
			return nil
		}
		insist = true
		pause := time.NewTimer(s.everyCheck)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			if err == nil {
				err = ctx.Err()
			}
			return fmt.Errorf("the name server %s does not give out the challenge that zone %s was updated with: %w", server, s.zone, err)
		}
	}
}

// secondaries are the addresses of the zone's name servers.
func (s *dnsSolver) secondaries(ctx context.Context) (servers []string) {
	question := new(dns.Msg).SetQuestion(s.zone, dns.TypeNS)
	question.RecursionDesired = false
	answer, _, err := s.client.ExchangeContext(ctx, question, s.server)
	if err != nil {
		return nil
	}
	for _, rr := range answer.Answer {
		ns, ok := rr.(*dns.NS)
		if !ok {
			continue
		}
		addresses, _ := s.lookup(ctx, strings.TrimSuffix(ns.Ns, "."))
		for _, address := range addresses {
			servers = append(servers, net.JoinHostPort(address, s.port))
		}
	}
	return servers
}

func record(challenge acme.Challenge) *dns.TXT {
	return &dns.TXT{
		Hdr: dns.RR_Header{Name: dns.Fqdn(challenge.DNS01TXTRecordName()), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: challengeTTL},
		Txt: []string{challenge.DNS01KeyAuthorization()},
	}
}

func (s *dnsSolver) update(ctx context.Context, update *dns.Msg) error {
	if s.keyName != "" {
		update.SetTsig(s.keyName, s.algorithm, 300, time.Now().Unix())
	}
	answer, _, err := s.client.ExchangeContext(ctx, update, s.server)
	if err != nil {
		return fmt.Errorf("update zone %s at %s: %w", s.zone, s.server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("update zone %s at %s: the server answers %s", s.zone, s.server, dns.RcodeToString[answer.Rcode])
	}
	return nil
}

func (s *dnsSolver) has(ctx context.Context, server string, want *dns.TXT) (bool, error) {
	question := new(dns.Msg).SetQuestion(want.Hdr.Name, dns.TypeTXT)
	question.RecursionDesired = false
	answer, _, err := s.client.ExchangeContext(ctx, question, server)
	if err != nil {
		return false, err
	}
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*dns.TXT); ok && strings.Join(txt.Txt, "") == want.Txt[0] {
			return true, nil
		}
	}
	return false, nil
}

var (
	_ acmez.Solver = (*dnsSolver)(nil)
	_ acmez.Waiter = (*dnsSolver)(nil)
)
