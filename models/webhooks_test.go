package models_test

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/models/modelstest"
)

func newWebhook(t *testing.T, store *models.Store, id models.Identity, change ...func(*models.Webhook)) models.Webhook {
	t.Helper()
	row := models.Webhook{
		ID: models.NewID(models.PrefixWebhook), OrganizationID: id.OrganizationID, Format: models.WebhookStandard, Events: []string{"*"},
		Shown: "https://example.com/", Sealed: []byte("sealed"), CreatedBy: id.UserID,
	}
	for _, c := range change {
		c(&row)
	}
	row, err := store.CreateWebhook(t.Context(), row)
	require.NoError(t, err)
	return row
}

// told takes all events out of the outbox and gives what the webhook is told.
func told(t *testing.T, store *models.Store, hook models.Webhook) (kinds []string, data []map[string]any) {
	t.Helper()
	_, rows, err := store.FanOut(t.Context(), 1000)
	require.NoError(t, err)
	for _, row := range rows {
		if row.WebhookID != hook.ID {
			continue
		}
		var event struct {
			Type      string
			Timestamp time.Time
			Data      map[string]any
		}
		require.NoError(t, json.Unmarshal(row.Payload, &event))
		require.WithinDuration(t, time.Now(), event.Timestamp, time.Minute)
		require.True(t, models.ValidID(models.PrefixEvent, row.EventID))
		require.Less(t, len(row.Payload), 20<<10)
		kinds, data = append(kinds, event.Type), append(data, event.Data)
	}
	return kinds, data
}

func TestOutbox_tellsADeploymentsCourseOnce(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "shop")
	hook := newWebhook(t, store, id)
	d := newDeployment(t, store, id, p)
	st := models.QueuedStatus(d.ID, time.Now().UTC())
	record := func(change func()) {
		st.Version++
		change()
		for range 2 {
			require.NoError(t, store.RecordStatus(t.Context(), st))
		}
	}
	record(func() { st.Status, st.Steps.Validate.Status = models.StatusInProgress, models.StepInProgress })
	record(func() { // several at once, as the recorder writes the newest only
		st.Steps.Validate.Status, st.Steps.Sync.Status = models.StepCompleted, models.StepFailed
		st.Steps.Sync.Error = strings.Repeat("é", 9000)
	})
	bury := func() {
		st.Outcome, st.Status, st.Error, st.ErrorCode = models.OutcomeDeadLetter, models.StatusFailed, "Down.", models.CodeStorage
		st.CurrentStep = models.StepSync
	}
	record(bury)
	record(func() {
		st.Outcome, st.Status, st.Steps.Sync = models.OutcomeNone, models.StatusInProgress, models.StepStatus{Status: models.StepInProgress}
	})
	record(bury)
	for range 2 {
		require.NoError(t, store.WriteOutbox(t.Context(), models.EndEvent(models.StepInput{Deployment: models.DeploymentInput{DeploymentID: d.ID, ProjectID: p.ID}, Outcome: models.OutcomeAbandoned})))
	}
	kinds, data := told(t, store, hook)
	require.Equal(t, []string{
		"deployment.queued", "deployment.started", "deployment.step", "deployment.step", "deployment.step", "deployment.dead_lettered",
		"deployment.step", "deployment.dead_lettered", "deployment.failed",
	}, kinds)
	require.Equal(t, map[string]any{
		"organizationId": id.OrganizationID, "projectId": p.ID, "workerName": "shop", "deploymentId": d.ID, "sequence": float64(1), "status": "queued",
	}, data[0])
	require.Equal(t, "validate", data[2]["step"])
	require.Equal(t, "completed", data[3]["stepStatus"])
	require.Equal(t, "failed", data[4]["stepStatus"])
	require.Equal(t, "STORAGE_UNAVAILABLE", data[5]["errorCode"])
	require.Equal(t, "abandoned", data[8]["outcome"])
	again, _ := told(t, store, hook)
	require.Empty(t, again)
}

func TestOutbox_holdsNothingThatNobodyAsksForExceptHowDeploymentsEnd(t *testing.T) {
	store, id := openStore(t)
	p, other := newProject(t, store, id, "shop"), newProject(t, store, id, "other")
	newWebhook(t, store, id, func(w *models.Webhook) { w.Events = []string{"rollout.*"} })
	newWebhook(t, store, id, func(w *models.Webhook) { w.ProjectID = &other.ID })
	disabled := newWebhook(t, store, id)
	_, err := store.ChangeWebhook(t.Context(), id.OrganizationID, disabled.ID, func(w *models.Webhook) error { w.Enabled = false; return nil })
	require.NoError(t, err)
	stranger, err := store.EnsureOwner(t.Context(), "Stranger", "stranger@example.com")
	require.NoError(t, err)
	newWebhook(t, store, stranger)

	d := newDeployment(t, store, id, p)
	st := models.QueuedStatus(d.ID, time.Now().UTC())
	st.Version, st.Status = 1, models.StatusInProgress
	require.NoError(t, store.RecordStatus(t.Context(), st))
	rows, err := store.Outbox(t.Context(), d.ID)
	require.NoError(t, err)
	require.Empty(t, rows)
	require.NoError(t, store.WriteOutbox(t.Context(), models.EndEvent(models.StepInput{Deployment: models.DeploymentInput{DeploymentID: d.ID, ProjectID: p.ID}, Outcome: models.OutcomeSucceeded})))
	rows, err = store.Outbox(t.Context(), d.ID)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	taken, deliveries, err := store.FanOut(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 1, taken)
	require.Empty(t, deliveries)
}

