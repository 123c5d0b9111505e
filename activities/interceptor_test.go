package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	temporalworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// A slow name server once made the look at a domain count as a lost host: its
// policy asks for heartbeats, and only steps sent any.
func TestInterceptor_whateverRunsLongIsHeardOf(t *testing.T) {
	steps := newBench(t).Activities
	for _, name := range []string{string(models.StepBuild), models.ActivityCheckDomain, models.ActivityMeasureRollout, models.ActivitySendWebhook} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestWorkflowEnvironment()
			env.SetTestTimeout(time.Minute) // of real time, for the first heartbeat
			log := logrus.New()
			log.SetOutput(t.Output())
			env.SetWorkerOptions(temporalworker.Options{Interceptors: []interceptor.WorkerInterceptor{steps.Interceptor()}})
			heard := make(chan struct{}, 16)
			env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { heard <- struct{}{} })
			env.RegisterActivityWithOptions(func(context.Context) error {
				select {
				case <-heard:
					return nil
				case <-time.After(time.Minute):
					return errors.New("no heartbeat")
				}
			}, activity.RegisterOptions{Name: name})
			env.ExecuteWorkflow(func(ctx workflow.Context) error {
				return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
					StartToCloseTimeout: time.Minute, HeartbeatTimeout: 3 * time.Second, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
				}), name).Get(ctx, nil)
			})
			require.NoError(t, env.GetWorkflowError())
		})
	}
}
