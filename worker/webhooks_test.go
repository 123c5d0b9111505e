package worker

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
	"github.com/slipwayhq/slipway/webhook"
	"github.com/slipwayhq/slipway/workflows"
)

// mailbox is a receiver that answers with the statuses given, one after the
// other, the last one for ever.
type mailbox struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	messages []letter
}

type letter struct {
	id, path string
	event    struct {
		Type models.EventKind
		Data models.EventData
	}
}

func (m *mailbox) got() []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

func newMailbox(t *testing.T, statuses ...int) *mailbox {
	t.Helper()
	m := &mailbox{statuses: statuses}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m.mu.Lock()
		defer m.mu.Unlock()
		l := letter{id: r.Header.Get("webhook-id"), path: r.URL.Path}
		_ = json.Unmarshal(body, &l.event)
		m.messages = append(m.messages, l)
		w.WriteHeader(m.statuses[min(len(m.messages), len(m.statuses))-1])
		_, _ = io.WriteString(w, "thanks")
	}))
	t.Cleanup(m.Close)
	return m
}

// hooked is an installation with what sends.
type hooked struct {
	*installation
	*courier
	vault *webhook.Vault
}

func newHooked(t *testing.T) *hooked {
	t.Helper()
	i := newInstallation(t)
	key, err := seal.FromFile(filepath.Join(t.TempDir(), "secret.key"))
	require.NoError(t, err)
	i.Activities.WebhookVault = webhook.NewVault(key)
	i.Activities.WebhookSender = webhook.NewSender(webhook.Options{Rules: webhook.Rules{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	i.ReconcileEvery = time.Hour
	return &hooked{i, &courier{i.Options}, i.Activities.WebhookVault}
}

// work runs a worker until the test ends.
func (h *hooked) work() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	started, ended := make(chan struct{}), make(chan error, 1)
	opts := h.courier.Options
	opts.Started = func() { close(started) }
	go func() { ended <- Run(ctx, opts) }()
	select {
	case <-started:
	case err := <-ended:
		require.NoError(h.t, err)
	}
	h.t.Cleanup(func() {
		cancel()
		require.NoError(h.t, <-ended)
	})
}

func (h *hooked) hook(url string, change ...func(*models.Webhook)) models.Webhook {
	h.t.Helper()
	row := models.Webhook{
		ID: models.NewID(models.PrefixWebhook), OrganizationID: h.id.OrganizationID, Format: models.WebhookStandard, Events: []string{"*"}, Shown: url, CreatedBy: h.id.UserID,
	}
	for _, c := range change {
		c(&row)
	}
	var err error
	row.Sealed, err = h.vault.Seal(row.ID, webhook.Credentials{URL: url, Secret: webhook.NewSecret()})
	require.NoError(h.t, err)
	row, err = h.courier.Store.CreateWebhook(h.t.Context(), row)
	require.NoError(h.t, err)
	return row
}

func (h *hooked) deliveries(hook models.Webhook) []models.Delivery {
	h.t.Helper()
	rows, err := h.courier.Store.Deliveries(h.t.Context(), models.DeliveryFilter{WebhookID: hook.ID, Limit: 100})
	require.NoError(h.t, err)
	return rows
}

func (h *hooked) exec(sql string, args ...any) {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), h.url)
	require.NoError(h.t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(h.t.Context(), sql, args...)
	require.NoError(h.t, err)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 20*time.Millisecond)
}

