package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/slipwayhq/slipway/models"
)

// chargeBuild notes how long a step worked in a sandbox, for the organization's
// build minutes. A step that the platform failed is not charged; one that failed
// by its own doing, was canceled or ran out of time is. A build is not thrown away
// because its time could not be noted.
func (a *Activities) chargeBuild(ctx context.Context, id string, step models.Step, began time.Time, err error) {
	if err != nil && (stopping(ctx) || ctx.Err() == nil && models.CodeOf(err).Class() == models.ClassPlatform) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := a.Store.NoteBuildTime(ctx, id, step, time.Since(began)); err != nil {
		a.Log.WithFields(map[string]any{"deploymentId": id, "step": step}).WithError(err).Warn("build time not noted; nobody is charged for it")
	}
}

// stopping says whether this worker is going down, which cancels its steps.
func stopping(ctx context.Context) bool {
	select {
	case <-activity.GetWorkerStopChannel(ctx):
		return true
	default:
		return false
	}
}
