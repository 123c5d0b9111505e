package workflows

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/slipwayhq/slipway/models"
)

// BenchmarkDeployment measures steps that do nothing, one deployment after
// another: in ours with a build slot, in ours for plain files, and in a bare
// workflow that runs the same six activities. The three take turns, so that a
// busy machine slows all of them, and their medians are compared.
func BenchmarkDeployment(b *testing.B) {
	subjects := []*subject{
		newSubject(b, "bare", bareWorkflow, &steps{}),
		newSubject(b, "plain", Deployment, &steps{sync: staticSource}),
		newSubject(b, "build", Deployment, &steps{}),
	}
	for _, s := range subjects {
		s.deploy(b) // connections are made, caches are warm
	}
	for b.Loop() {
		for _, s := range subjects {
			began := time.Now()
			s.deploy(b)
			s.took = append(s.took, time.Since(began))
		}
	}
	bare := subjects[0].median()
	for _, s := range subjects {
		b.ReportMetric(float64(s.median().Microseconds())/1000, s.name+"-ms")
		b.ReportMetric(float64(s.median())/float64(bare), s.name+"/bare")
		b.ReportMetric(float64(len(historyOf(b, s.run.client, s.run.row.ID).Events)), s.name+"-events")
	}
}

func bareWorkflow(ctx workflow.Context, in models.DeploymentInput) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for _, step := range models.AllSteps() {
		if err := workflow.ExecuteActivity(ctx, string(step), models.StepInput{Deployment: in}).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// subject is one of the workflows that are compared.
type subject struct {
	name string
	run  *run
	took []time.Duration
}

func newSubject(b *testing.B, name string, fn any, s *steps) *subject {
	c := dial(b)
	queue := fmt.Sprintf("bench-%s-%s", name, models.NewID("q"))
	w := worker.New(c, queue, workerOptions(true))
	w.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: models.WorkflowDeployment})
	s.register(w)
	require.NoError(b, w.Start())
	b.Cleanup(w.Stop)
	return &subject{name: name, run: &run{client: c, steps: s, queue: queue, builds: queue}}
}

// deploy takes one deployment from its start to its end.
func (s *subject) deploy(b *testing.B) {
	s.run.deploy(b, nil)
	require.NoError(b, s.run.client.GetWorkflow(b.Context(), s.run.row.ID, "").Get(b.Context(), nil))
}

func (s *subject) median() time.Duration {
	slices.Sort(s.took)
	return s.took[len(s.took)/2]
}
