package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// policy is one row of the table: how long something may take, how soon a lost
// host is noticed, and how often it is tried.
type policy struct {
	// limit bounds one attempt, from its start on a host.
	limit time.Duration
	// heartbeat is how long a host may be silent before it counts as lost.
	heartbeat time.Duration
	// attempts counts the first one too.
	attempts int32
	// longestWait caps the wait between attempts: 1 s, 2 s, 4 s, … up to it.
	longestWait time.Duration
}

// table is the one place with timeouts and retry policies. Waiting for a free
// worker is never limited, so no row has a schedule-to-start timeout: a long
// queue delays deployments, it does not fail them.
var table = struct {
	validate, sync, sandbox, build, deploy, cleanup, giveBack, record, checkDomain, rollout, webhook policy
}{
	validate: policy{limit: 30 * time.Second, heartbeat: 15 * time.Second, attempts: 3, longestWait: 10 * time.Second},
	sync:     policy{limit: 10 * time.Minute, heartbeat: 15 * time.Second, attempts: 3, longestWait: 10 * time.Second},
	sandbox:  policy{limit: 5 * time.Minute, heartbeat: 20 * time.Second, attempts: 3, longestWait: 10 * time.Second},
	// A build is bounded by the deployment's active time, see buildHost.limit; this
	// is the net below it.
	build:  policy{limit: 6 * time.Hour, heartbeat: 20 * time.Second, attempts: 3, longestWait: 10 * time.Second},
	deploy: policy{limit: 10 * time.Minute, heartbeat: 15 * time.Second, attempts: 3, longestWait: 10 * time.Second},
	// Nothing comes after cleanup that could mend what it left: about a quarter
	// of an hour of attempts.
	cleanup: policy{limit: 5 * time.Minute, heartbeat: 15 * time.Second, attempts: 20, longestWait: time.Minute},
	// Cleanup while parking, or on a build host whose slot it holds, gives up
	// sooner: it runs once more at the end.
	giveBack: policy{limit: 2 * time.Minute, heartbeat: 15 * time.Second, attempts: 3, longestWait: 10 * time.Second},
	// The projection runs inside the workflow task and must not hold it up. The
	// recorder tries again by itself, see recorder.
	record: policy{limit: 2 * time.Second, attempts: 2, longestWait: time.Second},
	// A look at DNS is tried until it was possible: the database may be away for
	// hours, and nobody's failure is it.
	checkDomain: policy{limit: time.Minute, heartbeat: 15 * time.Second, longestWait: time.Minute},
	// A rollout stands still while the database is away, and goes on after.
	rollout: policy{limit: time.Minute, heartbeat: 15 * time.Second, longestWait: 10 * time.Second},
	// One attempt at a delivery. What a receiver answers is no failure of it; the
	// database may be away for hours.
	webhook: policy{limit: 2 * time.Minute, heartbeat: 15 * time.Second, longestWait: time.Minute},
}

// deliverySchedule is how long a delivery waits after each attempt that failed: over
// three days, as the Standard Webhooks specification recommends.
var deliverySchedule = [...]time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// longestDeliveryWait bounds the wait that a receiver may ask for.
const longestDeliveryWait = 24 * time.Hour

const (
	// slotWait is how long a deployment waits for a build slot: that is being
	// queued, not failing.
	slotWait = 24 * time.Hour
	// sessionLimit bounds a session; the activities in it end long before.
	sessionLimit = 12 * time.Hour
	// sessionHeartbeat is how soon a lost build host is noticed.
	sessionHeartbeat = 20 * time.Second
	// sessionsPerPass is how many build hosts may be lost, less one, before the
	// deployment is parked.
	sessionsPerPass = 3

	// indexDelay is how far a step may be ahead of the search attributes.
	indexDelay = time.Second

	// recordWait and recordWaitMax space the attempts of the projection while
	// the database is away; recordPatience is when it gives up. The reconciler
	// settles the row then.
	recordWait     = time.Second
	recordWaitMax  = time.Minute
	recordPatience = 24 * time.Hour
)

// policyOf is a step's row.
func policyOf(step models.Step) policy {
	switch step {
	case models.StepValidate:
		return table.validate
	case models.StepSync:
		return table.sync
	case models.StepSandbox:
		return table.sandbox
	case models.StepBuild:
		return table.build
	case models.StepDeploy:
		return table.deploy
	default:
		return table.cleanup
	}
}

// within is the policy with no attempt longer than limit; 0 is no limit.
func (p policy) within(limit time.Duration) policy {
	if limit > 0 {
		p.limit = min(p.limit, limit)
	}
	return p
}

func (p policy) retries() *temporal.RetryPolicy {
	return &temporal.RetryPolicy{
		InitialInterval:    min(time.Second, p.longestWait),
		BackoffCoefficient: 2,
		MaximumInterval:    p.longestWait,
		MaximumAttempts:    p.attempts,
	}
}

// activity is a context whose activities run under the policy. A canceled
// activity is waited for, so that cleanup never runs beside the step it cleans
// up after, and a go-live that won the race counts.
func (p policy) activity(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: p.limit,
		HeartbeatTimeout:    p.heartbeat,
		WaitForCancellation: true,
		RetryPolicy:         p.retries(),
	})
}

// local is a context whose local activities run under the policy.
func (p policy) local(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: p.limit,
		RetryPolicy:         p.retries(),
	})
}
