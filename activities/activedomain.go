package activities

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// looksOfPatience is how often a domain without an address is looked at until
	// it fails, and leastFailedLooks how often at least it must have been seen so: an
	// outage of ours, or of its name servers, is no time in which it was.
	looksOfPatience  = 72
	leastFailedLooks = looksOfPatience / 2
)

// lookAgain looks at a domain that is active. One that has no address any more goes
// on being answered, with a reason that warns, until that has lasted for
// DomainPatience. One that points elsewhere is only warned about: a proxy that was
// put before us shows addresses of its own, and its visitors come here all the
// same. Whoever proved the domain was told that the TXT record may go, so that its
// absence says nothing.
func (a *Activities) lookAgain(ctx context.Context, d models.Domain) (models.DomainState, error) {
	reason, nowhere := a.pointsElsewhere(ctx, d.Host)
	look := models.DomainLook{Lacks: reason, Unsure: !nowhere, NextAt: a.nextLook(a.DomainCheckEvery)}
	if reason != "" {
		look.NextAt = a.nextLook(min(a.DomainCheckEvery, a.DomainPatience/looksOfPatience))
	}
	if nowhere {
		since := time.Now()
		if d.FailingSince != nil {
			since = *d.FailingSince
		}
		look.Lacks += fmt.Sprintf(" Otherwise it stops answering here after %s.", dateOf(since.Add(a.DomainPatience)))
	}
	d, err := a.Store.NoteLook(ctx, d.ID, look)
	if models.CodeOf(err) == models.CodeDomainNotFound {
		return models.DomainState{Removed: true}, nil
	}
	if err != nil {
		return models.DomainState{}, err
	}
	if nowhere && a.DomainCheckEvery > 0 && d.FailedChecks >= leastFailedLooks && time.Since(*d.FailingSince) >= a.DomainPatience {
		return a.loseDomain(ctx, d, reason)
	}
	return models.DomainState{Status: d.Status, Reason: d.Reason}, nil
}

func (a *Activities) loseDomain(ctx context.Context, d models.Domain, reason string) (models.DomainState, error) {
	reason = fmt.Sprintf("It has had no address since %s. %s", dateOf(*d.FailingSince), reason)
	if err := a.Store.LoseDomain(ctx, d, reason); err != nil {
		return models.DomainState{}, err
	}
	a.Log.WithField("domain", d.Host).WithField("project", d.ProjectID).Warn("domain is active no more: it has no address")
	return models.DomainState{Status: models.DomainFailed, Reason: reason}, nil
}

// nextLook is when to look again after a wait, up to a tenth earlier or later so
// that what became active together is not looked at together for ever.
func (a *Activities) nextLook(wait time.Duration) time.Time {
	return time.Now().UTC().Add(time.Duration(float64(wait) * (0.9 + 0.2*rand.Float64())))
}

func dateOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