func TestCourier_bringsEventsToThoseWhoAskForThem(t *testing.T) {
	h := newHooked(t)
	h.work()
	all, some := newMailbox(t, 500, 200), newMailbox(t, 200)
	hook := h.hook(all.URL)
	failing := h.hook(some.URL, func(w *models.Webhook) { w.Events = []string{"deployment.failed", "domain.*"} })
	elsewhere, err := h.courier.Store.CreateProject(t.Context(), h.id.OrganizationID, "other", "other")
	require.NoError(t, err)
	h.hook(some.URL+"/elsewhere", func(w *models.Webhook) { w.ProjectID = &elsewhere.ID })

	d := h.deployment()
	eventually(t, func() bool { return len(all.got()) == 2 })
	first, second := all.got()[0], all.got()[1]
	require.Equal(t, first.id, second.id, "the receiver knows the repeated one by its id")
	require.Equal(t, models.EventDeploymentQueued, second.event.Type)
	require.Equal(t, d.ID, second.event.Data.DeploymentID)
	eventually(t, func() bool { return h.deliveries(hook)[0].Status == models.DeliverySucceeded })
	row := h.deliveries(hook)[0]
	require.Equal(t, 2, row.Attempts)
	require.Equal(t, first.id, row.EventID)
	attempts, err := h.courier.Store.Attempts(t.Context(), row.ID)
	require.NoError(t, err)
	require.Equal(t, []int{500, 200}, []int{attempts[0].Status, attempts[1].Status})
	require.Equal(t, "thanks", attempts[0].Answer)
	require.Equal(t, "The receiver answered 500 Internal Server Error.", attempts[0].Error)

	require.NoError(t, h.Activities.Cleanup(t.Context(), models.StepInput{
		Deployment: models.DeploymentInput{DeploymentID: d.ID, ProjectID: h.proj.ID, OrgID: h.id.OrganizationID},
		Outcome:    models.OutcomeRejected, Error: "The build failed.", ErrorCode: models.CodeBuildFailed,
	}))
	eventually(t, func() bool { return len(some.got()) == 1 && len(all.got()) == 3 })
	told := some.got()[0]
	require.Equal(t, models.EventDeploymentFailed, told.event.Type)
	require.Equal(t, models.CodeBuildFailed, told.event.Data.ErrorCode)
	require.Equal(t, told.id, all.got()[2].id, "one event has one id")
	require.Len(t, h.deliveries(failing), 1)
}

func TestCourier_aCrashAtAnyPointLosesNothingAndDoublesNoDelivery(t *testing.T) {
	h := newHooked(t)
	box := newMailbox(t, 200)
	hook := h.hook(box.URL)
	h.deployment()
	// A crash after the fan-out leaves a delivery without a workflow.
	taken, made, err := h.courier.Store.FanOut(t.Context(), batch)
	require.NoError(t, err)
	require.Equal(t, 1, taken)
	require.Len(t, made, 1)
	taken, again, err := h.courier.Store.FanOut(t.Context(), batch)
	require.NoError(t, err)
	require.Zero(t, taken)
	require.Empty(t, again)
	require.NoError(t, h.startDeliveries(t.Context()))
	require.Empty(t, h.deliveries(hook)[0].WorkflowRunID, "whoever wrote it has a moment to start it")
	h.exec("UPDATE webhook_deliveries SET due_at = now() - interval '1 minute'")
	require.NoError(t, h.startDeliveries(t.Context()))
	run := h.deliveries(hook)[0].WorkflowRunID
	require.NotEmpty(t, run)
	// A crash after the start leaves a workflow that its row does not know.
	h.exec("UPDATE webhook_deliveries SET due_at = now() - interval '1 minute', workflow_run_id = ''")
	require.NoError(t, h.startDeliveries(t.Context()))
	require.Equal(t, run, h.deliveries(hook)[0].WorkflowRunID, "the run there is")
	h.work()
	eventually(t, func() bool { return h.deliveries(hook)[0].Status == models.DeliverySucceeded })
	require.NoError(t, h.courier.Temporal.GetWorkflow(t.Context(), made[0].ID, run).Get(t.Context(), nil))
	// One that was over before its row knew it is not sent again.
	second, err := workflows.StartDelivery(t.Context(), h.courier.Temporal, h.deliveries(hook)[0], h.courier.Queue)
	require.NoError(t, err)
	require.NotEqual(t, run, second)
	require.NoError(t, h.courier.Temporal.GetWorkflow(t.Context(), made[0].ID, second).Get(t.Context(), nil))
	require.Len(t, box.got(), 1)
}

