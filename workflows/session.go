package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// buildInSandbox runs sandbox and build on one build host. A lost host means
// another host, and both steps again, but nothing that came before them; the
// time that was lost with it is not counted against the deployment.
func (d *deployment) buildInSandbox(ctx workflow.Context) *failure {
	d.queue(ctx)
	d.clock.pause(ctx)
	left := d.clock.left
	host, err := d.awaitSlot(ctx)
	d.clock.resume(ctx)
	if err != nil {
		return d.failed(ctx, models.StepSandbox, err)
	}
	failure := d.buildOn(ctx, host)
	switch {
	case failure == nil:
		d.giveBackSlot()
	case host.lost():
		d.giveBackSlot()
		d.lostHosts++
		d.clock.pause(ctx)
		d.clock.left = left
	}
	return failure
}

// buildOn runs the two steps on a host.
func (d *deployment) buildOn(ctx workflow.Context, host *buildHost) *failure {
	var sandbox models.SandboxResult
	if failure := d.stepOn(ctx, host.work, models.StepSandbox, &sandbox); failure != nil {
		return failure
	}
	d.input.SandboxID = sandbox.SandboxID
	d.complete(ctx, models.StepSandbox, "")

	var build models.BuildResult
	if failure := d.stepOn(ctx, host.work, models.StepBuild, &build); failure != nil {
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
	// work is canceled with the session and with the deployment.
	work workflow.Context
	// released says that nothing more will run there.
	released bool
}

// hold is the life of a slot: wait for it, settle what waits for it, keep it
// until it is released, give it back. It runs in a coroutine of its own, because
// a session must be ended where it was begun. The session is made apart from
// ctx, so that it can be ended in order after ctx was canceled.
func (h *buildHost) hold(ctx workflow.Context, ready workflow.Settable) {
	apart, cancel := workflow.NewDisconnectedContext(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		cancel() // the wait for the slot, or then the work on the host
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
	h.work, cancel = workflow.WithCancel(session)
	ready.SetValue(nil)

	own, _ := workflow.NewDisconnectedContext(ctx)
	_ = workflow.Await(own, func() bool { return h.released })
	workflow.CompleteSession(session)
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
