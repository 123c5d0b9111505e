package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// buildInSandbox runs sandbox and build on one build host. A lost host means
// another host, and both steps again, but nothing that came before them.
func (d *deployment) buildInSandbox(ctx workflow.Context) *failure {
	d.queue(ctx)
	host, err := d.awaitSlot(ctx)
	if err != nil {
		failure := d.slotFailed(ctx, err)
		if failure.hostLost {
			d.lostHosts++
		}
		return failure
	}
	failure := d.buildOn(ctx, host)
	switch {
	case failure == nil:
		d.giveBackSlot()
	case host.lost():
		d.giveBackSlot()
		d.lostHosts++
	}
	return failure
}

// buildOn runs the two steps on a host, within the active time.
func (d *deployment) buildOn(ctx workflow.Context, host *buildHost) *failure {
	defer host.limit(ctx, d.input.Deployment.ActiveTimeout)()
	var sandbox models.SandboxResult
	if failure := d.stepOn(ctx, table.sandbox.activity(host.work), models.StepSandbox, &sandbox); failure != nil {
		return failure
	}
	d.input.SandboxID = sandbox.SandboxID
	d.complete(ctx, models.StepSandbox, "")

	var build models.BuildResult
	if failure := d.stepOn(ctx, table.build.activity(host.work), models.StepBuild, &build); failure != nil {
		return failure
	}
	d.built(ctx, build)
	return nil
}

// awaitSlot waits for a build host with a free slot.
func (d *deployment) awaitSlot(ctx workflow.Context) (*buildHost, error) {
	host := &buildHost{queue: d.input.Deployment.BuildQueue}
	ready, settle := workflow.NewFuture(ctx)
	d.slots++
	workflow.Go(ctx, func(ctx workflow.Context) {
		host.hold(ctx, settle)
		d.slots--
	})
	// The wait for the slot is canceled there: this one sees how it ended.
	if err := ready.Get(ctx, nil); err != nil {
		return nil, err
	}
	d.host = host
	return host, nil
}

// slotFailed is failed for the wait for a slot. A host that took the deployment
// up and died before it said so is a lost host like any other.
func (d *deployment) slotFailed(ctx workflow.Context, err error) *failure {
	if d.canceled || !silentHost(err) || d.lostHosts+1 >= sessionsPerPass {
		return d.failed(ctx, models.StepSandbox, err)
	}
	return d.lose(ctx)
}

// giveBackSlot lets go of the build host without waiting until it is free: the
// deployment goes on meanwhile, and waits at its end.
func (d *deployment) giveBackSlot() {
	d.host.released = true
	d.host = nil
	d.input.SandboxID = ""
}

// buildHost is a build slot on one host, held by a worker session from before
// the sandbox is made until it is destroyed.
type buildHost struct {
	queue string
	// session is alive until the host is lost or released; canceling the
	// deployment does not touch it.
	session workflow.Context
	// work is canceled with the session, with the deployment, and when the active
	// time is up, which expired tells.
	work    workflow.Context
	cancel  workflow.CancelFunc
	expired bool
	// released says that nothing more will run there.
	released bool
}

// hold is the life of a slot: wait for it, settle what waits for it, keep it
// until it is released, give it back. It runs in a coroutine of its own, because
// a session must be ended where it was begun. The session is made apart from
// ctx, so that it can be ended in order after ctx was canceled.
func (h *buildHost) hold(ctx workflow.Context, ready workflow.Settable) {
	apart, cancel := workflow.NewDisconnectedContext(ctx)
	h.cancel = cancel // the wait for the slot, and then the work on the host
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		h.cancel()
	})
	session, err := workflow.CreateSession(workflow.WithTaskQueue(apart, h.queue), &workflow.SessionOptions{
		CreationTimeout:  slotWait,
		ExecutionTimeout: sessionLimit,
		HeartbeatTimeout: sessionHeartbeat,
	})
	if err != nil {
		ready.SetError(err)
		return
	}
	h.session = session
	h.work, h.cancel = workflow.WithCancel(session)
	ready.SetValue(nil)

	own, _ := workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(own, func() bool { return h.released })
	workflow.CompleteSession(session)
}

// limit cancels the work on the host when the deployment's active time is up, as
// a timer in the workflow, so that everything is given back in order. It counts
// neither the wait for the slot nor a host that was lost. 0 is no limit.
func (h *buildHost) limit(ctx workflow.Context, limit time.Duration) (stop func()) {
	if limit <= 0 {
		return func() {}
	}
	ctx, stop = workflow.WithCancel(ctx)
	timer := workflow.NewTimerWithOptions(ctx, limit, workflow.TimerOptions{Summary: "active time"})
	workflow.Go(ctx, func(ctx workflow.Context) {
		if timer.Get(ctx, nil) == nil {
			h.expired = true
			h.cancel()
		}
	})
	return stop
}

// lost says whether the host went away.
func (h *buildHost) lost() bool {
	return workflow.GetSessionInfo(h.session).SessionState == workflow.SessionStateFailed
}

// cleanup runs the step cleanup on the host. It fails at once when the host is
// lost, and soon when the host does not take it up.
func (h *buildHost) cleanup(ctx workflow.Context, input models.StepInput) error {
	on, _ := workflow.NewDisconnectedContext(h.session)
	on = workflow.WithScheduleToStartTimeout(table.giveBack.activity(on), time.Minute)
	return workflow.ExecuteActivity(on, string(models.StepCleanup), input).Get(ctx, nil)
}
