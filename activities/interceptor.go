package activities

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

// Interceptor is what surrounds every step on a worker: heartbeats on a timer of
// their own, the one translation of our errors into Temporal's, and metrics.
func (a *Activities) Interceptor() interceptor.WorkerInterceptor {
	return &workerInterceptor{log: a.Log, measures: a.measures}
}

type workerInterceptor struct {
	interceptor.WorkerInterceptorBase
	log      logrus.FieldLogger
	measures *measures
}

func (w *workerInterceptor) InterceptActivity(ctx context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &activityInterceptor{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, log: w.log, measures: w.measures}
}

type activityInterceptor struct {
	interceptor.ActivityInboundInterceptorBase
	log      logrus.FieldLogger
	measures *measures
}

// ExecuteActivity beats while the activity runs, translates how it ended, and
// measures it.
func (i *activityInterceptor) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	i.measures.began(info)
	began := time.Now()
	result, err := i.execute(ctx, info, in)
	i.measures.step(info.ActivityType.Name, time.Since(began), err)
	return result, err
}

func (i *activityInterceptor) execute(ctx context.Context, info activity.Info, in *interceptor.ExecuteActivityInput) (any, error) {
	if strings.HasPrefix(info.ActivityType.Name, sessionPrefix) {
		return i.Next.ExecuteActivity(ctx, in)
	}
	if !info.IsLocalActivity {
		stop := beat(ctx, info.HeartbeatTimeout)
		defer stop()
	}
	result, err := i.Next.ExecuteActivity(ctx, in)
	if err == nil || !translated(info.ActivityType.Name) {
		return result, err
	}
	i.log.WithField("code", models.CodeOf(err)).WithContext(ctx).WithFields(logrus.Fields{
		"deploymentId": info.WorkflowExecution.ID, "step": info.ActivityType.Name, "attempt": info.Attempt,
	}).WithError(err).Warn("step failed")
	return result, toTemporal(err)
}

// translated says whether a workflow goes by the code of the activity's failure.
// Those of domains and rollouts do not: whatever fails is tried again.
func translated(name string) bool {
	if name == models.ActivityRecord || name == models.ActivitySendWebhook {
		return true
	}
	for _, step := range models.AllSteps() {
		if name == string(step) {
			return true
		}
	}
	return false
}

// HeartbeatInterval is how often a running step is heard of. The answer to a
// heartbeat is how a cancellation reaches the step, so it also bounds how long a
// person who cancels a build waits. Workers throttle heartbeats to the same.
const HeartbeatInterval = 2 * time.Second

// beat records heartbeats until stopped, at least three per timeout. The steps
// need not think of it, so that a build which is silent for ten minutes lives,
// while a frozen process is noticed within one timeout.
func beat(ctx context.Context, timeout time.Duration) (stop func()) {
	if timeout <= 0 {
		return func() {}
	}
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		ticker := time.NewTicker(min(timeout/3, HeartbeatInterval))
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				activity.RecordHeartbeat(ctx)
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		close(done)
		<-finished
	}
}

// toTemporal gives an error the form the workflow reads: an application error
// whose type is the code. A user's failure is not worth trying again.
func toTemporal(err error) error {
	var already *temporal.ApplicationError
	if errors.As(err, &already) || errors.Is(err, context.Canceled) {
		return err
	}
	code := models.CodeOf(err)
	failure := models.StepFailure{Code: code, Class: code.Class(), Message: models.MessageOf(err)}
	var coded *models.Error
	if errors.As(err, &coded) {
		if d, ok := coded.Details.(*models.Diagnosis); ok {
			failure.Diagnosis = d
		}
	}
	return temporal.NewApplicationErrorWithOptions(failure.Message, string(code), temporal.ApplicationErrorOptions{
		NonRetryable: failure.Class == models.ClassUser,
		// The cause is for operators: it shows in the Web UI.
		Cause:   err,
		Details: []any{failure},
	})
}
