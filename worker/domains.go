package worker

import (
	"context"
	"time"

	"github.com/slipwayhq/slipway/workflows"
)

// startDomains has those custom domains verified that a crash left waiting.
func (r *reconciler) startDomains(ctx context.Context) error {
	rows, err := r.Store.UnstartedDomains(ctx, startGrace, batch)
	if err != nil {
		return err
	}
	for _, d := range rows {
		runID, err := workflows.CheckDomain(ctx, r.Temporal, d, r.DomainTimeout, r.Queue)
		if err != nil {
			return err
		}
		if err := r.Store.MarkDomainStarted(ctx, d.ID, runID); err != nil {
			return err
		}
		r.Log.WithField("domain", d.Host).Info("started the verification of a domain that had none")
	}
	return nil
}

// checkLease is how long a look at an active domain may take before it is due once
// more, when its workflow was started but lost.
const checkLease = 30 * time.Minute

// checkDomains has those active domains looked at again whose time has come.
func (r *reconciler) checkDomains(ctx context.Context) error {
	if r.Activities.DomainCheckEvery <= 0 {
		return nil
	}
	rows, err := r.Store.DueDomains(ctx, checkLease, batch)
	if err != nil {
		return err
	}
	for _, d := range rows {
		if _, err := workflows.CheckDomain(ctx, r.Temporal, d, r.DomainTimeout, r.Queue); err != nil {
			return err
		}
	}
	return nil
}
