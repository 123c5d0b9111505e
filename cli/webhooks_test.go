package cli

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestWebhooks_areAddedListedAndRemoved(t *testing.T) {
	g := newGateway(t)
	got := run(t, "webhooks", "list")
	require.Contains(t, got.err, "no webhook yet")
	got = run(t, "webhooks", "add", "--events", "deployment.failed,domain.*", "https://example.com/hook?key=hidden")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=\n$`, got.out, "only the secret goes to stdout")
	got = run(t, "webhooks", "list")
	require.Regexp(t, `whk_\w+ +https://example.com/hook\?… +standard +deployment.failed,domain.\* +all +enabled\n$`, got.out)
	require.NotContains(t, got.out, "hidden")
	rows, err := g.store.Webhooks(t.Context(), models.WebhookFilter{OrganizationID: g.owner.OrganizationID, Limit: 1})
	require.NoError(t, err)
	id := rows[0].ID

	got = run(t, "webhooks", "rotate-secret", id)
	require.Regexp(t, `^whsec_\S+\n$`, got.out)
	got = run(t, "webhooks", "add", "http://127.0.0.1/")
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "public internet")
	got = run(t, "webhooks", "remove", id)
	require.Equal(t, ExitOK, got.code, got.err)
	got = run(t, "webhooks", "remove", id)
	require.Equal(t, ExitFailure, got.code)
	require.Contains(t, got.err, "no webhook")
}

func TestWebhooks_aPingSaysWhetherItArrived(t *testing.T) {
	g := newGateway(t)
	run(t, "webhooks", "add", "https://example.com/")
	rows, err := g.store.Webhooks(t.Context(), models.WebhookFilter{OrganizationID: g.owner.OrganizationID, Limit: 1})
	require.NoError(t, err)
	id := rows[0].ID
	for status, state := range map[int]models.DeliveryStatus{200: models.DeliverySucceeded, 500: models.DeliveryFailed} {
		g.delivers = func(d models.Delivery) error {
			record := models.RecordedAttempt{Attempt: models.Attempt{DeliveryID: d.ID, Status: status}, DeliveryState: models.DeliveryState{Status: state}}
			if state == models.DeliveryFailed {
				record.Error = "The receiver answered 500 Internal Server Error."
			}
			return g.store.RecordAttempt(t.Context(), record)
		}
		got := run(t, "webhooks", "test", id)
		if state == models.DeliverySucceeded {
			require.Equal(t, ExitOK, got.code, got.err)
			require.Contains(t, got.out, "arrived: the receiver answered 200.")
			continue
		}
		require.Equal(t, ExitFailure, got.code)
		require.Contains(t, got.err, "did not arrive: The receiver answered 500")
	}
	got := run(t, "webhooks", "deliveries", "--failed", id, "--json")
	var page Page[Delivery]
	require.NoError(t, json.Unmarshal([]byte(got.out), &page), got.err)
	require.Len(t, page.Items, 1)
	require.Regexp(t, `dlv_\w+ +ping +failed +1 +500 `, run(t, "webhooks", "deliveries", "--failed", id).out)

	g.delivers = func(d models.Delivery) error {
		return g.store.RecordAttempt(t.Context(), models.RecordedAttempt{
			Attempt: models.Attempt{DeliveryID: d.ID, Status: 204}, DeliveryState: models.DeliveryState{Status: models.DeliverySucceeded},
		})
	}
	got = run(t, "webhooks", "redeliver", id, page.Items[0].ID)
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.out, "answered 204")
}
