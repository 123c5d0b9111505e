package activities

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/slipwayhq/slipway/models"
)

// stepBuckets are in seconds: from a query to a build that takes all its time.
var stepBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// The results of a step in metrics, besides the classes of failures.
const (
	resultOK       = "ok"
	resultCanceled = "canceled"
)

// sessionCreation begins the name of the SDK's activity that takes a build slot;
// sessionPrefix, that of all its activities for sessions.
const (
	sessionCreation = "internalSessionCreationActivity"
	sessionPrefix   = "internalSession"
)

// measures are the metrics of the steps.
type measures struct {
	steps    *prometheus.HistogramVec
	failures *prometheus.CounterVec
	waits    *prometheus.HistogramVec
	builds   *prometheus.HistogramVec
	caches   *prometheus.CounterVec
	ended    *prometheus.CounterVec
	parked   prometheus.Counter
	webhooks *prometheus.CounterVec
}

func newMeasures(registerer prometheus.Registerer) *measures {
	with := promauto.With(registerer)
	m := &measures{
		steps: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "slipway_step_duration_seconds", Buckets: stepBuckets,
			Help: "Time of one attempt at a step, by result: ok, user (the user's failure), platform (ours) or canceled.",
		}, []string{"step", "result"}),
		failures: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_step_failures_total", Help: "Attempts at a step that failed, by the failure's code.",
		}, []string{"step", "code"}),
		waits: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "slipway_queue_wait_seconds", Buckets: stepBuckets,
			Help: "Time waited: deployments, from the request until the first step begins; builds, for a build slot; steps, for a worker to take a step.",
		}, []string{"queue"}),
		builds: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "slipway_build_duration_seconds", Buckets: stepBuckets,
			Help: "Time of a build in a sandbox, install and collecting included, by framework and result.",
		}, []string{"framework", "result"}),
		caches: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_build_cache_requests_total",
			Help: "Look-ups of what earlier builds left, by result (hit or miss): output, the whole build's; snapshot, the installed packages.",
		}, []string{"cache", "result"}),
		ended: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_deployments_total", Help: "Deployments that ended, by outcome.",
		}, []string{"outcome"}),
		parked: with.NewCounter(prometheus.CounterOpts{
			Name: "slipway_dead_letters_parked_total", Help: "Deployments that were parked as dead letters.",
		}),
		webhooks: with.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_webhook_attempts_total",
			Help: "Attempts to deliver a webhook, by what became of the delivery: succeeded, pending (it is tried again) or failed.",
		}, []string{"result"}),
	}
	// What there will be shows as 0 from the start, so that the first increase is one.
	for _, outcome := range []models.Outcome{models.OutcomeSucceeded, models.OutcomeSuperseded, models.OutcomeRejected, models.OutcomeAbandoned, models.OutcomeCanceled} {
		m.ended.WithLabelValues(string(outcome))
	}
	for _, status := range []models.DeliveryStatus{models.DeliverySucceeded, models.DeliveryPending, models.DeliveryFailed} {
		m.webhooks.WithLabelValues(string(status))
	}
	for _, cache := range []string{"output", "snapshot"} {
		m.caches.WithLabelValues(cache, "hit")
		m.caches.WithLabelValues(cache, "miss")
	}
	return m
}

// began notes how long an activity waited for a worker.
func (m *measures) began(info activity.Info) {
	switch {
	case info.IsLocalActivity || info.Attempt > 1 || info.ScheduledTime.IsZero():
	case info.ActivityType.Name == sessionCreation:
		m.waits.WithLabelValues("builds").Observe(info.StartedTime.Sub(info.ScheduledTime).Seconds())
	case !strings.HasPrefix(info.ActivityType.Name, sessionPrefix):
		m.waits.WithLabelValues("steps").Observe(info.StartedTime.Sub(info.ScheduledTime).Seconds())
	}
}

// step notes how an attempt at an activity went. The names are those that are
// registered, so there are few.
func (m *measures) step(name string, took time.Duration, err error) {
	if strings.HasPrefix(name, sessionPrefix) {
		return
	}
	m.steps.WithLabelValues(name, resultOf(err)).Observe(took.Seconds())
	if err != nil {
		m.failures.WithLabelValues(name, string(codeOf(err))).Inc()
	}
}

func (m *measures) cache(name string, hit bool) {
	result := "miss"
	if hit {
		result = "hit"
	}
	m.caches.WithLabelValues(name, result).Inc()
}

// cleaned counts a deployment that ended or was parked.
func (m *measures) cleaned(in models.StepInput) {
	if in.Parking {
		m.parked.Inc()
		return
	}
	m.ended.WithLabelValues(string(in.Outcome)).Inc()
}

// attempted counts an attempt to deliver a webhook.
func (m *measures) attempted(status models.DeliveryStatus) {
	m.webhooks.WithLabelValues(string(status)).Inc()
}

// resultOf says in one word how work went.
func resultOf(err error) string {
	var canceled *temporal.CanceledError
	switch {
	case err == nil:
		return resultOK
	case errors.Is(err, context.Canceled), errors.As(err, &canceled):
		return resultCanceled
	case codeOf(err).Class() == models.ClassUser:
		return string(models.ClassUser)
	default:
		return string(models.ClassPlatform)
	}
}

// codeOf is the code of an error, also of one that was translated for Temporal.
func codeOf(err error) models.Code {
	var failed *temporal.ApplicationError
	var details models.StepFailure
	if errors.As(err, &failed) && failed.HasDetails() && failed.Details(&details) == nil && details.Code != "" {
		return details.Code
	}
	return models.CodeOf(err)
}

// measureQueued notes how long a deployment waited until its first step began.
// That it is not known stops nothing.
func (a *Activities) measureQueued(ctx context.Context, id string) {
	if a.Metrics == nil || activity.GetInfo(ctx).Attempt > 1 {
		return
	}
	if row, err := a.Store.Deployment(ctx, id); err == nil {
		a.measures.waits.WithLabelValues("deployments").Observe(max(0, time.Since(row.CreatedAt).Seconds()))
	}
}