func TestCourier_startsADeliveryWhoseWorkflowWasEndedFromOutside(t *testing.T) {
	h := newHooked(t)
	box := newMailbox(t, 200)
	hook := h.hook(box.URL)
	h.deployment()
	require.NoError(t, h.courier.deliver(t.Context()))
	row := h.deliveries(hook)[0]
	require.NoError(t, h.courier.Temporal.TerminateWorkflow(t.Context(), row.ID, "", "by hand"))
	require.NoError(t, h.startDeliveries(t.Context()))
	require.Equal(t, row.WorkflowRunID, h.deliveries(hook)[0].WorkflowRunID, "it may just be late")
	h.exec("UPDATE webhook_deliveries SET due_at = now() - interval '1 hour'")
	require.NoError(t, h.startDeliveries(t.Context()))
	h.work()
	eventually(t, func() bool { return h.deliveries(hook)[0].Status == models.DeliverySucceeded })
}

func TestCourier_aReceiverThatIsGoneHearsNothingMore(t *testing.T) {
	h := newHooked(t)
	h.work()
	box := newMailbox(t, http.StatusGone)
	hook := h.hook(box.URL)
	h.deployment()
	eventually(t, func() bool {
		rows := h.deliveries(hook)
		return len(rows) == 1 && rows[0].Status == models.DeliveryFailed
	})
	hook, err := h.courier.Store.Webhook(t.Context(), hook.OrganizationID, hook.ID)
	require.NoError(t, err)
	require.False(t, hook.Enabled)
	require.Equal(t, "The receiver answered 410 Gone.", hook.DisabledReason)
	h.deployment()
	require.NoError(t, h.courier.deliver(t.Context()))
	require.Len(t, h.deliveries(hook), 1)

	// What was on its way to a webhook that is disabled meanwhile is not sent.
	row := h.deliveries(hook)[0]
	renewed, err := h.courier.Store.RenewDelivery(t.Context(), hook.ID, row.ID)
	require.NoError(t, err)
	_, err = workflows.Redeliver(t.Context(), h.courier.Temporal, renewed, h.courier.Queue)
	require.NoError(t, err)
	eventually(t, func() bool {
		row := h.deliveries(hook)[0]
		return row.Status == models.DeliveryFailed && row.Error == "The webhook is disabled."
	})
	require.Len(t, box.got(), 1)
}

func TestCourier_credentialsOfAnotherKeyFailTheirOwnDeliveriesAlone(t *testing.T) {
	h := newHooked(t)
	box := newMailbox(t, 200)
	other, err := seal.FromFile(filepath.Join(t.TempDir(), "another.key"))
	require.NoError(t, err)
	foreign := webhook.NewVault(other)
	own := h.vault
	h.vault = foreign
	shut := h.hook(box.URL + "/shut")
	h.vault = own
	open := h.hook(box.URL + "/open")
	h.work()
	h.deployment()
	eventually(t, func() bool {
		rows := h.deliveries(open)
		return len(rows) == 1 && rows[0].Status == models.DeliverySucceeded
	})
	eventually(t, func() bool { return h.deliveries(shut)[0].Attempts > 0 })
	row := h.deliveries(shut)[0]
	require.Contains(t, row.Error, "SLIPWAY_SECRET_KEY")
	require.Contains(t, row.Error, "create it anew")
	attempts, err := h.courier.Store.Attempts(t.Context(), row.ID)
	require.NoError(t, err)
	require.Equal(t, row.Error, attempts[0].Error)
	require.Zero(t, attempts[0].Status)
	shut, err = h.courier.Store.Webhook(t.Context(), shut.OrganizationID, shut.ID)
	require.NoError(t, err)
	require.NotNil(t, shut.FailingSince)

	// The schedule has an end.
	state, err := h.Activities.SendWebhook(t.Context(), models.DeliveryAttempt{DeliveryID: row.ID})
	require.NoError(t, err)
	require.Equal(t, models.DeliveryFailed, state.Status)
	require.Equal(t, models.DeliveryFailed, h.deliveries(shut)[0].Status)

	// With the key there again, it is delivered.
	h.Activities.WebhookVault = foreign
	_, err = h.Activities.SendWebhook(t.Context(), models.DeliveryAttempt{DeliveryID: row.ID, Again: true})
	require.NoError(t, err)
	require.Equal(t, models.DeliverySucceeded, h.deliveries(shut)[0].Status)
}

