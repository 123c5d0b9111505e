package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// recorder projects the status onto the deployment's row and the search
// attributes. It runs beside the deployment and writes the newest status only:
// changes made in one workflow task, such as one step's end and the next one's
// beginning, are one transition, and a database that is away holds nothing up.
// It tries until the row has the newest status, which the last one waits for.
type recorder struct {
	source   *progress
	recorded int64
	// status and step are the search attributes as they are now; indexing says
	// that an update of them is on its way.
	status   string
	step     models.Step
	indexing bool
}

func (r *recorder) start(ctx workflow.Context, source *progress) {
	r.source = source
	r.status = attributeStatus(source.Status)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	workflow.Go(ctx, r.run)
}

// settled says that the row has the newest status, or will not get it from here.
func (r *recorder) settled() bool { return r.recorded >= r.source.Version }

func (r *recorder) run(ctx workflow.Context) {
	// Await fails only when its context is canceled, which this one never is.
	for workflow.Await(ctx, func() bool { return !r.settled() }) == nil {
		if r.write(ctx) != nil {
			r.insist(ctx)
		}
	}
}

// insist tries again, ever more rarely, until the row has the newest status or
// patience is over.
func (r *recorder) insist(ctx workflow.Context) {
	since := workflow.Now(ctx)
	for wait := recordWait; workflow.Now(ctx).Sub(since) < recordPatience; wait = min(2*wait, recordWaitMax) {
		tried := r.source.Version
		_, _ = workflow.AwaitWithTimeout(ctx, wait, func() bool { return r.source.Version > tried })
		if r.write(ctx) == nil {
			return
		}
	}
	r.recorded = r.source.Version
}

// write records the status as it is now.
func (r *recorder) write(ctx workflow.Context) error {
	status := r.source.snapshot()
	r.index(ctx)
	local := table.record.local(ctx)
	if err := workflow.ExecuteLocalActivity(local, models.ActivityRecord, status).Get(local, nil); err != nil {
		return err
	}
	r.recorded = status.Version
	return nil
}

// index keeps the search attributes. Being parked, going on after that and the
// end show at once; a mere step follows within indexDelay, so that the quick
// ones cost the visibility store nothing.
func (r *recorder) index(ctx workflow.Context) {
	status, step := attributeStatus(r.source.Status), r.source.CurrentStep
	switch {
	case status == r.status && step == r.step:
	case r.source.Outcome != models.OutcomeNone, status != r.status && r.status != string(models.StatusQueued):
		r.upsert(ctx, status, step)
	case !r.indexing:
		r.indexing = true
		workflow.Go(ctx, func(ctx workflow.Context) {
			timer := workflow.NewTimerWithOptions(ctx, indexDelay, workflow.TimerOptions{Summary: "search attributes"})
			_ = timer.Get(ctx, nil)
			r.indexing = false
			r.upsert(ctx, attributeStatus(r.source.Status), r.source.CurrentStep)
		})
	}
}

// upsert sends the search attributes that changed, in one command.
func (r *recorder) upsert(ctx workflow.Context, status string, step models.Step) {
	updates := attributeUpdates(status, r.status, step, r.step)
	if len(updates) == 0 {
		return
	}
	r.status, r.step = status, step
	if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
		workflow.GetLogger(ctx).Warn("search attributes not updated", "error", err)
	}
}