func TestOutbox_tellsOfDomainsAndRollouts(t *testing.T) {
	store, id := openStore(t)
	hook := newWebhook(t, store, id, func(w *models.Webhook) { w.Events = []string{"domain.*", "rollout.*"} })
	in, _, _ := newRollout(t, store, id)
	again := in
	again.RolloutID = models.NewID(models.PrefixRollout)
	_, err := store.CreateRollout(t.Context(), again, id.UserID)
	requireCode(t, models.CodeConflict, err)
	for _, percent := range []int{10, 10, 0} {
		_, err = store.WeighRollout(t.Context(), in, percent)
		require.NoError(t, err)
	}
	for range 2 {
		require.NoError(t, store.EndRollout(t.Context(), in.RolloutID, models.RolloutReverted, "It was worse."))
	}
	p, err := store.Project(t.Context(), id.OrganizationID, in.ProjectID)
	require.NoError(t, err)
	var d models.Domain
	for range 2 {
		d, err = store.AddDomain(t.Context(), p, "shop.example.com")
		require.NoError(t, err)
	}
	for range 2 {
		require.NoError(t, store.FailDomain(t.Context(), d.ID, "Too late."))
	}
	_, err = store.AddDomain(t.Context(), p, "shop.example.com")
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, store.VerifyDomain(t.Context(), d.ID))
		require.NoError(t, store.ActivateDomain(t.Context(), d))
	}
	require.NoError(t, store.RemoveDomain(t.Context(), p.ID, d.Host))
	kinds, data := told(t, store, hook)
	require.Equal(t, []string{
		"rollout.started", "rollout.progressed", "rollout.reverted",
		"domain.added", "domain.failed", "domain.verified", "domain.active", "domain.removed",
	}, kinds)
	require.EqualValues(t, 10, data[1]["percent"])
	require.Equal(t, "It was worse.", data[2]["reason"])
	require.Equal(t, "Too late.", data[4]["reason"])
	require.Equal(t, "https://shop.example.com/", data[6]["url"])
}

func TestFanOut_setsStatusesOfCommitsOnly(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "shop")
	hook := newWebhook(t, store, id, func(w *models.Webhook) { w.Format = models.WebhookGitHub })
	for _, commit := range []string{"", "8f70b34c1d2e3f405162738495a6b7c8d9e0f1a2"} {
		_, _, err := store.CreateDeployment(t.Context(), models.NewDeployment{Priority: 3, Input: models.DeploymentInput{
			DeploymentID: models.NewID(models.PrefixDeployment), ProjectID: p.ID, OrgID: id.OrganizationID, UserID: id.UserID, Commit: commit}})
		require.NoError(t, err)
	}
	_, err := store.AddDomain(t.Context(), p, "shop.example.com")
	require.NoError(t, err)
	kinds, data := told(t, store, hook)
	require.Equal(t, []string{"deployment.queued"}, kinds)
	require.Equal(t, "8f70b34c1d2e3f405162738495a6b7c8d9e0f1a2", data[0]["commit"])
}