func TestCourier_redeliversAtTheSameTimeAndAfterTheEnd(t *testing.T) {
	h := newHooked(t)
	h.work()
	box := newMailbox(t, 200)
	hook := h.hook(box.URL)
	h.deployment()
	eventually(t, func() bool {
		rows := h.deliveries(hook)
		return len(rows) == 1 && rows[0].Status == models.DeliverySucceeded
	})
	row := h.deliveries(hook)[0]
	var several sync.WaitGroup
	for range 5 {
		several.Go(func() {
			renewed, err := h.courier.Store.RenewDelivery(t.Context(), hook.ID, row.ID)
			if err == nil {
				_, err = workflows.Redeliver(t.Context(), h.courier.Temporal, renewed, h.courier.Queue)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	several.Wait()
	eventually(t, func() bool {
		row := h.deliveries(hook)[0]
		return row.Status == models.DeliverySucceeded && len(box.got()) >= 2 && row.Attempts == len(box.got())
	})
	for _, l := range box.got() {
		require.Equal(t, row.EventID, l.id)
	}
}

func TestCourier_aLateCommitStatusDoesNotHideALaterOne(t *testing.T) {
	h := newHooked(t)
	box := newMailbox(t, 201)
	hook := h.hook(box.URL+"/statuses/{sha}", func(w *models.Webhook) { w.Format = models.WebhookGitHub })
	d := models.DeploymentInput{
		DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: h.proj.ID, OrgID: h.id.OrganizationID, UserID: h.id.UserID,
		Commit: "8f70b34c1d2e3f405162738495a6b7c8d9e0f1a2",
	}
	_, _, err := h.courier.Store.CreateDeployment(t.Context(), models.NewDeployment{Priority: 3, Input: d})
	require.NoError(t, err)
	require.NoError(t, h.Activities.Cleanup(t.Context(), models.StepInput{Deployment: d, Outcome: models.OutcomeSucceeded}))
	h.work() // only now: the first is late
	eventually(t, func() bool {
		rows := h.deliveries(hook)
		return len(rows) == 2 && rows[0].FinishedAt != nil && rows[1].FinishedAt != nil
	})
	require.Len(t, box.got(), 1)
	require.Equal(t, "/statuses/"+d.Commit, box.got()[0].path)
	late := h.deliveries(hook)[1]
	require.Equal(t, models.EventDeploymentQueued, late.Kind)
	require.Equal(t, "A later status of the deployment takes its place.", late.Error)
	require.Zero(t, late.Attempts)
	enabled, err := h.courier.Store.Webhook(t.Context(), hook.OrganizationID, hook.ID)
	require.NoError(t, err)
	require.Nil(t, enabled.FailingSince, "which is no failure of the receiver's")
}

func TestCourier_forgetsOldDeliveries(t *testing.T) {
	h := newHooked(t)
	hook := h.hook("http://127.0.0.1:1/")
	for range 3 {
		h.deployment()
	}
	_, made, err := h.courier.Store.FanOut(t.Context(), batch)
	require.NoError(t, err)
	require.Len(t, made, 3)
	h.exec("UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE id <> $1", made[2].ID)
	h.exec("UPDATE webhook_deliveries SET status = 'failed' WHERE id <> $1", made[1].ID)
	h.exec("UPDATE outbox SET created_at = now() - interval '31 days'")
	require.NoError(t, h.courier.sweepDeliveries(t.Context()))
	var left []string
	for _, row := range h.deliveries(hook) {
		left = append(left, row.ID)
	}
	require.ElementsMatch(t, []string{made[1].ID, made[2].ID}, left, "those on their way stay")
}
