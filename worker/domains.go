package worker

import (
	"context"

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