func TestFanOut_severalAtOnceTakeEachEventOnce(t *testing.T) {
	store, id := openStore(t)
	p := newProject(t, store, id, "shop")
	newWebhook(t, store, id)
	newWebhook(t, store, id)
	for range 20 {
		newDeployment(t, store, id, p)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var several sync.WaitGroup
	for range 4 {
		several.Go(func() {
			for {
				taken, rows, err := store.FanOut(t.Context(), 3)
				if err != nil {
					t.Error(err)
				}
				if taken == 0 || err != nil {
					return
				}
				mu.Lock()
				for _, row := range rows {
					seen[row.WebhookID+row.EventID]++
				}
				mu.Unlock()
			}
		})
	}
	several.Wait()
	require.Len(t, seen, 40)
	for key, n := range seen {
		require.Equal(t, 1, n, key)
	}
}

func TestRecordAttempt_disablesAWebhookThatHasFailedForDays(t *testing.T) {
	store, id := openStore(t)
	hook := newWebhook(t, store, id)
	ping, err := store.CreatePing(t.Context(), hook)
	require.NoError(t, err)
	newDeployment(t, store, id, newProject(t, store, id, "shop"))
	_, rows, err := store.FanOut(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	delivery := rows[0]
	attempt := func(status models.DeliveryStatus) models.Webhook {
		require.NoError(t, store.RecordAttempt(t.Context(), models.RecordedAttempt{
			Attempt: models.Attempt{DeliveryID: delivery.ID, Status: 500}, DeliveryState: models.DeliveryState{Status: status},
		}))
		row, err := store.Webhook(t.Context(), id.OrganizationID, hook.ID)
		require.NoError(t, err)
		return row
	}
	since := func(ago time.Duration) {
		_, err := store.ChangeWebhook(t.Context(), id.OrganizationID, hook.ID, func(w *models.Webhook) error {
			at := time.Now().UTC().Add(-ago)
			w.FailingSince = &at
			return nil
		})
		require.NoError(t, err)
	}
	require.NotNil(t, attempt(models.DeliveryPending).FailingSince)
	require.Nil(t, attempt(models.DeliverySucceeded).FailingSince)
	since(models.WebhookPatience - time.Hour)
	require.True(t, attempt(models.DeliveryFailed).Enabled)
	since(models.WebhookPatience + time.Hour)
	require.True(t, attempt(models.DeliveryPending).Enabled, "the receiver may have been quiet all the time: one attempt is no reason")
	require.NoError(t, store.RecordAttempt(t.Context(), models.RecordedAttempt{
		Attempt: models.Attempt{DeliveryID: ping.ID, Status: 500}, DeliveryState: models.DeliveryState{Status: models.DeliveryFailed},
	}))
	require.True(t, attempt(models.DeliveryPending).Enabled, "nor is a ping")
	row := attempt(models.DeliveryFailed)
	require.False(t, row.Enabled)
	require.Regexp(t, `^No delivery has arrived since \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$`, row.DisabledReason)
	attempts, err := store.Attempts(t.Context(), delivery.ID)
	require.NoError(t, err)
	require.Len(t, attempts, 6)
	require.NoError(t, store.DeleteWebhook(t.Context(), id.OrganizationID, hook.ID))
	require.NoError(t, store.RecordAttempt(t.Context(), models.RecordedAttempt{
		Attempt: models.Attempt{DeliveryID: ping.ID}, DeliveryState: models.DeliveryState{Status: models.DeliveryFailed},
	}), "its webhook was removed meanwhile")
}

func TestCreateWebhook_isBoundedAlsoAtOnce(t *testing.T) {
	store, id := openStore(t)
	var several sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range models.MaxWebhooks + 10 {
		several.Go(func() {
			_, err := store.CreateWebhook(t.Context(), models.Webhook{
				ID: models.NewID(models.PrefixWebhook), OrganizationID: id.OrganizationID, Format: models.WebhookSlack, Events: []string{"*"}, Sealed: []byte{1},
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if models.CodeOf(err) != models.CodeConflict {
				t.Error(err)
			}
		})
	}
	several.Wait()
	require.Equal(t, models.MaxWebhooks, made)
}

func TestEventPatterns_areKindsGroupsAndAll(t *testing.T) {
	for _, pattern := range []string{"*", "deployment.*", "domain.*", "rollout.*", "deployment.dead_lettered"} {
		require.True(t, models.ValidEventPattern(pattern), pattern)
	}
	for _, pattern := range []string{"", "**", "*.*", "deployment", "deployment.", "deployment.queued ", "Deployment.*", "ping", "deployment.%", "*.queued"} {
		require.False(t, models.ValidEventPattern(pattern), pattern)
	}
}

// An installation of before may have notices that nobody took; they are not sent
// to webhooks that are made later.
func TestMigrations_webhooksGoBothWays(t *testing.T) {
	url := modelstest.URL(t)
	store, err := models.OpenStore(models.StoreOptions{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	id, err := store.EnsureOwner(t.Context(), "Test", "owner@example.com")
	require.NoError(t, err)
	d := newDeployment(t, store, id, newProject(t, store, id, "shop"))
	require.NoError(t, store.WriteOutbox(t.Context(), models.EndEvent(models.StepInput{Deployment: models.DeploymentInput{DeploymentID: d.ID, ProjectID: d.ProjectID}, Outcome: models.OutcomeSucceeded})))

	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	file, err := os.ReadFile("migrations/00014_webhooks.sql")
	require.NoError(t, err)
	up, down, _ := strings.Cut(string(file), "-- +goose Down")
	for _, script := range []string{down, up} {
		_, err = conn.Exec(t.Context(), script)
		require.NoError(t, err)
	}
	newWebhook(t, store, id)
	taken, _, err := store.FanOut(t.Context(), 10)
	require.NoError(t, err)
	require.Zero(t, taken)
	rows, err := store.Outbox(t.Context(), d.ID)
	require.NoError(t, err)
	require.Len(t, rows, 1)
}
