package activities

import (
	"context"

	"github.com/slipwayhq/slipway/models"
)

// WeighRollout gives a rollout's release a share of the visitors and waits until
// every dispatcher has taken note of it. Running it twice is harmless: the share
// is set, not raised.
func (a *Activities) WeighRollout(ctx context.Context, in models.RolloutWeight) (superseded bool, err error) {
	superseded, err = a.Store.WeighRollout(ctx, in.Rollout, in.Percent)
	if err != nil || superseded {
		return superseded, err
	}
	return false, a.awaitRoutes(ctx, in.Rollout.ProjectID)
}

// MeasureRollout only reads.
func (a *Activities) MeasureRollout(ctx context.Context, in models.RolloutWindow) (models.RolloutMeasure, error) {
	return a.Store.MeasureRollout(ctx, in.Rollout, in.Since)
}

// EndRollout notes what a rollout came to. Running it twice is harmless: the
// first end stays.
func (a *Activities) EndRollout(ctx context.Context, in models.RolloutEnd) error {
	a.Log.WithField("rollout", in.Rollout.RolloutID).WithField("status", in.Status).Info("rollout ended")
	return a.Store.EndRollout(ctx, in.Rollout.RolloutID, in.Status, in.Reason)
}
