package activities

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// Resolver looks at DNS. net.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupCNAME(ctx context.Context, host string) (string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// CheckDomain looks at DNS once and moves a claim on as far as what it finds
// allows: pending → verified when the TXT record is there, verified → active when
// the host points here, active → failed when it has had no address for too long.
// Running it twice is harmless: each move is made once.
func (a *Activities) CheckDomain(ctx context.Context, in models.DomainInput) (models.DomainState, error) {
	d, err := a.Store.Domain(ctx, in.DomainID)
	switch {
	case models.CodeOf(err) == models.CodeDomainNotFound:
		return models.DomainState{Removed: true}, nil
	case err != nil:
		return models.DomainState{}, err
	}
	if d.Status == models.DomainPending {
		if reason := a.missingProof(ctx, d); reason != "" {
			return a.stillLacks(ctx, d, reason)
		}
		err := a.Store.VerifyDomain(ctx, d.ID)
		if models.CodeOf(err) == models.CodeDomainUnavailable {
			return a.failDomain(ctx, d.ID, models.MessageOf(err))
		}
		if err != nil {
			return models.DomainState{}, err
		}
		d.Status = models.DomainVerified
	}
	if d.Status == models.DomainActive {
		return a.lookAgain(ctx, d)
	}
	if d.Status == models.DomainVerified {
		if reason, _ := a.pointsElsewhere(ctx, d.Host); reason != "" {
			return a.stillLacks(ctx, d, reason)
		}
		d.CheckAt = a.nextLook(a.DomainCheckEvery)
		if err := a.Store.ActivateDomain(ctx, d); err != nil {
			return models.DomainState{}, err
		}
		d.Status, d.Reason = models.DomainActive, ""
		a.Log.WithField("domain", d.Host).WithField("project", d.ProjectID).Info("domain is active")
	}
	return models.DomainState{Status: d.Status, Reason: d.Reason}, nil
}

// FailDomain ends a claim whose time is over. Running it twice is harmless.
func (a *Activities) FailDomain(ctx context.Context, in models.DomainInput) (models.DomainState, error) {
	d, err := a.Store.Domain(ctx, in.DomainID)
	if models.CodeOf(err) == models.CodeDomainNotFound {
		return models.DomainState{Removed: true}, nil
	}
	if err != nil || d.Status == models.DomainActive {
		return models.DomainState{Status: d.Status}, err
	}
	return a.failDomain(ctx, d.ID, strings.TrimSpace("It was not ready in time. "+d.Reason))
}

func (a *Activities) failDomain(ctx context.Context, id, reason string) (models.DomainState, error) {
	return models.DomainState{Status: models.DomainFailed, Reason: reason}, a.Store.FailDomain(ctx, id, reason)
}

func (a *Activities) stillLacks(ctx context.Context, d models.Domain, reason string) (models.DomainState, error) {
	return models.DomainState{Status: d.Status, Reason: reason}, a.Store.NoteDomain(ctx, d.ID, reason)
}

// missingProof says what keeps the TXT record from proving ownership; "" when
// it does.
func (a *Activities) missingProof(ctx context.Context, d models.Domain) string {
	name := models.ChallengeLabel + d.Host
	values, err := a.Resolver.LookupTXT(ctx, rooted(name))
	switch {
	case slices.ContainsFunc(values, func(v string) bool { return strings.TrimSpace(v) == d.Token }):
		return ""
	case len(values) > 0:
		return fmt.Sprintf("The TXT record %s has another value than %s.", name, d.Token)
	case notThere(err):
		return fmt.Sprintf("There is no TXT record %s yet.", name)
	case err != nil:
		return fmt.Sprintf("The name servers of %s did not answer for its TXT record.", d.Host)
	}
	return fmt.Sprintf("There is no TXT record %s yet.", name)
}

// pointsElsewhere says why requests for a host would not come here; "" when
// they would: it is an alias of the target, or shares an address with it, as the
// top of a zone does, which can have no CNAME (RFC 1034 §3.6.2). nowhere says that
// its name servers know no address for it, so that no visitor can come at all.
func (a *Activities) pointsElsewhere(ctx context.Context, host string) (reason string, nowhere bool) {
	target := strings.ToLower(strings.TrimSuffix(a.CNAMETarget, "."))
	name, aliasErr := a.Resolver.LookupCNAME(ctx, rooted(host))
	if aliasErr == nil && strings.EqualFold(strings.TrimSuffix(name, "."), target) {
		return "", false
	}
	have, err := a.Resolver.LookupNetIP(ctx, "ip", rooted(host))
	switch {
	case notThere(err) || (err == nil && len(have) == 0):
		return fmt.Sprintf("%s has no address: make it a CNAME of %s.", host, target), true
	case err != nil:
		return fmt.Sprintf("The name servers of %s did not answer for its address.", host), false
	}
	want, err := a.Resolver.LookupNetIP(ctx, "ip", rooted(target))
	if err != nil || len(want) == 0 {
		return fmt.Sprintf("The address of %s could not be looked up.", target), false
	}
	for _, address := range have {
		if slices.ContainsFunc(want, func(w netip.Addr) bool { return w.Unmap() == address.Unmap() }) {
			return "", false
		}
	}
	// A target that is an alias itself may have other addresses each time it is asked
	// for; whoever ends at the same name as it comes here all the same.
	own, err := a.Resolver.LookupCNAME(ctx, rooted(target))
	if aliasErr == nil && err == nil && strings.EqualFold(own, name) {
		return "", false
	}
	return fmt.Sprintf("%s points elsewhere: make it a CNAME of %s, or give it the same addresses.", host, target), false
}

// rooted is a name that a resolver looks up as it is. It would try others that
// end with this machine's search domains too, in Kubernetes before this one.
func rooted(name string) string {
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	return name + "."
}

func notThere(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
