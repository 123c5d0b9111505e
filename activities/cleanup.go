package activities

import (
	"bytes"
	"context"
	"strings"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// Cleanup settles what a deployment holds: what is left of its sandbox, its
// quota reservation, its log, and the notice of how it ended. It runs always,
// after failure and cancel too. Every part is idempotent, so that running it
// twice is harmless. When the deployment is being parked, the reservation and
// the log stay, because an operator's retry goes on with both.
func (a *Activities) Cleanup(ctx context.Context, in models.StepInput) error {
	d := in.Deployment
	a.destroySandbox(ctx, d.DeploymentID)
	if in.Parking {
		a.measures.cleaned(in)
		return nil
	}
	if err := a.settleQuota(ctx, d.DeploymentID, in.Outcome); err != nil {
		return err
	}
	if err := a.closeLog(ctx, d.OrgID, d.DeploymentID); err != nil {
		return err
	}
	if err := a.Store.WriteOutbox(ctx, models.EndEvent(in)); err != nil {
		return err
	}
	a.measures.cleaned(in)
	return nil
}

// settleQuota counts a deployment that succeeded or that the user failed; one
// that the platform failed is given back.
func (a *Activities) settleQuota(ctx context.Context, id string, outcome models.Outcome) error {
	if outcome == models.OutcomeAbandoned {
		return a.Store.RefundQuota(ctx, id)
	}
	return a.Store.SettleQuota(ctx, id)
}

// closeLog moves a log from its chunks into one blob.
func (a *Activities) closeLog(ctx context.Context, org, id string) error {
	var whole bytes.Buffer
	var last int64
	for {
		const page = 200
		chunks, err := a.Store.LogChunks(ctx, id, last, page)
		if err != nil {
			return err
		}
		for _, c := range chunks {
			whole.WriteString(strings.Join(c.Lines, "\n"))
			whole.WriteByte('\n')
			last = c.FirstLine + int64(len(c.Lines)) - 1
		}
		if len(chunks) < page {
			break
		}
	}
	if whole.Len() == 0 {
		return nil
	}
	key, err := blob.PutBytes(ctx, a.Blobs, org, whole.Bytes())
	if err != nil {
		return err
	}
	return a.Store.CloseLog(ctx, id, key.Digest)
}
